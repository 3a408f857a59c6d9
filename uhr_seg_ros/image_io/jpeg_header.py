# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What the header of a JPEG says."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import exif
from uhr_seg_ros.image_io.limits import check_pixels

#: SOF0 to SOF15 hold the size, but for the three of them that are other segments.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF, _SCAN = 0xE1, 0xDA


class JpegHeader(NamedTuple):
    """
    What the header of a JPEG says.

    Attributes:
        height: In px.
        width: In px.
        bits: Of a sample.
        components: 1 grey, 3 colours, 4 print colours.
        orientation: Of EXIF, 1 to 8.
    """

    height: int
    width: int
    bits: int
    components: int
    orientation: int


def read(file: BinaryIO) -> JpegHeader:
    """
    Walk over the segments before the pixels (ITU T.81, B.2.2).

    Raises:
        ImageError: None of them is the header of a frame.
    """
    file.seek(2)
    turned, frame = exif.UPRIGHT, None
    while True:
        try:
            filler, marker, length = struct.unpack('>BBH', file.read(4))
            if marker == 0xFF:
                # A fill byte: the marker starts one byte later.
                file.seek(-3, 1)
                continue
            if filler != 0xFF or length < 2 or marker == _SCAN:
                raise struct.error
            body = file.read(length - 2)
            if marker in _FRAMES and frame is None:
                frame = struct.unpack('>BHHB', body[:6])
        except struct.error as err:
            if frame is not None:
                break
            msg = 'JPEG has a damaged header'
            raise ImageError(msg) from err
        if marker == _EXIF and turned == exif.UPRIGHT and body.startswith(b'Exif\0'):
            turned = exif.orientation(body)
    bits, height, width, components = frame
    check_pixels('JPEG', height, width)
    return JpegHeader(height, width, bits, components, turned)
