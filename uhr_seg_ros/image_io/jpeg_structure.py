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

"""What the markers of a JPEG say, without decoding: its size, its segments, its orientation."""

from __future__ import annotations

from collections.abc import Iterator
import struct
from typing import BinaryIO, NamedTuple

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import ifd
from uhr_seg_ros.image_io.limits import check_pixels

SOI, EOI, SOS, DRI = 0xD8, 0xD9, 0xDA, 0xDD
_TEM = 0x01  # for temporary use, without parameters
APP0, APP14 = 0xE0, 0xEE
PROGRESSIVE = 0xC2

#: Frame markers that are read: baseline, extended and progressive, with Huffman codes.
_READ = (0xC0, 0xC1, PROGRESSIVE)

_NOT_READ = {
    0xC3: 'lossless',
    0xCB: 'lossless',
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), 'hierarchical'),
    **dict.fromkeys((0xC9, 0xCA), 'arithmetically coded'),
}

#: Second byte -> whether it makes a marker of an FF: not a stuffed FF, a fill byte or a restart.
_MARKERS = np.ones(256, bool)
_MARKERS[[0x00, *range(0xD0, 0xD8), 0xFF]] = False

#: From so many equal bytes on the end of the data is padding; an encoder leaves fewer.
_MIN_FILLING = 64

#: How many bytes of a scan are looked at in one go; they and what is found fit into a cache.
_BLOCK = 1 << 16


class JpegError(ImageError):
    """A JPEG that cannot be read whole, or is of a kind that is not accepted."""


class Component(NamedTuple):
    """One plane of a JPEG: its number and its sampling factors."""

    number: int
    horizontal: int
    vertical: int


class JpegHeader(NamedTuple):
    """
    What the frame header says.

    Attributes:
        height: px.
        width: px.
        precision: bits per sample.
        process: the marker: 0xc0 baseline, 0xc1 extended, 0xc2 progressive.
        components: 1 grey, 3 colour, 4 CMYK.

    """

    height: int
    width: int
    precision: int
    process: int
    components: tuple[Component, ...]

    @property
    def least_bytes(self) -> int:
        """How many bytes the scans of the picture take at least."""
        # The shortest Huffman code has one bit. Every block of 8 x 8 has one for its mean, and
        # one for the rest unless that comes in scans of its own, which may run over blocks.
        widest = max(each.horizontal for each in self.components)
        highest = max(each.vertical for each in self.components)
        blocks = sum(
            -(-self.width * each.horizontal // (8 * widest))
            * -(-self.height * each.vertical // (8 * highest))
            for each in self.components
        )
        return blocks * (1 if self.process == PROGRESSIVE else 2) // 8


class Segment(NamedTuple):
    """
    A marker and what belongs to it.

    Attributes:
        marker: second byte of the marker.
        at: where the marker begins.
        end: behind its parameters; of a scan, behind its entropy-coded data.
        entropy: where the entropy-coded data of a scan begins, `end` for others.

    """

    marker: int
    at: int
    end: int
    entropy: int


def is_jpeg(data: bytes | memoryview) -> bool:
    """Return whether data begins as a JPEG does."""
    return bytes(data[:2]) == b'\xff\xd8'


def read_header(data: bytes | memoryview) -> JpegHeader:
    """
    Read size and kind of a JPEG from its frame header.

    Raises:
        JpegError: there is none, or it is of a kind that is not accepted.

    """
    for segment in segments(data, whole=False):
        if segment.marker in _READ or segment.marker in _NOT_READ:
            return _frame_header(data, segment)
        if segment.marker in (SOS, EOI):
            break
    msg = f'JPEG of {len(data)} bytes has no frame header: it holds no picture'
    raise JpegError(msg)


def segments(data: bytes | memoryview, *, whole: bool = True) -> Iterator[Segment]:
    """
    Yield the segments of a JPEG up to its end marker, each scan with its entropy-coded data.

    Bytes between segments that belong to none are skipped, as decoders do.

    Args:
        data: bytes, or a buffer of them; what follows the end marker is ignored.
        whole: False ends with the header of the first scan.

    Raises:
        JpegError: the data is no JPEG, ends before the end marker, or another picture begins.

    """
    if not is_jpeg(data):
        msg = f'data of {len(data)} bytes does not begin as a JPEG'
        raise JpegError(msg)
    at = 2
    while bytes(data[at : at + 2]) == b'\xff\xd8':  # some cameras write it twice
        at += 2
    while True:
        at = _next_marker(data, at)
        marker = data[at + 1]
        if marker == SOI:
            msg = 'JPEG has no end marker before another picture begins: a part of it is missing'
            raise JpegError(msg)
        if marker in (EOI, _TEM):
            yield Segment(marker, at, at + 2, at + 2)
            if marker == EOI:
                return
            at += 2
            continue
        parameters_end = _parameters_end(data, at)
        end = parameters_end
        if marker == SOS and whole:
            end = _next_marker(data, end)
        yield Segment(marker, at, end, parameters_end)
        if marker == SOS and not whole:
            return
        at = end


def _frame_header(data: bytes | memoryview, segment: Segment) -> JpegHeader:
    if kind := _NOT_READ.get(segment.marker):
        msg = f'JPEG is {kind} (frame marker 0x{segment.marker:02x}): save it as baseline'
        raise JpegError(msg)
    body = bytes(data[segment.at + 4 : segment.end])
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        msg = f'JPEG frame header is damaged: {len(body)} bytes'
        raise JpegError(msg)
    precision, count = body[0], body[5]
    height, width = int.from_bytes(body[1:3], 'big'), int.from_bytes(body[3:5], 'big')
    if precision != 8:
        msg = f'JPEG has {precision} bits per sample, only 8 are read: convert it to 8 bits'
        raise JpegError(msg)
    if not height or not width:
        msg = f'JPEG is {width}x{height} px: both sides must be at least 1'
        raise JpegError(msg)
    factors = [body[6 + 3 * index : 8 + 3 * index] for index in range(count)]
    components = tuple(Component(each[0], each[1] >> 4, each[1] & 15) for each in factors)
    if count not in (1, 3, 4) or any(
        not 1 <= factor <= 4 for each in components for factor in each[1:]
    ):
        msg = f'JPEG frame header is damaged: components {[tuple(each) for each in components]}'
        raise JpegError(msg)
    return JpegHeader(height, width, precision, segment.marker, components)


def _parameters_end(data: bytes | memoryview, at: int) -> int:
    length = int.from_bytes(data[at + 2 : at + 4], 'big')
    end = at + 2 + length
    if at + 4 > len(data) or end > len(data):
        raise _truncated(data)
    if length < 2:
        msg = f'JPEG segment 0x{data[at + 1]:02x} at byte {at} is damaged: length {length}'
        raise JpegError(msg)
    return end


def _next_marker(data: bytes | memoryview, start: int) -> int:
    """Return where the next marker is that is neither a stuffed FF nor a restart in a scan."""
    near = bytes(data[start : start + 2])
    if len(near) == 2 and near[0] == 0xFF and _MARKERS[near[1]]:
        return start
    array = np.frombuffer(data, np.uint8)
    for begin in range(start, len(array) - 1, _BLOCK):
        block = array[begin : begin + _BLOCK + 1]
        found = np.flatnonzero(block[:-1] == 0xFF)
        codes = block[1:][found]
        hits = found[_MARKERS[codes]]
        if hits.size:
            return begin + int(hits[0])
    raise _truncated(data)


def _truncated(data: bytes | memoryview) -> JpegError:
    filled = filling(data)
    if filled < _MIN_FILLING:
        return JpegError(f'JPEG of {len(data)} bytes is truncated: its end marker is missing')
    return JpegError(
        f'JPEG of {len(data) - filled} bytes is padded to {len(data)}, and its end marker is '
        'missing: it did not fit into its buffer or was cut, or its writer leaves the marker out'
    )


def filling(data: bytes | memoryview) -> int:
    """Return how many equal bytes, 00 or FF, end the data: what buffers are filled up with."""
    array = np.frombuffer(data, np.uint8)
    if not array.size or array[-1] not in (0x00, 0xFF):
        return 0
    others = np.flatnonzero(array != array[-1])
    return len(array) - (int(others[-1]) + 1 if others.size else 0)


#: SOF0 to SOF15 hold the size, but for the three of them that are other segments.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF, _SCAN = 0xE1, 0xDA


class FileHeader(NamedTuple):
    """
    What the segments before the pixels of a JPEG say, whatever its kind.

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


def read_file_header(file: BinaryIO) -> FileHeader:
    """
    Read the segments before the pixels of an open file (ITU T.81, B.2.2).

    Raises:
        ImageError: None of them is the header of a frame.
    """
    file.seek(2)
    turned, frame = ifd.UPRIGHT, None
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
        if marker == _EXIF and turned == ifd.UPRIGHT and body.startswith(b'Exif\0'):
            turned = ifd.exif_orientation(body)
    bits, height, width, components = frame
    check_pixels('JPEG', height, width)
    return FileHeader(height, width, bits, components, turned)
