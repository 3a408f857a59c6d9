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

"""The page of a TIFF file that is read, and how its pixels are stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, NamedTuple

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import ifd
from uhr_seg_ros.image_io.ifd import directories, Directory
from uhr_seg_ros.image_io.limits import check_pixels

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR = 0, 1, 2, 3, 4, 5, 6
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4

#: LZW and deflate, and those that are not read.
_WITH_PREDICTOR = (5, 8, 32946, 34925, 50000)

#: Bits of the tag that tells what a page is: smaller versions and masks are not the picture.
_REDUCED_OR_MASK = 1 | 4
_OLD_REDUCED = 2


@dataclass(frozen=True)
class Page:
    """
    A page and how it is stored.

    Attributes:
        directory: Its tags.
        height: In px.
        width: In px.
        samples: Bands.
        bits: Of a sample.
        sample_format: Unsigned, signed, float or undefined.
        photometric: What the samples mean.
        extra: Meanings of the samples beyond the colours: 0 unknown, 1 and 2 alpha.
        compression: Number of the method.
        planar: Every band lies for itself.
        segment_height: Rows of a strip or tile.
        segment_width: Columns of a strip or tile.
        orientation: As in EXIF.
    """

    directory: Directory
    height: int
    width: int
    samples: int
    bits: int
    sample_format: int
    photometric: int
    extra: tuple[int, ...]
    compression: int
    planar: bool
    segment_height: int
    segment_width: int
    orientation: int

    @property
    def tiled(self) -> bool:
        """Tiles are always stored whole, strips end with the picture."""
        return 322 in self.directory

    @property
    def predictor(self) -> int:
        """2 where differences are stored; the tag means nothing without such a compression."""
        return self.directory.number(317, 1) if self.compression in _WITH_PREDICTOR else 1

    @property
    def down(self) -> int:
        """Strips or tiles from top to bottom."""
        return -(-self.height // self.segment_height)

    @property
    def across(self) -> int:
        """Tiles from left to right; 1 for strips."""
        return -(-self.width // self.segment_width)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """
        Offset and number of bytes of every strip or tile.

        Raises:
            ImageError: There are less than the size needs.
        """
        needed = self.down * self.across * (self.samples if self.planar else 1)
        tags = (324, 325) if 324 in self.directory else (273, 279)
        offsets, counts = (self.directory.values(tag) for tag in tags)
        if counts is None and offsets is not None and self.compression == 1:
            # Old writers leave it out.
            each = self.segment_height * self.row_bytes
            counts = np.full(len(offsets), each)
        if offsets is None or counts is None or min(len(offsets), len(counts)) < needed:
            msg = (
                f'TIFF is damaged: {self.width} x {self.height} px need {needed} strips or '
                f'tiles, {0 if offsets is None else len(offsets)} are listed'
            )
            raise ImageError(msg)
        return offsets, counts

    @property
    def bands_together(self) -> int:
        """Bands that lie side by side in a strip or tile."""
        return 1 if self.planar else self.samples

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a strip or tile."""
        return (self.segment_width * self.bands_together * self.bits + 7) // 8

    @cached_property
    def palette(self) -> np.ndarray:
        """
        Colours of the indices, (2**bits, 3) uint8 BGR.

        Raises:
            ImageError: There is none, or it is too short.
        """
        values = self.directory.values(320)
        count = 1 << self.bits
        if values is None or len(values) < 3 * count:
            msg = 'TIFF is damaged: its palette is missing or too short'
            raise ImageError(msg)
        values = values[: 3 * count].reshape(3, count).T[:, ::-1]
        # Some writers store 8 bits where 16 are meant.
        return np.ascontiguousarray(values >> 8 if values.max() > 255 else values).astype(np.uint8)

    @property
    def fill(self) -> int:
        """Return what strips and tiles that a sparse file leaves out hold: GDAL's value, or 0."""
        text = self.directory.values(42113)
        try:
            value = float(bytes(text).split(b'\0')[0]) if text is not None else 0
        except ValueError:
            return 0
        return int(value) if value in range(1 << min(self.bits, 32)) else 0


class First(NamedTuple):
    """The page that is read, and how many like it follow."""

    page: Page
    following: int


def first_page(file: BinaryIO, size: int) -> First:
    """
    Find the first page that is a picture, not a smaller version or a mask of one.

    Raises:
        ImageError: The file is cut short or damaged, or there is no such page.
    """
    found: list[Directory] = []
    try:
        found.extend(filter(_is_picture, directories(file, size)))
    except ImageError:
        # The page is what counts, not what comes after it.
        if not found:
            raise
    if not found:
        msg = (
            'TIFF has no picture of full size in it, only smaller versions or masks of one: '
            'gdal_translate in.tif out.tif'
        )
        raise ImageError(msg)
    return First(_page(found[0]), len(found) - 1)


def _is_picture(directory: Directory) -> bool:
    reduced = directory.number(254, 0) & _REDUCED_OR_MASK
    return not reduced and directory.number(255, 0) != _OLD_REDUCED


def _page(directory: Directory) -> Page:
    height, width = directory.number(257), directory.number(256)
    check_pixels('TIFF', height, width)
    samples = directory.number(277, 1)
    formats = directory.values(339)
    bits = directory.values(258)
    bits = np.ones(1, int) if bits is None or not bits.size else bits
    extra = directory.values(338)
    if len(set(bits.tolist())) > 1 or (formats is not None and len(set(formats.tolist())) > 1):
        msg = 'TIFF has bands of different depths, which are not read'
        raise ImageError(msg)
    tiled = 322 in directory
    rows = directory.number(323 if tiled else 278, None if tiled else height)
    columns = directory.number(322) if tiled else width
    if min(samples, rows, columns) < 1:
        msg = f'TIFF is damaged: {samples} bands, strips or tiles of {columns} x {rows} px'
        raise ImageError(msg)
    return Page(
        directory,
        height,
        width,
        samples,
        int(bits[0]),
        int(formats[0]) if formats is not None and formats.size else UNSIGNED,
        directory.number(262, BLACK_IS_ZERO),
        tuple(extra.tolist()) if extra is not None else (),
        directory.number(259, 1),
        samples > 1 and directory.number(284, 1) == 2,
        rows if tiled else min(rows, height),
        columns,
        _orientation(directory),
    )


def _orientation(directory: Directory) -> int:
    value = directory.number(ifd.ORIENTATION_TAG, ifd.UPRIGHT)
    return value if value in ifd.ORIENTATION_NAMES else ifd.UPRIGHT
