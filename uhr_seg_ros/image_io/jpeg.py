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
JPEG to pixels, all of them or an error.

OpenCV fills what is missing in a damaged JPEG with grey and says nothing; simplejpeg, where it is
installed, tells.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
import re
from types import ModuleType

import cv2
import numpy as np

from uhr_seg_ros.image_io.jpeg_scans import find_end, has_all_restarts, has_one_scan
from uhr_seg_ros.image_io.jpeg_structure import (
    APP0,
    APP14,
    EOI,
    JpegError,
    JpegHeader,
    PROGRESSIVE,
    read_header,
    segments,
    SOS,
)
from uhr_seg_ros.image_io.limits import MAX_FRAME_PIXELS

_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

#: What libjpeg says of files whose pixels are all there. Of several complaints it tells the first
#: only, so the cause is mended and the picture read again.
_COSMETIC = re.compile(
    r'unknown JFIF revision|Unknown Adobe color transform|Invalid SOS parameters for sequential'
)
#: The same of bytes that no block of pixels has taken.
_LEFT_OVER = re.compile(r'(\d+) extraneous bytes before marker 0x(\w\w)')

#: So many bytes of any value encoders leave before a marker, and so many zeros those that align.
#: After damage there are more, or too few.
_MAX_LEFT_OVER, _MAX_PADDING = 16, 64

#: How often a picture is read until the last cosmetic complaint is mended.
_MAX_READINGS = 3


def decode_jpeg(
    data: bytes | memoryview,
    max_pixels: int = MAX_FRAME_PIXELS,
    note: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """
    Decode a JPEG, which may lie in a longer buffer.

    Args:
        data: bytes, or a buffer of them; what follows the end marker is ignored.
        max_pixels: more are refused before memory is taken.
        note: told when damage cannot be, for what the encoder does.

    Returns:
        (H, W, 3) uint8 BGR, as stored: never turned by an EXIF tag.

    Raises:
        JpegError: too large, truncated, damaged, or of a kind that is not accepted. Damage that
            leaves an end marker is found only where `damage_is_told`.

    """
    data = memoryview(data).cast('B')
    while bytes(data[:4]) == b'\xff\xd8\xff\xd8':  # which decoders do not read
        data = data[2:]
    header = read_header(data)
    check_header(header, len(data), max_pixels)
    decoder = _simplejpeg()
    if decoder is None:
        return _decode_with_opencv(data)
    return _decode_strictly(decoder, data, note)


def check_header(header: JpegHeader, size: int, max_pixels: int = MAX_FRAME_PIXELS) -> None:
    """
    Refuse a picture of too many pixels, or of more than its bytes can hold.

    Args:
        header: see `read_header`.
        size: of the data, bytes.
        max_pixels: limit.

    Raises:
        JpegError: it is refused.

    """
    if header.height * header.width > max_pixels:
        msg = (
            f'JPEG is {header.width}x{header.height} px: at most {max_pixels} pixels are accepted'
        )
        raise JpegError(msg)
    if size < header.least_bytes:
        msg = (
            f'JPEG of {size} bytes says {header.width}x{header.height} px, which takes at '
            f'least {header.least_bytes} bytes: it is truncated or forged'
        )
        raise JpegError(msg)


def damage_is_told() -> bool:
    """Return whether a decoder is installed that tells damage inside a JPEG."""
    return _simplejpeg() is not None


@lru_cache(maxsize=1)
def _simplejpeg() -> ModuleType | None:
    """Return simplejpeg where it is installed and tells what libjpeg warns of."""
    try:
        import simplejpeg
    except Exception:  # a NumPy mismatch raises more than ImportError
        return None
    try:
        simplejpeg.decode_jpeg(b'none', strict=True)
    except ValueError:
        return simplejpeg
    except TypeError:  # a version before `strict`
        pass
    return None


def _decode_strictly(
    decoder: ModuleType, data: memoryview, note: Callable[[str], None]
) -> np.ndarray:
    if not has_one_scan(data):
        find_end(data)
    size = len(data)
    for _ in range(_MAX_READINGS):
        try:
            return decoder.decode_jpeg(data, colorspace='BGR', strict=True)
        except ValueError as err:
            complaint = str(err)
        data = data[: find_end(data)]  # says it better where the end is missing
        if 'determine subsampling' in complaint:
            note(f'JPEG has a sampling of which damage cannot be told: {_DAMAGED_ARE_READ}')
            return _decode_with_opencv(data)
        left, before = _left_over(complaint)
        if 0xD0 <= before <= 0xD7:
            if left > _MAX_LEFT_OVER or not has_all_restarts(data):
                break
            note(
                f'JPEG has bytes before its restart markers, as of some webcams: '
                f'{_DAMAGED_ARE_READ}'
            )
            return decoder.decode_jpeg(data, colorspace='BGR', strict=False)
        if not left and not _COSMETIC.search(complaint):
            break
        mended = _mend(data, left, before)
        if mended == data:
            break
        data = memoryview(mended)
    if left and before == EOI:
        msg = (
            f'JPEG of {size} bytes has {left} before its end marker that no pixels take: '
            'padding belongs behind the marker, or data that was lost has been filled up '
            f'({complaint})'
        )
        raise JpegError(msg)
    msg = f'JPEG of {size} bytes is damaged: {complaint}'
    raise JpegError(msg)


_DAMAGED_ARE_READ = 'frames that were damaged on the way may be read as if they were whole'


def _left_over(complaint: str) -> tuple[int, int]:
    """Return how many bytes no pixels took, and before which marker; zeros if it is not that."""
    found = _LEFT_OVER.search(complaint)
    return (int(found[1]), int(found[2], 16)) if found else (0, 0)


def _decode_with_opencv(data: memoryview) -> np.ndarray:
    end = find_end(data)
    try:
        image = cv2.imdecode(np.frombuffer(data[:end], np.uint8), _FLAGS)
    except cv2.error as err:
        msg = f'JPEG of {end} bytes could not be decoded: {err.err}'
        raise JpegError(msg) from err
    if image is None:
        msg = f'JPEG of {end} bytes could not be decoded: it is damaged'
        raise JpegError(msg)
    return image


def _mend(data: memoryview, left: int, before: int) -> bytes:
    """
    Return a JPEG without what decoders complain about while its pixels are all there.

    Bytes between segments go, and `left` bytes at the end of the scan before the marker.
    """
    header = read_header(data)
    parts: list[bytes | bytearray] = [bytes(data[:2])]
    for segment in segments(data):
        body = bytearray(data[segment.at : segment.end])
        if segment.marker == SOS:
            if header.process != PROGRESSIVE:
                after = segment.entropy - segment.at
                body[after - 3 : after] = 0, 63, 0
            zeros = left <= _MAX_PADDING and body.endswith(bytes(left))
            last = data[segment.end + 1] == before == EOI and left <= _MAX_LEFT_OVER
            if left and (zeros or last):
                del body[-left:]
                left = 0
        elif segment.marker == APP0 and body[4:9] == b'JFIF\0' and len(body) > 9:
            body[9] = 1
        elif segment.marker == APP14 and body[4:9] == b'Adobe' and len(body) > 15:
            # What libjpeg takes a transform for that it does not know.
            body[15] = body[15] if body[15] < 3 else len(header.components) // 2
        parts.append(body)
    return b''.join(parts)
