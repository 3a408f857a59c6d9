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

"""Format, size and orientation of a picture file from its header: no pixel is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import struct
from typing import BinaryIO
import zlib

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.regular_files import FileFault, open_regular
from uhr_seg_ros.image_io import bmp, ifd, png, tiff, tiff_page, webp
from uhr_seg_ros.image_io.jpeg_structure import read_file_header

PNG, JPEG, TIFF, BMP, WEBP = 'PNG', 'JPEG', 'TIFF', 'BMP', 'WebP'

#: Names that files of these formats have.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp', '.webp')


def image_size(path: Path) -> tuple[int, int]:
    """
    Read (height, width) in px, as stored (EXIF rotation is ignored).

    Raises:
        ImageError: The file is missing, damaged, too large, or none of PNG, JPEG, TIFF, BMP
            and WebP.
    """
    with opened(path) as file:
        return _SIZES[kind(file)](file)


def orientation(path: Path) -> int:
    """
    Read the EXIF orientation, 1 to 8; 1 without one.

    Raises:
        ImageError: As `image_size`.
    """
    with opened(path) as file:
        return orientation_of(file, kind(file))


def is_read_by_window(path: Path) -> bool:
    """Tell if a part of a file takes less to be read than all of it, by its content."""
    with opened(path) as file:
        return kind(file) == TIFF and not tiff.is_one_piece(file, bytes_of(file))


def orientation_of(file: BinaryIO, form: str) -> int:
    """Read the EXIF orientation of an open file of a known format, as `orientation`."""
    return _ORIENTATIONS[form](file)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """
    Open a regular file; every error in the block gets its name.

    Raises:
        ImageError: The file cannot be opened or read, is no regular file, or the block says so.
    """
    try:
        with open_regular(path) as file:
            yield file
    except FileFault as err:
        msg = f'{path} cannot be read: {err.reason}'
        raise ImageError(msg) from err
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror or err}'
        raise ImageError(msg) from err
    except ImageError as err:
        msg = f'{path} cannot be read: {err}'
        raise ImageError(msg) from err


def bytes_of(file: BinaryIO) -> int:
    """Return the size of an open file."""
    return file.seek(0, os.SEEK_END)


def kind(file: BinaryIO) -> str:
    """
    Tell the format of an open file by its content, whatever its name is.

    Raises:
        ImageError: It is none of those that are read.
    """
    file.seek(0)
    head = file.read(16)
    if head.startswith(png.SIGNATURE):
        return PNG
    if head.startswith(b'\xff\xd8'):
        return JPEG
    if ifd.is_tiff(head):
        return TIFF
    if webp.is_webp(head):
        return WEBP
    if head.startswith(bmp.SIGNATURE):
        return BMP
    size = bytes_of(file)
    what = 'it is empty' if not size else f'its {size} bytes begin like no format that is read'
    msg = f'{what} (PNG, JPEG, TIFF, BMP or WebP; gdal_translate makes a TIFF of many others)'
    raise ImageError(msg)


def _png_size(file: BinaryIO) -> tuple[int, int]:
    file.seek(0)
    return png.size(file.read(24))


def _png_orientation(file: BinaryIO) -> int:
    """Look for EXIF data, and for the text that older tools put it into."""
    place, end = len(png.SIGNATURE), bytes_of(file)
    while place + 12 <= end:
        file.seek(place)
        length, name = struct.unpack('>I4s', file.read(8))
        if name == b'IDAT':
            break
        if name in _WITH_EXIF and place + 12 + length <= end:
            found = _exif_of_png(name, file.read(length))
            if found is not None:
                return ifd.exif_orientation(found)
        place += 12 + length
    # Thousands of parts may follow: what stands after the pixels is looked for from the end.
    tail = max(place, end - _TAIL)
    file.seek(tail)
    return _orientation_in(file.read(_TAIL))


_WITH_EXIF = (b'eXIf', b'zTXt', b'tEXt')
_TAIL = 1 << 16


def _orientation_in(data: bytes) -> int:
    """Find a part of a PNG with EXIF data, wherever it begins."""
    for name in _WITH_EXIF:
        at = data.find(name)
        while at >= 4:
            end = at + 4 + int.from_bytes(data[at - 4 : at], 'big')
            if zlib.crc32(data[at:end]) == int.from_bytes(data[end : end + 4], 'big'):
                found = _exif_of_png(name, data[at + 4 : end])
                if found is not None:
                    return ifd.exif_orientation(found)
            at = data.find(name, at + 1)
    return ifd.UPRIGHT


def _exif_of_png(name: bytes, body: bytes) -> bytes | None:
    if name == b'eXIf':
        return body
    return _profile(name, body) if body.startswith(_PROFILES) else None


_PROFILES = (b'Raw profile type exif\0', b'Raw profile type APP1\0')
_MAX_PROFILE = 1 << 20


def _profile(name: bytes, body: bytes) -> bytes:
    """Return what ImageMagick writes in hexadecimal digits after a name and a length."""
    text = body.split(b'\0', 1)[1]
    try:
        if name == b'zTXt':
            text = zlib.decompressobj().decompress(text[1:], _MAX_PROFILE)
        return bytes.fromhex(''.join(text.decode('ascii').split()[2:]))
    except (zlib.error, ValueError):
        return b''


def _webp_size(file: BinaryIO) -> tuple[int, int]:
    file.seek(0)
    return webp.size(file.read(webp.HEAD))


def _webp_orientation(file: BinaryIO) -> int:
    file.seek(0)
    for name, body in webp.chunks(file.read()):
        if name == b'EXIF':
            return ifd.exif_orientation(body)
    return ifd.UPRIGHT


def _bmp_size(file: BinaryIO) -> tuple[int, int]:
    file.seek(0)
    return bmp.size(file.read(26))


def _tiff_size(file: BinaryIO) -> tuple[int, int]:
    page = tiff_page.first_page(file, bytes_of(file)).page
    return page.height, page.width


def _tiff_orientation(file: BinaryIO) -> int:
    return tiff_page.first_page(file, bytes_of(file)).page.orientation


_SIZES: dict[str, Callable[[BinaryIO], tuple[int, int]]] = {
    PNG: _png_size,
    JPEG: lambda file: read_file_header(file)[:2],
    TIFF: _tiff_size,
    BMP: _bmp_size,
    WEBP: _webp_size,
}
_ORIENTATIONS: dict[str, Callable[[BinaryIO], int]] = {
    PNG: _png_orientation,
    JPEG: lambda file: read_file_header(file).orientation,
    TIFF: _tiff_orientation,
    BMP: lambda _: ifd.UPRIGHT,
    WEBP: _webp_orientation,
}
