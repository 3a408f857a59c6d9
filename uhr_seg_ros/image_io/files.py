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

"""
Picture files, whole or by window: the one reader of every command.

docs/data.md has the rules. Of TIFF files only what a window touches is read. Others can only be
decoded whole; what was decoded last is kept for windows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
import logging
import os
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import bmp, headers, ifd, png, tiff, webp
from uhr_seg_ros.image_io.caching import ArrayCache
from uhr_seg_ros.image_io.headers import BMP, JPEG, opened, PNG, TIFF, WEBP
from uhr_seg_ros.image_io.jpeg import check_header, decode_jpeg
from uhr_seg_ros.image_io.jpeg_structure import read_file_header, read_header
from uhr_seg_ros.image_io.limits import check_memory, MAX_PIXELS
from uhr_seg_ros.image_io.tiff_segments import check_window, Window

_LOGGER = logging.getLogger(__name__)

_Decode = Callable[..., np.ndarray]

#: Decoded files of this process.
cache = ArrayCache(1 << 30)

_DEEP = (
    'it is uint16, expected 8 bits per channel (its largest value is {}): '
    '--stretch of segment and evaluate, and data: stretch of a recipe, read such values; or '
    'gdal_translate -ot Byte -scale in.png out.png makes 8 bits of them'
)


def read_image(path: Path, window: Window | None = None) -> np.ndarray:
    """
    Read an image or a part of it, pixels as they are stored (EXIF rotation is ignored).

    Args:
        path: PNG, JPEG, TIFF, BMP or WebP, whatever its name ends in.
        window: Top, left, height and width in px, inside the image; None for all of it.

    Returns:
        (h, w, 3) uint8 BGR, may be read-only. Grey is repeated, alpha and further bands are left
        out.

    Raises:
        ImageError: The file is missing, damaged, too large, or its values are none that are
            read.
    """
    with opened(path) as file:
        form = headers.kind(file)
        if form == TIFF:
            pixels = _of_tiff(path, file, _pixels_of_tiff, window)
        else:
            pixels = _whole(path, file, _DECODERS[form], window)
        if pixels.ndim == 2:
            return np.repeat(pixels[..., np.newaxis], 3, axis=2)
        return np.ascontiguousarray(pixels)


def read_ids(path: Path, window: Window | None = None) -> np.ndarray:
    """
    Read an image of class ids or a part of it, values as they are stored.

    Args:
        path: PNG or TIFF (others change values).
        window: As in `read_image`.

    Returns:
        (h, w) uint8, may be read-only. Of 1, 2 and 4 bits the values are 0 and 1, 0 to 3 and 0
        to 15; of a palette they are its indices.

    Raises:
        ImageError: As `read_image`; or the file has not one channel, or the part has a value
            that does not fit into 8 bits.
    """
    with opened(path) as file:
        form = headers.kind(file)
        if form == TIFF:
            values = _of_tiff(path, file, _ids_of_tiff, window)
        elif form == PNG:
            values = _whole(path, file, _ids_of_png, window)
        else:
            msg = f'it is a {form} file, which is none of class ids: expected PNG or TIFF'
            raise ImageError(msg)
        return _in_8_bits(values)


def _in_8_bits(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    wrong = values[(values < 0) | (values > 255)]
    if wrong.size:
        msg = (
            f'it is {values.dtype} and holds the value {wrong[0]}, expected class ids that '
            'fit into 8 bits: 0 to 254, and 255 for what is ignored'
        )
        raise ImageError(msg)
    return values.astype(np.uint8)


def _of_tiff(path: Path, file: BinaryIO, decode: _Decode, window: Window | None) -> np.ndarray:
    if window is not None and tiff.is_one_piece(file, headers.bytes_of(file)):
        return _whole(path, file, decode, window)
    return decode(path, file, window)


def _tell_orientation(path: Path, file: BinaryIO, form: str) -> None:
    turned = headers.orientation_of(file, form)
    if turned != ifd.UPRIGHT:
        log_once(
            path,
            f'EXIF orientation {turned} ({ifd.ORIENTATION_NAMES[turned]}) is not applied: results '
            'fit the pixels as they are stored',
        )


def _pixels_of_tiff(path: Path, file: BinaryIO, window: Window | None = None) -> np.ndarray:
    _tell_orientation(path, file, TIFF)
    pixels, notes = tiff.read_pixels(file, headers.bytes_of(file), window)
    for note in notes:
        log_once(path, note)
    return pixels


def _ids_of_tiff(path: Path, file: BinaryIO, window: Window | None = None) -> np.ndarray:
    values, notes = tiff.read_values(file, headers.bytes_of(file), window)
    for note in notes:
        log_once(path, note)
    return values


def _whole(path: Path, file: BinaryIO, decode: _Decode, window: Window | None) -> np.ndarray:
    if window is None:
        return decode(path, file)
    top, left, height, width = window
    whole = cache.get(_key(path, file, decode), lambda: decode(path, file))
    check_window(window, *whole.shape[:2])
    return whole[top : top + height, left : left + width]


def _key(path: Path, file: BinaryIO, decode: _Decode) -> Hashable:
    """Tell a file from others, and from itself as it was before it was written again."""
    state = os.fstat(file.fileno())
    return path, decode, state.st_mtime_ns, state.st_size, state.st_ino


def _bytes(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _pixels_of_png(path: Path, file: BinaryIO) -> np.ndarray:
    _tell_orientation(path, file, PNG)
    picture = png.parse(_bytes(file))
    values = picture.read()
    if picture.bits == 16:
        raise ImageError(_DEEP.format(values.max()))
    if picture.has_alpha:
        log_once(path, 'alpha left out')
    if picture.palette is not None:
        return picture.colors(values)
    if picture.bits < 8:
        return values * np.uint8(255 // ((1 << picture.bits) - 1))
    return values


def _ids_of_png(path: Path, file: BinaryIO) -> np.ndarray:
    picture = png.parse(_bytes(file))
    if picture.samples > 1:
        msg = (
            f'it has {picture.samples} channels, expected one channel of class ids '
            '(colours: write the ids as 8-bit grey values)'
        )
        raise ImageError(msg)
    if picture.palette is not None:
        log_once(path, tiff.note_of_palette(picture.palette))
    return picture.read()


def _pixels_of_jpeg(path: Path, file: BinaryIO) -> np.ndarray:
    _tell_orientation(path, file, JPEG)
    header = read_file_header(file)
    if header.components == 4:
        msg = 'its colours are CMYK, those of print, which is not read: save it as RGB'
        raise ImageError(msg)
    data = _bytes(file)
    try:
        check_memory(JPEG, header.height, header.width, 3 * header.height * header.width)
    except ImageError:
        # Of a file that lies, memory is not what is wrong.
        check_header(read_header(data), len(data), MAX_PIXELS)
        raise
    return decode_jpeg(data, MAX_PIXELS)


def _pixels_of_webp(path: Path, file: BinaryIO) -> np.ndarray:
    _tell_orientation(path, file, WEBP)
    pixels, alpha = webp.read(_bytes(file))
    if alpha:
        log_once(path, 'alpha left out')
    return pixels


def _pixels_of_bmp(_: Path, file: BinaryIO) -> np.ndarray:
    return bmp.read(_bytes(file))


_DECODERS = {
    PNG: _pixels_of_png,
    JPEG: _pixels_of_jpeg,
    WEBP: _pixels_of_webp,
    BMP: _pixels_of_bmp,
}


_told: set[tuple[Path, str]] = set()
_lock = Lock()


def log_once(path: Path, text: str) -> None:
    """
    Log what was chosen in reading a file; silent where the folder has been told the same.

    Args:
        path: The file.
        text: What was chosen; the same text for every file that it happens to.
    """
    key = path.parent, text
    with _lock:
        if key in _told:
            return
        _told.add(key)
    _LOGGER.warning('%s: %s (said once for this folder)', path, text)
