# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The size of an image file from its header: no pixel is decoded."""

from __future__ import annotations

from pathlib import Path
import struct
from typing import BinaryIO

from uhr_seg_ros.data import tiff
from uhr_seg_ros.data.errors import DataError

#: Of the files that data sets are made of.
SUFFIXES = ('.jpg', '.jpeg', '.png', *tiff.SUFFIXES)

_PNG = b'\x89PNG\r\n\x1a\n'
#: SOF0 to SOF15 hold the size, but for the three of them that are other segments.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def image_size(path: Path) -> tuple[int, int]:
    """
    Read (height, width) in px, as stored (EXIF rotation is ignored).

    Raises:
        DataError: The file is missing, damaged, or none of PNG, JPEG and TIFF.
    """
    try:
        with path.open('rb') as file:
            size = _size(path, file)
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise DataError(msg) from err
    except struct.error:
        size = (0, 0)
    if min(size) < 1:
        msg = f'{path} cannot be decoded: its header is damaged, or it is no PNG, JPEG or TIFF'
        raise DataError(msg)
    return size


def _size(path: Path, file: BinaryIO) -> tuple[int, int]:
    head = file.read(24)
    if head.startswith(_PNG):
        width, height = struct.unpack('>II', head[16:24])
        return height, width
    if head.startswith(b'\xff\xd8'):
        return _jpeg_size(file)
    return tiff.size(path) if tiff.is_tiff(head) else (0, 0)


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    """Walk over the segments up to the header of the frame (ITU T.81, B.2.2)."""
    file.seek(2)
    while True:
        filler, marker, length = struct.unpack('>BBH', file.read(4))
        if filler != 0xFF:
            return 0, 0
        if marker == 0xFF:
            # A fill byte: the marker starts one byte later.
            file.seek(-3, 1)
        elif marker in _FRAMES:
            _, height, width = struct.unpack('>BHH', file.read(5))
            return height, width
        else:
            file.seek(length - 2, 1)
