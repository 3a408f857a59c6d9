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

"""The files that `uhr_seg segment` writes: their names, their formats, and all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
import os
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.core.image_writing import encode_image, fits, MAX_SIDES
from uhr_seg_ros.image_io.headers import SUFFIXES
from uhr_seg_ros.image_io.raster_files import GDAL_SUFFIXES

#: What a photograph becomes that is too large for JPEG.
_LARGE = '.png'

#: Formats of masks: none changes a value.
FORMATS = ('png', 'tif')

# What may be a raster with a place on a map.
_MAPS = ('.tif', '.tiff', *GDAL_SUFFIXES)

# The longest of what comes after the name of a recording in that of a frame: a stamp, a number.
_LONGEST_FRAME = f'_{"9" * 10}.{"9" * 9}_{"9" * 6}'


@dataclass
class Files:
    """
    What is written for one image.

    Attributes:
        mask: <stem>_mask.png, or .tif.
        overlay: <stem>_overlay.jpg, or .png where the image is too large for JPEG.
        color: <stem>_color.png, or .tif.
        sampling: <stem>_sampling.jpg, or .png.
        logits: <stem>_logits.npz.
        notes: what differs from what is usual, a line each.

    """

    mask: Path
    overlay: Path
    color: Path
    sampling: Path
    logits: Path
    notes: list[str] = field(default_factory=list)

    def write(
        self,
        mask: np.ndarray,
        overlay: np.ndarray | None = None,
        color_mask: np.ndarray | None = None,
        sampling: np.ndarray | None = None,
        logits: np.ndarray | None = None,
    ) -> None:
        """
        Write what there is, all files of the image or none.

        Raises:
            WriteError: a format cannot hold a picture.
            OSError: a file cannot be written; names it.

        """
        pictures = {
            self.mask: mask,
            self.overlay: overlay,
            self.color: color_mask,
            self.sampling: sampling,
        }
        with ExitStack() as stack:
            for path, picture in pictures.items():
                if picture is not None:
                    content = encode_image(path.suffix, picture)
                    stack.enter_context(atomic_write(path)).write_bytes(content)
            if logits is not None:
                np.savez(stack.enter_context(atomic_write(self.logits)), logits=logits)


@dataclass(frozen=True)
class Results:
    """
    What is written for every image.

    Attributes:
        folder: where.
        color_mask: whether the classes as colors are.
        logits: whether the logits are.
        sampling: whether a picture of where is sampled is.
        overlay: whether the classes over the image are.
        mask_format: one of `FORMATS`, of masks and classes as colors.

    """

    folder: Path
    color_mask: bool = False
    logits: bool = False
    sampling: bool = False
    overlay: bool = True
    mask_format: str = FORMATS[0]

    def files(self, stem: str, size: tuple[int, int]) -> Files:
        """
        Choose the files of an image.

        Args:
            stem: name of the image without its suffix.
            size: its height and width, px.

        Raises:
            WriteError: no format holds a mask of this size.

        """
        if not fits(f'.{self.mask_format}', size):
            msg = (
                f'a mask of {size[1]}x{size[0]} px does not fit into PNG, whose sides end at '
                f'{MAX_SIDES[".png"]:,} px: cut the image'
            )
            raise WriteError(msg)
        photograph = '.jpg' if fits('.jpg', size) else _LARGE
        notes = []
        names = ['overlay'] * self.overlay + ['sampling'] * self.sampling
        if photograph == _LARGE and names:
            notes.append(
                f'{" and ".join(names)} of {size[1]}x{size[0]} px does not fit into JPEG, whose '
                f'sides end at {MAX_SIDES[".jpg"]:,} px: written as PNG'
            )
        return Files(
            self.mask(stem),
            self._path(stem, f'overlay{photograph}'),
            self._path(stem, f'color.{self.mask_format}'),
            self._path(stem, f'sampling{photograph}'),
            self._path(stem, 'logits.npz'),
            notes,
        )

    def possible(self, stem: str) -> list[Path]:
        """List every file that may be written for an image, whatever its size."""
        names = ['overlay.jpg', 'overlay.png'] * self.overlay
        names += [f'color.{self.mask_format}'] * self.color_mask + ['logits.npz'] * self.logits
        names += ['sampling.jpg', 'sampling.png'] * self.sampling
        return [self.mask(stem), *(self._path(stem, name) for name in names)]

    def possible_maps(self, stem: str) -> list[Path]:
        """List what may be written beside for a raster."""
        return [self._path(stem, name) for name in ('mask.tif', 'confidence.tif')]

    def mask(self, stem: str) -> Path:
        """Return the file of the mask of an image."""
        return self._path(stem, f'mask.{self.mask_format}')

    def _path(self, stem: str, name: str) -> Path:
        return self.folder / f'{stem}_{name}'


def check_names(named: Iterable[tuple[Path, str]], results: Results) -> None:
    """
    Check the names of all results before the work.

    Args:
        named: every image, recording or video, and what the names of its results begin with.
        results: what is written.

    Raises:
        WriteError: results would overwrite an image, or a name is too long for the file system.

    """
    named = list(named)
    longest = os.pathconf(results.folder, 'PC_NAME_MAX')
    inputs = {identity: path for path, _ in named if (identity := _identity(path))}
    for path, stem in named:
        as_map = [] if path.suffix.lower() not in _MAPS else results.possible_maps(stem)
        for result in (*results.possible(stem), *as_map):
            length = len(os.fsencode(result.name))
            if path.suffix.lower() not in (
                *SUFFIXES,
                *_MAPS,
            ):  # a recording or a video, of many frames
                length += len(_LONGEST_FRAME)
            if length > longest:
                msg = (
                    f'the name {result.name} has {length} bytes, {results.folder} takes '
                    f'{longest}: rename {path}'
                )
                raise WriteError(msg)
            identity = _identity(result)
            if identity is not None and (other := inputs.get(identity)):
                msg = (
                    f'{result}, a result of {path}, would overwrite the image {other}: choose '
                    'another --output, or rename one of them'
                )
                raise WriteError(msg)
            if result.is_dir():
                msg = f'{result}, a result of {path}, is a folder: choose another --output'
                raise WriteError(msg)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file, whatever it is called; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
