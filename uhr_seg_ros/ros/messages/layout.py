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
Whether size, `step` and the amount of data of an image message fit together.

Data that is too short is refused. Data that is longer than declared is read where there is one
explanation only, and refused where there are none or two: wrong pixels look like pixels.

| longer than step x rows by | |
|---|---|
| less than a row | read, with a remark: a buffer that is a little too long |
| whole rows, up to a height that hardware aligns to | read, with a remark: aligned planes |
| as much for every row | refused: the rows lie further apart than `step` says |
| anything else | refused: more bytes per pixel than the encoding has |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.ros.messages.remarks import log_once, Remark

if TYPE_CHECKING:
    from sensor_msgs.msg import Image

_ALIGNMENTS = (2, 4, 8, 16, 32, 64)
"""Rows that the planes of cameras and video decoders are aligned to."""

_BYTES_EACH = (1, 1.5, 2, 3, 4)
"""Bytes per pixel of encodings: mono, NV12, YUYV, colors, colors with alpha."""

_OTHER_ENCODINGS = ((5, 4), (4, 3))
"""How much more data another encoding of the same size has: raw10; bgra8, nv16."""


def describe(message: Image) -> str:
    """Return size and encoding for a message to the user."""
    return f'{message.width} x {message.height} {shown(message.encoding)}'


def check_size(message: Image, limit: FrameLimit) -> None:
    """
    Refuse an image without pixels, or larger than the limit.

    Raises:
        ImageError: names the size, the limit and the way out.

    """
    limit.check('image', message.height, message.width, shown(message.encoding))


def check_data(
    message: Image, row_bytes: int, rows: int, why: str, remark: Remark = log_once
) -> None:
    """
    Check `step` and data of an image of one plane.

    Args:
        message: the image.
        row_bytes: bytes of a row of pixels.
        rows: rows of memory.
        why: what `row_bytes` is made of, for the error.
        remark: told what is odd, yet can be read.

    Raises:
        ImageError: they do not fit the size.

    """
    _check_least(message, row_bytes, rows, why)
    surplus = len(message.data) - message.step * rows
    if surplus <= 0:
        return
    aligned = {_align(rows, to) for to in _ALIGNMENTS} - {rows}
    if _other_step(message, row_bytes, rows) or not (
        surplus < message.step or any(_fits(message, row_bytes, rows, each) for each in aligned)
    ):
        raise _too_long(message, row_bytes, rows)
    remark(f'{_longer(message, rows)}: the first {rows} rows are read')


def find_chroma(
    message: Image, row_bytes: int, chroma_rows: float, why: str, remark: Remark = log_once
) -> int:
    """
    Find where the chroma plane of an image begins whose luma may be higher than the picture.

    Args:
        message: an image of a plane of luma and one of chroma.
        row_bytes: bytes of a row of luma.
        chroma_rows: rows of chroma per row of luma, each as long as one of luma.
        why: what `row_bytes` is made of, for the error.
        remark: told what is odd, yet can be read.

    Returns:
        Rows of luma before the chroma, the height of the picture or more.

    Raises:
        ImageError: `step` and data do not fit the size.

    """
    height = message.height
    rows = height + int(height * chroma_rows)
    _check_least(message, row_bytes, rows, why)
    surplus = len(message.data) - message.step * rows
    if surplus <= 0:
        return height
    found = {height} if surplus < message.step else set()
    for to in _ALIGNMENTS:
        luma, chroma = _align(height, to), rows - height
        below = {chroma, _align(chroma, to), int(luma * chroma_rows)}
        if any(_fits(message, row_bytes, rows, luma + each) for each in below):
            found.add(luma)
    if len(found) != 1 or _other_step(message, row_bytes, rows):
        raise _too_long(message, row_bytes, rows)
    luma = found.pop()
    remark(f'{_longer(message, rows)}: read as a plane of {luma} rows, then the chroma')
    return luma


def _check_least(message: Image, row_bytes: int, rows: int, why: str) -> None:
    """Refuse a `step` shorter than a row of pixels, and data that ends before the last row."""
    if message.step < row_bytes:
        msg = f'image step {message.step} is smaller than {why} = {row_bytes} bytes'
        raise ImageError(msg)
    # The padding after the last row may be absent, as cameras that send views leave it out.
    needed = message.step * (rows - 1) + row_bytes
    if len(message.data) < needed:
        msg = (
            f'image data is truncated: {len(message.data)} bytes, but {describe(message)} '
            f'with step {message.step} needs {needed}{_other_encoding(message)}'
        )
        raise ImageError(msg)


def _other_encoding(message: Image) -> str:
    """Say of data that is too short where it is all there, for another encoding."""
    each = len(message.data) / (message.width * message.height)
    if each not in _BYTES_EACH:
        return ''
    return (
        f'; that is {each:g} bytes for each pixel: if nothing is missing, set the encoding '
        'and the step that it has'
    )


def _align(rows: int, to: int) -> int:
    return -(-rows // to) * to


def _fits(message: Image, row_bytes: int, rows: int, total: int) -> bool:
    """Return whether the data is so many rows, and no other encoding would have as many."""
    if 2 * total >= 3 * rows or any(total * b == rows * a for a, b in _OTHER_ENCODINGS):
        return False
    full = total * message.step
    return full - message.step + row_bytes <= len(message.data) <= full


def _other_step(message: Image, row_bytes: int, rows: int) -> int:
    """Return how far apart its rows are if that is all that is wrong, 0 if it is not."""
    size = len(message.data)
    if size % rows == 0:
        return size // rows if rows > 1 else 0
    step, rest = divmod(size - row_bytes, rows - 1)
    return 0 if rest else step


def _too_long(message: Image, row_bytes: int, rows: int) -> ImageError:
    step = _other_step(message, row_bytes, rows)
    return ImageError(
        f'image data is too long: {len(message.data)} bytes, but {describe(message)} with step '
        f'{message.step} is {message.step * rows}; set the encoding that the data has, or the '
        'step between its rows' + (f': {step} bytes if that is all that is wrong' if step else '')
    )


def _longer(message: Image, rows: int) -> str:
    return (
        f'image data is {len(message.data) - message.step * rows} bytes longer than '
        f'{describe(message)} with step {message.step}'
    )
