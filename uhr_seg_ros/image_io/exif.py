# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""How a camera was held, as EXIF tells; pixels are always taken as they are stored."""

from __future__ import annotations

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import ifd

TAG = 274
UPRIGHT = 1
NAMES = {
    2: 'mirrored',
    3: 'turned by 180 degrees',
    4: 'mirrored and turned by 180 degrees',
    5: 'mirrored and turned by 90 degrees',
    6: 'turned by 90 degrees',
    7: 'mirrored and turned by 270 degrees',
    8: 'turned by 270 degrees',
}


def orientation(exif: bytes) -> int:
    """
    Read the orientation in EXIF data; 1, which is upright, without one or where it is damaged.

    Args:
        exif: A TIFF structure, with or without the mark ``Exif`` before it.
    """
    exif = exif[6:] if exif[:6] == b'Exif\0\0' else exif
    try:
        first = next(ifd.in_memory(exif), None)
        value = first.number(TAG, UPRIGHT) if first is not None else UPRIGHT
    except ImageError:
        # Viewers do not turn such a picture either.
        return UPRIGHT
    return value if value in NAMES else UPRIGHT
