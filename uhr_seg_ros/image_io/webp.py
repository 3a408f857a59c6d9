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

"""WebP files: one picture, lossy or lossless."""

from __future__ import annotations

from collections.abc import Iterator
import struct

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import opencv
from uhr_seg_ros.image_io.limits import check_memory, check_pixels

#: Bytes that hold the size in any of the three forms.
HEAD = 30

#: A lossy picture tells of each 16 x 16 px at least how it is predicted: by the probabilities of
#: key frames (RFC 6386, 11.2) that takes 3.4 bits. One without loss may take none.
_MIN_BITS = 3


def is_webp(head: bytes) -> bool:
    """Tell by the first bytes of a file if it is a WebP file."""
    return head[:4] == b'RIFF' and head[8:12] == b'WEBP'


def size(head: bytes) -> tuple[int, int]:
    """
    Read (height, width) from the first 30 bytes.

    Raises:
        ImageError: They are no header.
    """
    name, body = head[12:16], head[20:]
    try:
        height, width = _SIZES[name](body)
    except (KeyError, struct.error, IndexError) as err:
        msg = 'WebP has a damaged header'
        raise ImageError(msg) from err
    check_pixels('WebP', height, width)
    return height, width


def _size_of_canvas(body: bytes) -> tuple[int, int]:
    width, height = (int.from_bytes(body[at : at + 3], 'little') + 1 for at in (4, 7))
    return height, width


def _size_of_lossy(body: bytes) -> tuple[int, int]:
    mark, width, height = struct.unpack_from('<3sHH', body, 3)
    return (height & 0x3FFF, width & 0x3FFF) if mark == b'\x9d\x01\x2a' else (0, 0)


def _size_of_lossless(body: bytes) -> tuple[int, int]:
    mark, bits = struct.unpack_from('<BI', body)
    return ((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1) if mark == 0x2F else (0, 0)


_SIZES = {b'VP8X': _size_of_canvas, b'VP8 ': _size_of_lossy, b'VP8L': _size_of_lossless}


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """
    Return name and body of every part of a file.

    Raises:
        ImageError: The file is shorter than it says.
    """
    (length,) = struct.unpack_from('<I', data.ljust(8, b'\0'), 4)
    end = 8 + length
    if end > len(data):
        msg = f'WebP is cut short: {len(data)} of {end} bytes are there'
        raise ImageError(msg)
    place = 12
    while place + 8 <= end:
        name, length = struct.unpack_from('<4sI', data, place)
        place += 8
        if place + length > end:
            msg = f'WebP is damaged: {name!r} at byte {place - 8} is longer than the file'
            raise ImageError(msg)
        yield name, data[place : place + length]
        place += length + length % 2


def read(data: bytes) -> tuple[np.ndarray, bool]:
    """
    Decode a file; alpha is left out and never multiplied in.

    Returns:
        (H, W, 3) uint8 BGR, and if there was alpha.

    Raises:
        ImageError: The file is cut short, damaged or animated.
    """
    height, width = size(data[:HEAD])
    picture, alpha = None, False
    for name, body in chunks(data):
        if name in (b'ANIM', b'ANMF'):
            msg = 'WebP is animated: save the picture that is meant as PNG'
            raise ImageError(msg)
        alpha |= name == b'ALPH'
        if name in (b'VP8 ', b'VP8L') and picture is None:
            picture = name, body
    if picture is None:
        msg = 'WebP has no picture in it'
        raise ImageError(msg)
    name, body = picture
    if _SIZES[name](body.ljust(10, b'\0')) != (height, width):
        msg = 'WebP is damaged: it declares two sizes'
        raise ImageError(msg)
    least = -(-height // 16) * -(-width // 16) * _MIN_BITS // 8
    if name == b'VP8 ' and len(body) < least:
        msg = (
            f'WebP of {len(data)} bytes says {width} x {height} px, which takes at least '
            f'{least} bytes: it is cut short or forged'
        )
        raise ImageError(msg)
    check_memory('WebP', height, width, height * width * 4 + len(data))
    if name == b'VP8L':
        alpha = bool(body[4] & 0x10)
    # The picture alone: no version of OpenCV has anything to choose.
    body += b'\0' * (len(body) % 2)
    plain = b'RIFF' + struct.pack('<I', len(body) + 12) + b'WEBP' + name
    plain += struct.pack('<I', len(picture[1])) + body
    image = opencv.decode(plain, cv2.IMREAD_UNCHANGED, 'WebP')
    return np.ascontiguousarray(image[..., :3]), alpha
