# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""JPEG streams inside of TIFF files, which leave out tables and say elsewhere what colours are."""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.jpeg import decode_jpeg
from uhr_seg_ros.image_io.jpeg_structure import APP0, APP14, read_header, segments
from uhr_seg_ros.image_io.limits import MAX_PIXELS

_START, _END = b'\xff\xd8', b'\xff\xd9'


def join(stored: bytes, tables: bytes, ycbcr: bool) -> bytes:
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


def decode(data: bytes, bands: int) -> np.ndarray:
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
