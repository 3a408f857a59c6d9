# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Windows of TIFF files: only the strips or tiles that a window touches are read.

tifffile reads the format; it is imported when the first TIFF file is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import struct
from typing import Any, TYPE_CHECKING
import zlib

import numpy as np

from uhr_seg_ros.data.errors import DataError

if TYPE_CHECKING:
    from tifffile import TiffPage

Window = tuple[int, int, int, int]

SUFFIXES = ('.tif', '.tiff')

#: Little and big endian, of 32 and of 64 bit.
_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
#: Compressions that keep every value: none, LZW, deflate (two numbers) and PackBits.
_LOSSLESS = (1, 5, 8, 32946, 32773)
#: Values that are what they say: black is zero, and RGB.
_PLAIN = (1, 2)
#: What tifffile, imagecodecs, zlib and numpy raise for damaged files.
_DAMAGE = (
    ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, OSError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip


def is_tiff(head: bytes) -> bool:
    """Tell by the first bytes of a file if it is a TIFF file."""
    return head[:4] in _MAGIC


def size(path: Path) -> tuple[int, int]:
    """
    Read (height, width) of the first image in a TIFF file.

    Raises:
        DataError: tifffile is not installed, or the file is damaged.
    """
    with _first_page(path) as page:
        return int(page.imagelength), int(page.imagewidth)


def read_window(path: Path, window: Window) -> np.ndarray | None:
    """
    Read a part of the first image in a TIFF file.

    Args:
        path: The file.
        window: Top, left, height and width in px, inside the image.

    Returns:
        (h, w, bands) uint8 in the stored order of bands; None where reading a window would
        decode everything anyway, or is not possible (values of another depth, colours that are
        not RGB, a lossy compression, a compression that needs the package imagecodecs).

    Raises:
        DataError: tifffile is not installed, or the file is damaged.
    """
    with _first_page(path) as page:
        if page.bitspersample != 8 or page.photometric not in _PLAIN:
            return None
        if page.is_memmappable:
            return _from_memory_map(path, page, window)
        if page.compression not in _LOSSLESS or len(page.dataoffsets) == 1:
            return None
        return _from_segments(page, window)


def _from_memory_map(path: Path, page: TiffPage, window: Window) -> np.ndarray:
    top, left, height, width = window
    pixels = np.memmap(path, np.uint8, 'r', page.dataoffsets[0], page.shape)
    bands_last = np.moveaxis(pixels, 0, -1) if _is_planar(page) else pixels
    part = bands_last[top : top + height, left : left + width]
    return np.array(part).reshape(height, width, -1)


def _from_segments(page: TiffPage, window: Window) -> np.ndarray | None:
    """Decode the strips or tiles that a window touches, and put them together."""
    top, left, height, width = window
    out = np.zeros((height, width, page.samplesperpixel), np.uint8)
    file = page.parent.filehandle
    for index in _touched(page, window):
        file.seek(page.dataoffsets[index])
        count = page.databytecounts[index]
        # A hole of a sparse file has no bytes; it reads as zero.
        stored = file.read(count) if count else None
        try:
            pixels, (band, _, y, x, _), _ = page.decode(stored, index)
        except ValueError as err:
            if 'imagecodecs' in str(err):
                return None
            raise
        if pixels is None:
            continue
        _, rows, columns, bands = pixels.shape
        y0, y1 = max(y, top), min(y + rows, top + height)
        x0, x1 = max(x, left), min(x + columns, left + width)
        part = pixels[0, y0 - y : y1 - y, x0 - x : x1 - x]
        out[y0 - top : y1 - top, x0 - left : x1 - left, band : band + bands] = part
    return out


def _touched(page: TiffPage, window: Window) -> Iterator[int]:
    """Numbers of the strips or tiles that share pixels with a window."""
    top, left, height, width = window
    rows, columns = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (page.rowsperstrip, page.imagewidth)
    )
    down, across = -(-page.imagelength // rows), -(-page.imagewidth // columns)
    for plane in range(page.samplesperpixel if _is_planar(page) else 1):
        for row in range(top // rows, (top + height - 1) // rows + 1):
            for column in range(left // columns, (left + width - 1) // columns + 1):
                yield (plane * down + row) * across + column


def _is_planar(page: TiffPage) -> bool:
    return page.samplesperpixel > 1 and page.planarconfig == 2


@contextmanager
def _first_page(path: Path) -> Iterator[TiffPage]:
    tifffile = _import(path)
    try:
        with tifffile.TiffFile(path) as file:
            yield file.pages[0]
    except (tifffile.TiffFileError, *_DAMAGE) as err:
        msg = f'{path} cannot be decoded: {err}'
        raise DataError(msg) from err


def _import(path: Path) -> Any:
    try:
        import tifffile
    except ModuleNotFoundError as err:
        msg = f'{path} is a TIFF file and tifffile is not installed: pip install tifffile'
        raise DataError(msg) from err
    return tifffile
