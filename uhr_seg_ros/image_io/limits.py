# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""How large a picture may be: its header decides, before memory is taken."""

from __future__ import annotations

from pathlib import Path

from uhr_seg_ros.image_io.errors import ImageIoError

MAX_PIXELS = 1 << 32
"""Largest picture file, 65536 x 65536 px. `uhr_seg_ros` tells OpenCV the same."""

_MEMORY = Path('/proc/meminfo')
#: Bytes that are not asked about: of one strip of many, or a small picture.
_LITTLE = 1 << 20


def check_pixels(kind: str, height: int, width: int) -> None:
    """
    Refuse a picture without pixels or with more than `MAX_PIXELS`.

    Raises:
        ImageIoError: The size is none; the text begins with the kind, such as "PNG".
    """
    if min(height, width) < 1:
        msg = f'{kind} has a damaged header: {width} x {height} px'
        raise ImageIoError(msg)
    if height * width > MAX_PIXELS:
        msg = (f'{kind} declares {width} x {height} px, at most {MAX_PIXELS} pixels are read: '
               'cut it into parts (gdal_translate -srcwin)')
        raise ImageIoError(msg)


def check_memory(kind: str, height: int, width: int, needed: int) -> None:
    """
    Refuse what would not fit into the memory that is available.

    Args:
        kind: Begins the text of the error, such as "PNG".
        height: Of the picture, px.
        width: Of the picture, px.
        needed: Bytes that decoding takes.

    Raises:
        ImageIoError: There is less memory; the text names both numbers.
    """
    available = available_memory() if needed > _LITTLE else None
    if available is not None and needed > available:
        msg = (f'{kind} of {width} x {height} px needs {needed >> 20} MiB to be decoded, '
               f'{available >> 20} MiB of memory are available: cut it into parts, or make it a '
               'tiled TIFF, of which windows are read (gdal_translate -co TILED=YES)')
        raise ImageIoError(msg)


def available_memory() -> int | None:
    """Give the bytes that can be taken without swapping; None where the system does not tell."""
    try:
        text = _MEMORY.read_text()
        line = next(line for line in text.splitlines() if line.startswith('MemAvailable:'))
        return int(line.split()[1]) << 10
    except (OSError, StopIteration, ValueError, IndexError):
        return None
