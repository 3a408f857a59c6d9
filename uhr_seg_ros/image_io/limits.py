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

"""How large a picture may be: its header decides, before memory is taken."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path

from uhr_seg_ros.core.errors import ImageError

MAX_PIXELS = 1 << 32
"""Largest picture file, 65536 x 65536 px; OpenCV's own limit is lower, see `png.AT_ONCE`."""

MAX_FRAME_PIXELS = 1 << 28
"""Largest frame of a message, 16384 x 16384 px: beyond it the size fields are garbage."""

DEFAULT_FRAME_PIXELS = 2 * 7680 * 4320
"""What the node takes unless it is told otherwise: two 8K frames."""

#: Bytes of a picture (BGR) per pixel.
_PICTURE_BYTES = 3

_MEMORY = Path('/proc/meminfo')
#: Bytes that are not asked about: of one strip of many, or a small picture.
_LITTLE = 1 << 20


@dataclass(frozen=True)
class FrameLimit:
    """
    How large a frame of a message may be; its header decides, before memory is taken.

    Attributes:
        max_pixels: More are refused.
        memory_limit_mb: For all that a frame is turned into, MB (10^6 bytes); 0 for no limit.
        bytes_per_pixel: What a frame is turned into, beside the picture itself.
    """

    max_pixels: int = MAX_FRAME_PIXELS
    memory_limit_mb: int = 0
    bytes_per_pixel: float = 0.0

    def check(self, what: str, height: int, width: int, form: str = 'px') -> None:
        """
        Refuse a frame without pixels, with too many, or that takes too much memory.

        Args:
            what: Begins the text of the error, such as "JPEG".
            height: In px.
            width: In px.
            form: Stands behind the size, such as an encoding.

        Raises:
            ImageError: Names the size, the limit and the way out.
        """
        size = f'{what} is {width} x {height} {form}'
        if min(height, width) < 1:
            msg = f'{size}: width and height must be at least 1'
            raise ImageError(msg)
        pixels = height * width
        if pixels > self.max_pixels:
            msg = f'{size}: at most {self.max_pixels} pixels are accepted'
            if self.max_pixels < MAX_FRAME_PIXELS:
                msg += f'; if the camera is that large, set max_pixels to {pixels}'
            raise ImageError(msg)
        needed = ceil(pixels * (_PICTURE_BYTES + self.bytes_per_pixel) / 1e6)
        if 0 < self.memory_limit_mb < needed:
            msg = (
                f'{size}: its buffers take {needed} MB, memory_limit_mb is '
                f'{self.memory_limit_mb}: set it to {needed}, or send smaller frames'
            )
            raise ImageError(msg)


def check_pixels(kind: str, height: int, width: int) -> None:
    """
    Refuse a picture without pixels or with more than `MAX_PIXELS`.

    Raises:
        ImageError: The size is none; the text begins with the kind, such as "PNG".
    """
    if min(height, width) < 1:
        msg = f'{kind} has a damaged header: {width} x {height} px'
        raise ImageError(msg)
    if height * width > MAX_PIXELS:
        msg = (
            f'{kind} declares {width} x {height} px, at most {MAX_PIXELS} pixels are read: '
            'cut it into parts (gdal_translate -srcwin)'
        )
        raise ImageError(msg)


def check_memory(kind: str, height: int, width: int, needed: int) -> None:
    """
    Refuse what would not fit into the memory that is available.

    Args:
        kind: Begins the text of the error, such as "PNG".
        height: Of the picture, px.
        width: Of the picture, px.
        needed: Bytes that decoding takes.

    Raises:
        ImageError: There is less memory; the text names both numbers.
    """
    available = available_memory() if needed > _LITTLE else None
    if available is not None and needed > available:
        msg = (
            f'{kind} of {width} x {height} px needs {needed >> 20} MiB to be decoded, '
            f'{available >> 20} MiB of memory are available: cut it into parts, or make it a '
            'tiled TIFF, of which windows are read (gdal_translate -co TILED=YES)'
        )
        raise ImageError(msg)


def available_memory() -> int | None:
    """Return the bytes that can be taken without swapping; None where the system does not tell."""
    try:
        text = _MEMORY.read_text()
        line = next(line for line in text.splitlines() if line.startswith('MemAvailable:'))
        return int(line.split()[1]) << 10
    except (OSError, StopIteration, ValueError, IndexError):
        return None
