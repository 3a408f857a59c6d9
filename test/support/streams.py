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

"""H.264 and H.265 streams whose pictures tell which one they are, made by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pytest

av = pytest.importorskip('av', reason='PyAV (av) is not installed')

ENCODERS = {'h264': 'libx264', 'hevc': 'libx265'}
_PARAMS = {'h264': 'x264-params', 'hevc': 'x265-params'}

_BITS = 8
_SIDE = 32


class Packet(NamedTuple):
    """A packet, and the number of the picture in it, from 0 in the order of display."""

    number: int
    data: bytes
    is_key: bool


def picture(number: int, height: int = 64, width: int = 256) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR that shows a number as noisy bits, fields in a row."""
    fields = [40 + 170 * (number >> bit & 1) for bit in range(_BITS)]
    row = np.array(fields, np.uint8).repeat(_SIDE)[:width]
    gray = np.tile(np.pad(row, (0, width - row.size)), (height, 1))
    noise = np.random.default_rng(number).integers(-20, 20, gray.shape)
    return np.dstack([(gray + noise).astype(np.uint8)] * 3)


def number_of(image: np.ndarray) -> int:
    """Return the number that a picture shows."""
    fields = image[: image.shape[0] // 2].mean((0, 2))[_SIDE // 2 :: _SIDE][:_BITS]
    return sum(int(value > 125) << bit for bit, value in enumerate(fields))


def encode(
    codec: str,
    count: int,
    *,
    size: tuple[int, int] = (64, 256),
    first: int = 0,
    options: dict[str, str] | None = None,
) -> list[Packet]:
    """
    Encode pictures, a key picture every 8 of them and without B-frames unless options differ.

    Returns:
        The packets in the order of decoding.
    """
    given = tuple(sorted((options or {}).items()))
    return _encode_numbers(codec, count, size, first, given)


def encode_images(
    codec: str,
    images: Sequence[np.ndarray],
    *,
    first: int = 0,
    options: dict[str, str] | None = None,
) -> list[Packet]:
    """Encode images (H, W, 3) uint8 BGR, which are numbered from the first; see `encode`."""
    given = dict(options or {})
    height, width = images[0].shape[:2]
    keyint, bframes = given.pop('g', '8'), given.pop('bf', '0')
    context: Any = av.CodecContext.create(ENCODERS[codec], 'w')
    context.width, context.height, context.pix_fmt = width, height, 'yuv420p'
    context.time_base = Fraction(1, 30)
    context.thread_count = 1
    common = f'keyint={keyint}:min-keyint={keyint}:scenecut=0:bframes={bframes}'
    quiet = '' if codec == 'h264' else ':log-level=none:pools=1:frame-threads=1'
    more = given.pop('params', '')
    context.options = {
        'preset': 'ultrafast',
        _PARAMS[codec]: ':'.join(filter(None, (common + quiet, more))),
    }
    packets = []
    for number, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format='bgr24')
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    return [Packet(first + each.pts, bytes(each), each.is_keyframe) for each in packets]


@lru_cache
def _encode_numbers(
    codec: str,
    count: int,
    size: tuple[int, int],
    first: int,
    options: tuple[tuple[str, str], ...],
) -> list[Packet]:
    images = [picture(first + number, *size) for number in range(count)]
    return encode_images(codec, images, first=first, options=dict(options))


def encode_color(codec: str, image: np.ndarray, matrix: str) -> list[bytes]:
    """Encode a picture (H, W, 3) uint8 BGR by a matrix of colors that the stream names."""
    number = {'bt709': 1, 'smpte170m': 6}[matrix]
    height, width = image.shape[:2]
    context: Any = av.CodecContext.create(ENCODERS[codec], 'w')
    context.width, context.height, context.pix_fmt = width, height, 'yuv420p'
    context.time_base = Fraction(1, 30)
    context.options = {'preset': 'ultrafast', 'x264-params': f'crf=5:colormatrix={matrix}'}
    frame = av.VideoFrame.from_ndarray(image, format='bgr24').reformat(
        format='yuv420p', dst_colorspace='ITU709' if number == 1 else 'ITU601'
    )
    return [bytes(each) for each in (*context.encode(frame), *context.encode(None))]
