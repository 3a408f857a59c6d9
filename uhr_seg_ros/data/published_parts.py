# Copyright 2026 uhr_seg_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Parts of published mosaics, kept aside until all of a mosaic are there."""

from __future__ import annotations

from pathlib import Path
import shutil

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.data.archives import Member
from uhr_seg_ros.data.image_io import image_size, read_image
from uhr_seg_ros.data.mosaics import check_order, join, PARTS
from uhr_seg_ros.data.published import Place, PublishedSet


class PartCollection:
    """
    Parts of the mosaics of a published set.

    Args:
        published: The set.
        draft: Empty folder for what is incomplete.
    """

    def __init__(self, published: PublishedSet, draft: Path) -> None:
        self._published, self._draft = published, draft
        self._parts: dict[str, dict[int, tuple[Path, str]]] = {}

    def add(self, member: Member, place: Place) -> bool:
        """
        Keep a copy of a part; return whether it was the last one that its mosaic waited for.

        Raises:
            DataError: It is damaged.
            OSError: The copy cannot be written.
        """
        key = self._published.target(place)
        parts = self._parts.setdefault(key, {})
        copy = self._draft / key / f'{place.part}{Path(member.path).suffix}'
        copy.parent.mkdir(parents=True, exist_ok=True)
        member.copy_to(copy)
        parts[place.part] = copy, str(member)
        return len(parts) == PARTS

    def write(self, place: Place, target: Path) -> None:
        """
        Write a mosaic whose parts are all there, and forget them.

        Raises:
            DataError: A part cannot be read, or they do not make the mosaic that is published.
            OSError: It cannot be written.
        """
        key = self._published.target(place)
        parts = self._parts.pop(key)
        read = self._published.read_labels if place.is_label else read_image
        try:
            arrays = []
            for number in range(1, PARTS + 1):
                copy, origin = parts[number]
                try:
                    arrays.append(read(copy))
                except DataError as err:
                    # Nobody finds the draft afterwards.
                    raise DataError(str(err).replace(str(copy), origin)) from err
            mosaic = join(arrays)
            check_size(self._published, place, mosaic.shape[:2], 'its parts make')
            if not place.is_label:
                check_order(arrays)
        finally:
            shutil.rmtree(self._draft / key)
        write_image(target, mosaic)

    def missing(self) -> dict[str, str]:
        """Tell which parts incomplete mosaics wait for: path below the root -> in words."""
        told = {}
        for key, parts in self._parts.items():
            absent = [str(number) for number in range(1, PARTS + 1) if number not in parts]
            if absent:
                numbers = f'part{"s" if len(absent) > 1 else ""} {", ".join(absent)}'
                told[key] = f'{key}: {numbers} of {PARTS} missing'
        return told


def check_kept(published: PublishedSet, place: Place, target: Path) -> None:
    """
    Refuse a mosaic that is there, but is another one than is published.

    Raises:
        DataError: Its size is another one, or it is no image.
    """
    try:
        check_size(published, place, image_size(target), 'it is')
    except DataError as err:
        msg = f'{target}: {err}: remove it, or choose another folder'
        raise DataError(msg) from err


def check_size(published: PublishedSet, place: Place, size: tuple[int, ...], what: str) -> None:
    """
    Compare height and width of a mosaic with those that are published.

    Raises:
        DataError: They differ.
    """
    expected = published.size_of(place.name)
    if size != expected:
        msg = (
            f'{what} {size[1]}x{size[0]} px, but {place.name} is published with '
            f'{expected[1]}x{expected[0]}'
        )
        raise DataError(msg)
