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

"""BMP files without compression; decoded here, because OpenCV fills in what is missing."""

from __future__ import annotations

import struct

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.limits import check_memory, check_pixels

SIGNATURE = b'BM'

_CORE = 12
_RGB, _FIELDS, _ALPHA_FIELDS = 0, 3, 6
#: Red, green and blue of 16 and 32 bits where the file says nothing.
_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}


def size(head: bytes) -> tuple[int, int]:
    """
    Read (height, width) from the first 26 bytes.

    Raises:
        ImageError: They are no header.
    """
    try:
        (length,) = struct.unpack_from('<I', head, 14)
        form = '<HH' if length == _CORE else '<ii'
        width, height = struct.unpack_from(form, head, 18)
    except struct.error as err:
        msg = 'BMP has a damaged header'
        raise ImageError(msg) from err
    check_pixels('BMP', abs(height), width)
    return abs(height), width


def read(data: bytes) -> np.ndarray:
    """
    Decode a file; alpha is left out.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: The file is cut short, damaged or compressed.
    """
    height, width = size(data)
    try:
        return _read(data, height, width)
    except struct.error as err:
        msg = 'BMP has a damaged header'
        raise ImageError(msg) from err


def _read(data: bytes, height: int, width: int) -> np.ndarray:
    start, length = struct.unpack_from('<II', data, 10)
    core = length == _CORE
    top_down = not core and struct.unpack_from('<i', data, 22)[0] < 0
    (bits,) = struct.unpack_from('<H', data, 24 if core else 28)
    (compression,) = (0,) if core else struct.unpack_from('<I', data, 30)
    if compression not in (_RGB, _FIELDS, _ALPHA_FIELDS):
        msg = f'BMP has compression {compression}, which is not read: save it as PNG'
        raise ImageError(msg)
    if bits not in (1, 4, 8, 16, 24, 32):
        msg = f'BMP has a damaged header: {bits} bits per pixel'
        raise ImageError(msg)
    row = (bits * width + 31) // 32 * 4
    # The padding after the last row may be absent.
    needed = start + row * (height - 1) + (bits * width + 7) // 8
    if len(data) < needed:
        msg = f'BMP is cut short: {len(data)} of {needed} bytes are there'
        raise ImageError(msg)
    check_memory('BMP', height, width, height * width * (7 if bits in (16, 32) else 4))
    stored = np.frombuffer(data[start : start + row * height].ljust(row * height, b'\0'), np.uint8)
    rows = stored.reshape(height, row)
    rows = rows if top_down else rows[::-1]
    if bits <= 8:
        palette = _palette(data, core, length, bits, start)
        indices = _indices(rows, bits, width)
        if indices.max() >= len(palette):
            msg = f'BMP is damaged: it holds index {indices.max()} of {len(palette)} colours'
            raise ImageError(msg)
        return palette[indices]
    if bits == 24:
        return np.ascontiguousarray(rows[:, : width * 3].reshape(height, width, 3))
    masks = _MASKS[bits]
    if compression != _RGB:
        masks = struct.unpack_from('<III', data, 14 + 40)
    return _by_masks(rows[:, : width * bits // 8], bits, masks)


def _palette(data: bytes, core: bool, length: int, bits: int, start: int) -> np.ndarray:
    """Return the colours, (n, 3) uint8 BGR."""
    each = 3 if core else 4
    (used,) = (0,) if core else struct.unpack_from('<I', data, 46)
    first = 14 + length
    count = min(used or 1 << bits, 1 << bits, max(start - first, 0) // each)
    colors = np.frombuffer(data, np.uint8, count * each, first) if count else np.zeros(0, np.uint8)
    return colors.reshape(-1, each)[:, :3]


def _indices(rows: np.ndarray, bits: int, width: int) -> np.ndarray:
    if bits == 8:
        return rows[:, :width]
    if bits == 1:
        return np.unpackbits(rows, axis=1, count=width)
    return np.stack((rows >> 4, rows & 15), axis=2).reshape(len(rows), -1)[:, :width]


def _by_masks(rows: np.ndarray, bits: int, masks: tuple[int, ...]) -> np.ndarray:
    values = np.ascontiguousarray(rows).view('<u2' if bits == 16 else '<u4')
    out = np.empty((*values.shape, 3), np.uint8)
    for channel, mask in enumerate(reversed(masks)):
        shift = (mask & -mask).bit_length() - 1 if mask else 0
        largest = mask >> shift
        if not mask or largest & (largest + 1) or mask >> bits:
            msg = f'BMP is damaged: its mask of a colour is {mask:#x}'
            raise ImageError(msg)
        part = (values & values.dtype.type(mask)) >> values.dtype.type(shift)
        if largest != 255:
            # Spread over 0 to 255, rounded.
            part = (part.astype(np.uint64) * 255 + largest // 2) // largest
        out[..., channel] = part
    return out
