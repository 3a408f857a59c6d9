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
What undoes the compression of strips and tiles of TIFF files.

zlib undoes deflate. LZW is undone by OpenCV's TIFF reader, of bytes that are handed over as a
picture of their own, so that it has nothing to interpret. JPEG streams leave out their tables and
say elsewhere what their colors are.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import opencv
from uhr_seg_ros.image_io.jpeg import decode_jpeg
from uhr_seg_ros.image_io.jpeg_structure import APP0, APP14, read_header, segments
from uhr_seg_ros.image_io.limits import MAX_PIXELS

NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACK_BITS, WEBP = 1, 5, 7, 8, 32946, 32773, 50001
COMPRESSIONS = (NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACK_BITS, WEBP)
#: Those that change values.
LOSSY = (JPEG, WEBP)
#: Those of other files, for the text of an error.
NAMES = {
    2: 'CCITT',
    3: 'CCITT group 3',
    4: 'CCITT group 4',
    6: 'old JPEG',
    34712: 'JPEG 2000',
    33003: 'JPEG 2000',
    33005: 'JPEG 2000',
    34887: 'LERC',
    34925: 'LZMA',
    50000: 'Zstandard',
    50002: 'JPEG XL',
    52546: 'JPEG XL',
}

#: At most so many bytes come from one.
MAX_RATIOS = {LZW: 3641, DEFLATE: 1032, OLD_DEFLATE: 1032, PACK_BITS: 64}

_START, _END = b'\xff\xd8', b'\xff\xd9'


def join_jpeg(stored: bytes, tables: bytes, ycbcr: bool) -> bytes:
    """
    Make a whole JPEG of one without its tables.

    Args:
        stored: The stream.
        tables: A stream with the tables alone, or nothing.
        ycbcr: Three components are YCbCr, else RGB.

    Raises:
        ImageError: One of them is no JPEG stream.
    """
    if not stored.startswith(_START) or tables and not tables.startswith(_START):
        msg = 'TIFF is damaged: a JPEG in it has no beginning'
        raise ImageError(msg)
    # Adobe's segment tells the decoder what it would guess else, and the stream what it may not.
    adobe = b'\xff\xee\0\x0eAdobe\0\x64\0\0\0\0' + bytes([ycbcr])
    body = tables[2:-2] if tables.endswith(_END) else tables[2:]
    place, kept = 2, []
    for segment in segments(stored, whole=False):
        if segment.marker in (APP0, APP14):
            kept.append(stored[place : segment.at])
            place = segment.end
    return b''.join((_START, adobe, body, *kept, stored[place:]))


def decode_jpeg_bands(data: bytes, bands: int) -> np.ndarray:
    """
    Decode a JPEG of a number of bands to (H, W, bands) uint8, RGB.

    Raises:
        ImageError: It is damaged, or has other bands.
    """
    components = len(read_header(data).components)
    if components != bands or bands not in (1, 3):
        msg = (
            f'TIFF holds a JPEG of {components} bands, only 1 or 3 are read: '
            'gdal_translate -co COMPRESS=DEFLATE in.tif out.tif'
        )
        raise ImageError(msg)
    pixels = decode_jpeg(data, MAX_PIXELS)
    return pixels[..., :1] if bands == 1 else pixels[..., ::-1]


#: Most columns that OpenCV reads.
_MAX_COLUMNS = 1 << 20


def inflate(stored: bytes, needed: int, index: int) -> bytes:
    """Undo deflate, up to so many bytes."""
    try:
        return zlib.decompressobj().decompress(stored, needed)
    except zlib.error as err:
        msg = f'TIFF is damaged: strip or tile {index}: {err}'
        raise ImageError(msg) from err


def unpack_bits(stored: bytes, needed: int, _: int) -> bytes:
    """Undo PackBits, up to so many bytes."""
    out, place = bytearray(), 0
    while place + 1 < len(stored) and len(out) < needed:
        count = stored[place]
        if count < 128:
            out += stored[place + 1 : place + 2 + count]
            place += 2 + count
        elif count > 128:
            out += stored[place + 1 : place + 2] * (257 - count)
            place += 2
        else:
            place += 1
    return bytes(out[:needed])


def undo_lzw(stored: bytes, rows: int, row_bytes: int) -> np.ndarray:
    """
    Undo LZW.

    OpenCV fills in what is missing of 8 bits and refuses what is missing of 16, so the bytes
    go in as samples of 16 bits.
    """
    total = rows * row_bytes
    if row_bytes % 2 == 0:
        shape = rows, row_bytes // 2
    elif rows % 2 == 0:
        shape = rows // 2, row_bytes
    elif total // 2 <= _MAX_COLUMNS:
        shape = 1, total // 2
    else:
        shape = (rows - 1) // 2, row_bytes
    data = np.empty(0, np.uint8)
    if min(shape):
        pairs = opencv.decode(_as_file(stored, 16, *shape), cv2.IMREAD_UNCHANGED, 'TIFF')
        data = pairs.view(np.uint8).ravel()
    if data.size < total:
        # A pair of bytes is not whole: its half comes from a second reading.
        every = opencv.decode(_as_file(stored, 8, rows, row_bytes), cv2.IMREAD_UNCHANGED, 'TIFF')
        data = np.concatenate((data, every.ravel()[data.size :]))
    return data


def _as_file(stored: bytes, bits: int, rows: int, columns: int) -> bytes:
    """Return a TIFF file of one strip of grey values in the byte order of this machine."""
    order, mark = ('<', b'II') if np.little_endian else ('>', b'MM')
    tags = (
        (256, columns),
        (257, rows),
        (258, bits),
        (259, LZW),
        (262, 1),
        (273, 134),
        (277, 1),
        (278, rows),
        (279, len(stored)),
        (284, 1),
    )
    entries = b''.join(struct.pack(f'{order}HHII', tag, 4, 1, value) for tag, value in tags)
    head = mark + struct.pack(f'{order}HIH', 42, 8, len(tags))
    return head + entries + bytes(4) + stored
