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

"""TIFF files, whole or by window: what their bands mean, and which of them are read."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import tiff_codecs, tiff_segments
from uhr_seg_ros.image_io.tiff_page import (
    BLACK_IS_ZERO,
    CMYK,
    first_page,
    FLOAT,
    MASK,
    Page,
    PALETTE,
    RGB,
    SIGNED,
    UNDEFINED,
    UNSIGNED,
    WHITE_IS_ZERO,
    YCBCR,
)
from uhr_seg_ros.image_io.tiff_segments import Window

_ALPHA = (1, 2)
#: Values that are looked at to name the largest one in the text of an error.
_LOOKED_AT = 1 << 28


class Chosen(NamedTuple):
    """
    Bands that are read, and what was chosen.

    Attributes:
        bands: How many of the first bands.
        notes: What is told.
    """

    bands: int
    notes: tuple[str, ...]


def read_pixels(file: BinaryIO, size: int, window: Window | None) -> tuple[np.ndarray, list[str]]:
    """
    Read a part of the picture in a TIFF file.

    Args:
        file: The open file.
        size: Its bytes.
        window: Top, left, height and width in px, inside the picture; None for all of it.

    Returns:
        (h, w, 3) BGR or (h, w) grey, uint8; and what is to be told.

    Raises:
        ImageError: The file is damaged, too large, or its values are none that are read.
    """
    page, following = first_page(file, size)
    _check_depth(page)
    _check_compression(page)
    bands, chosen = _choose_bands(page)
    notes = [*chosen, *_note_of_pages(following)]
    pixels = tiff_segments.read_window(page, window, bands)
    if page.photometric == PALETTE:
        return page.palette[pixels[..., 0]], notes
    if page.bits < 8:
        pixels = pixels * np.uint8(255 // ((1 << page.bits) - 1))
    if page.photometric == WHITE_IS_ZERO:
        pixels = ~pixels
    return (pixels[..., 0] if bands == 1 else pixels), notes


def read_values(file: BinaryIO, size: int, window: Window | None) -> tuple[np.ndarray, list[str]]:
    """
    Read a part of the values in a TIFF file of one band, as they are stored.

    Args:
        file: The open file.
        size: Its bytes.
        window: As in `read_pixels`.

    Returns:
        (h, w) of any type of whole numbers; and what is to be told.

    Raises:
        ImageError: As `read_pixels`; or there are several bands, or values are not kept.
    """
    page, following = first_page(file, size)
    if page.samples != 1:
        msg = f'it has {page.samples} channels, expected one channel of class ids'
        raise ImageError(msg)
    if page.photometric == WHITE_IS_ZERO:
        msg = (
            'its values are stored with white as 0, so that it is not clear which value is '
            'meant: gdal_translate -co PHOTOMETRIC=MINISBLACK in.tif out.tif keeps the stored '
            'ones'
        )
        raise ImageError(msg)
    if page.photometric not in (BLACK_IS_ZERO, PALETTE, MASK):
        msg = f'photometric interpretation {page.photometric} is none of class ids'
        raise ImageError(msg)
    if page.compression in tiff_codecs.LOSSY:
        msg = 'its compression changes values: write class ids with LZW or deflate'
        raise ImageError(msg)
    kinds = (UNSIGNED, SIGNED, UNDEFINED)
    if page.sample_format not in kinds or page.bits not in (1, 2, 4, 8, 16, 32):
        text = 'expected whole numbers of up to 32 bits as class ids'
        raise _not_read(page, f'{text}: gdal_translate -ot Byte in.tif out.tif')
    _check_compression(page)
    notes = list(_note_of_pages(following))
    if page.photometric == PALETTE:
        palette = page.palette
        notes.append(note_of_palette(palette))
    return tiff_segments.read_window(page, window, 1)[..., 0], notes


def is_one_piece(file: BinaryIO, size: int) -> bool:
    """
    Tell if every window takes all of a file to be decoded: one compressed strip or tile.

    Raises:
        ImageError: The file is damaged.
    """
    page = first_page(file, size).page
    return page.compression != tiff_codecs.NONE and page.down == page.across == 1


def note_of_palette(palette: np.ndarray) -> str:
    """
    Return what is told about class ids with a palette, whose indices are read.

    Args:
        palette: (n, 3) uint8.

    Raises:
        ImageError: The palette is of other greys than its indices, so both could be meant.
    """
    gray = (palette == palette[:, :1]).all()
    if gray and (palette[:, 0] != np.arange(len(palette))).any():
        msg = (
            'its palette gives the indices other values of grey, so that it is not clear '
            'which of both are class ids: write them as 8-bit grey values'
        )
        raise ImageError(msg)
    return 'it has a palette: its indices are the class ids, its colours are left out'


def _check_depth(page: Page) -> None:
    if page.sample_format not in (UNSIGNED, UNDEFINED):
        raise _not_read(page, _WAY_OUT)
    few = page.bits in (1, 2, 4) and page.samples == 1 and page.photometric != RGB
    if page.bits != 8 and not few:
        raise _not_read(page, f'expected 8 bits per channel{_found(page)}: {_WAY_OUT}')


_WAY_OUT = (
    '--stretch of segment and evaluate, and data: stretch of a recipe, read such values; or '
    'gdal_translate -ot Byte -scale in.tif out.tif makes 8 bits of them'
)


def _not_read(page: Page, text: str) -> ImageError:
    names = {UNSIGNED: 'uint', UNDEFINED: 'uint', SIGNED: 'int', FLOAT: 'float'}
    kind = names.get(page.sample_format, 'complex')
    return ImageError(f'it is {kind}{page.bits}, {text}')


def _found(page: Page) -> str:
    """Name the largest value, which tells how many of 16 bits are used."""
    plain = page.compression in tiff_codecs.COMPRESSIONS and page.predictor in (1, 2)
    if not plain or page.bits not in (16, 32):
        return ''
    if page.height * page.width * page.samples > _LOOKED_AT:
        return ''
    parts = (part for *_, part in tiff_segments.segments(page, None, page.samples))
    largest = max((int(part.max()) for part in parts if part is not None), default=0)
    return f' (its largest value is {largest})'


def _check_compression(page: Page) -> None:
    if page.compression not in tiff_codecs.COMPRESSIONS:
        name = tiff_codecs.NAMES.get(page.compression, f'number {page.compression}')
        msg = (
            f'its compression {name} is not read: '
            'gdal_translate -co COMPRESS=DEFLATE in.tif out.tif'
        )
        raise ImageError(msg)
    if page.predictor not in (1, 2) or (page.predictor == 2 and page.bits < 8):
        msg = (
            f'its predictor {page.predictor} for {page.bits} bits is not read: '
            'gdal_translate -co COMPRESS=DEFLATE in.tif out.tif'
        )
        raise ImageError(msg)


def _choose_bands(page: Page) -> Chosen:
    """Choose the bands that are colours; refuse what may mean several things."""
    colors = page.samples - sum(kind in _ALPHA for kind in page.extra)
    if page.photometric == PALETTE and colors == 1:
        return Chosen(1, _note_of_rest(page, 1))
    if page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, MASK) and colors == 1:
        return Chosen(1, _note_of_rest(page, 1))
    if page.photometric == BLACK_IS_ZERO and colors in (3, 4):
        text = f'{page.samples} bands that are not named: the first three are red, green, blue'
        return Chosen(3, (text,))
    if page.photometric == RGB and page.samples - len(page.extra) >= 3:
        return Chosen(3, _note_of_rest(page, 3))
    if page.photometric == YCBCR and page.samples == 3:
        if page.compression == tiff_codecs.JPEG and not page.planar:
            return Chosen(3, ())
        msg = 'its colours are YCbCr, which is read with JPEG only: save it as RGB'
        raise ImageError(msg)
    if page.photometric in _OTHER_COLORS:
        name = _OTHER_COLORS[page.photometric]
        msg = f'its colours are {name}, which is not read: save it as RGB'
        raise ImageError(msg)
    if page.samples == 2:
        msg = (
            'it has 2 bands, and nothing says that the second one is alpha: choose one by '
            'gdal_translate -b 1 in.tif out.tif'
        )
        raise ImageError(msg)
    msg = (
        f'it has {page.samples} bands, and nothing says which are red, green and blue: choose '
        'them by gdal_translate -b 3 -b 2 -b 1 -co PHOTOMETRIC=RGB in.tif out.tif (their '
        'numbers in the order of red, green, blue)'
    )
    raise ImageError(msg)


_OTHER_COLORS = {
    CMYK: 'CMYK, those of print',
    8: 'CIELab',
    9: 'ICCLab',
    10: 'ITULab',
    32803: "a camera's raw mosaic",
    34892: "a camera's raw values",
}


def _note_of_rest(page: Page, bands: int) -> tuple[str, ...]:
    if page.samples == bands:
        return ()
    only_alpha = len(page.extra) == page.samples - bands and set(page.extra) <= set(_ALPHA)
    rest = 'alpha' if only_alpha else 'alpha, near infrared or what they are'
    return (f'{page.samples} bands: {rest} beyond the first {bands} left out',)


def _note_of_pages(following: int) -> tuple[str, ...]:
    return (f'{following + 1} pages: the first is read',) if following else ()
