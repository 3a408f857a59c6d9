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

"""Which file of labels belongs to which image."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from uhr_seg_ros.core.errors import DataError


class Files(NamedTuple):
    """Where one labelled image lies."""

    name: str
    image: Path
    label: Path


def pair(image_folder: Path, image_end: str, label_folder: Path, label_end: str) -> list[Files]:
    """
    Find images and their labels, in folders that may have the same sub-folders.

    Returns:
        Files in the order of their names; a name is what stands before the end.

    Raises:
        DataError: As `find` and `match`.
    """
    images, labels = find(image_folder, (image_end,)), find(label_folder, (label_end,))
    return match(images, labels, (image_folder, image_end), (label_folder, label_end))


def find(folder: Path, ends: tuple[str, ...]) -> dict[str, Path]:
    """
    List files below a folder by their path in it, without its end; hidden files are left out.

    Raises:
        DataError: The folder is missing, or two files differ in their ends only.
    """
    if not folder.is_dir():
        msg = f'folder {folder} is missing'
        raise DataError(msg)
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob('*')):
        inside = path.relative_to(folder)
        end = next((end for end in ends if path.name.lower().endswith(end.lower())), None)
        if end is None or any(part.startswith('.') for part in inside.parts):
            continue
        key = inside.as_posix()[: -len(end)]
        if found.setdefault(key, path) != path:
            msg = f'{found[key]} and {path} have the same name: keep one'
            raise DataError(msg)
    return found


def match(
    images: dict[str, Path],
    labels: dict[str, Path],
    image_place: tuple[Path, str],
    label_place: tuple[Path, str],
) -> list[Files]:
    """
    Put images and labels together by their keys.

    Args:
        images: As `find` gives them.
        labels: Likewise.
        image_place: Folder and end of images, for the texts of errors.
        label_place: Folder and end of labels, likewise.

    Raises:
        DataError: There are none, an image has no labels, or labels have no image.
    """
    if not images:
        msg = f'{image_place[0]} holds no images: expected names that end in {image_place[1]}'
        raise DataError(msg)
    if missing := [key for key in images if key not in labels]:
        expected = label_place[0] / f'{missing[0]}{label_place[1]}'
        msg = f'{images[missing[0]]} has no labels: {expected} is missing{_more(missing)}'
        raise DataError(msg)
    if left_over := [key for key in labels if key not in images]:
        msg = f'{labels[left_over[0]]} has no image in {image_place[0]}{_more(left_over)}'
        raise DataError(msg)
    by_name: dict[str, Files] = {}
    for key, image in images.items():
        files = Files(Path(key).name, image, labels[key])
        if (other := by_name.setdefault(files.name, files)) is not files:
            msg = f'{other.image} and {image} have the same name: rename one'
            raise DataError(msg)
    return list(by_name.values())


def _more(keys: list[str]) -> str:
    return f' (and {len(keys) - 1} more)' if len(keys) > 1 else ''
