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

"""PNG files: chunks are checked here, so that half a picture is never a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import struct
import zlib

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import opencv
from uhr_seg_ros.image_io.limits import check_memory, check_pixels

SIGNATURE = b'\x89PNG\r\n\x1a\n'

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
_SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_DEPTHS = {
    GRAY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GRAY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
#: Offset and distance of the pixels of Adam7's passes: column, row, columns, rows.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
#: Deflate gives at most so many bytes for one.
_RATIO = 1032
#: OpenCV decodes so many px in one go, those of larger pictures in strips of so many.
AT_ONCE, STRIP = 1 << 28, 1 << 24


@dataclass(frozen=True)
class Png:
    """
    A PNG file whose chunks are whole.

    Attributes:
        height: In px.
        width: In px.
        bits: Of a sample: 1, 2, 4, 8 or 16.
        color: Type of colour, as in the header.
        interlaced: By Adam7.
        palette: (n, 3) uint8 RGB; None without.
        has_alpha: A channel or a table of transparency is there.
        parts: The compressed pixels.
    """

    height: int
    width: int
    bits: int
    color: int
    interlaced: bool
    palette: np.ndarray | None
    has_alpha: bool
    parts: Sequence[memoryview]

    def read(self) -> np.ndarray:
        """
        Decode the samples; alpha is left out and never multiplied in.

        Returns:
            (H, W, 3) BGR, or (H, W) of grey values or indices as they are stored (a grey value
            of 1, 2 or 4 bits is 0 or 1, 0 to 3, 0 to 15); uint8, or uint16 for 16 bits.

        Raises:
            ImageError: Pixels are missing or damaged, or do not fit into memory.
        """
        self._check_pixels()
        if self.height * self.width > AT_ONCE and not self.interlaced:
            return self._read_strips()
        return self._decode(self.height, self.parts)

    def _read_strips(self) -> np.ndarray:
        """
        Decode a few rows after the other, each strip as a picture of its own.

        OpenCV has a limit of its own, which can be set only before it is imported.
        """
        rows = max(STRIP // self.width, 1)
        row_bytes = (self.width * self.bits * self.samples + 7) // 8
        stream = _Inflated(self.parts)
        image = np.empty(0, np.uint8)
        for top in range(0, self.height, rows):
            count = min(rows, self.height - top)
            stored = stream.take(count * (1 + row_bytes))
            # Rows are stored as differences to the one above, which is put on top, unfiltered.
            above = b'\0' + self._packed(image[top - 1], row_bytes) if top else b''
            part = self._decode(
                count + bool(above), [memoryview(zlib.compress(above + stored, 0))]
            )
            if not top:
                image = np.empty((self.height, *part.shape[1:]), part.dtype)
            image[top : top + count] = part[len(part) - count :]
        return image

    def _packed(self, row: np.ndarray, row_bytes: int) -> bytes:
        """Return a decoded row as PNG stores it; alpha is 0, and no other sample rests on it."""
        if self.bits < 8:
            each = 8 // self.bits
            values = np.zeros(row_bytes * each, np.uint8)
            values[: self.width] = row
            shifts = np.arange(8 - self.bits, -1, -self.bits, dtype=np.uint8)
            return np.bitwise_or.reduce(values.reshape(-1, each) << shifts, axis=1).tobytes()
        samples = np.zeros((self.width, self.samples), '>u2' if self.bits == 16 else np.uint8)
        colors = 1 if row.ndim == 1 else 3
        samples[:, :colors] = row.reshape(self.width, colors)[:, ::-1]
        return samples.tobytes()

    def _decode(self, height: int, parts: Sequence[memoryview]) -> np.ndarray:
        # Without palette and transparency, no version of OpenCV has anything to choose.
        color = GRAY if self.color == PALETTE else self.color
        gray = color in (GRAY, GRAY_ALPHA)
        flags = (cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR) | cv2.IMREAD_ANYDEPTH
        header = struct.pack(
            '>IIBBBBB', self.width, height, self.bits, color, 0, 0, self.interlaced
        )
        chunks: list[tuple[bytes, bytes | memoryview]] = [
            (b'IHDR', header),
            *((b'IDAT', part) for part in parts),
            (b'IEND', b''),
        ]
        pieces = (piece for name, body in chunks for piece in _chunk(name, body))
        data = b''.join((SIGNATURE, *pieces))
        image = opencv.decode(data, flags, 'PNG')
        if self.bits < 8:
            # OpenCV spreads the values over 0 to 255.
            image = cv2.LUT(image, _contraction(self.bits))
        return image

    @property
    def samples(self) -> int:
        """Samples of a pixel, with alpha."""
        return _SAMPLES[self.color]

    def colors(self, indices: np.ndarray) -> np.ndarray:
        """
        Look the indices up in the palette; (H, W, 3) uint8 BGR.

        Raises:
            ImageError: There are less colours.
        """
        palette = np.zeros((0, 3), np.uint8) if self.palette is None else self.palette
        if indices.max() >= len(palette):
            msg = f'PNG is damaged: it holds index {indices.max()} of {len(palette)} colours'
            raise ImageError(msg)
        return np.ascontiguousarray(palette[:, ::-1])[indices]

    def _check_pixels(self) -> None:
        """Refuse what cannot be whole; libpng refuses pixels that end before the last row."""
        needed = self._inflated()
        stored = sum(map(len, self.parts))
        if stored * _RATIO < needed:
            msg = (
                f'PNG of {self.width} x {self.height} px is cut short: {stored} compressed '
                f'bytes cannot hold {needed}'
            )
            raise ImageError(msg)
        # Grey and indices become three channels.
        samples = 4 if self.color in (GRAY, PALETTE, GRAY_ALPHA) else 3
        pixels = self.height * self.width * samples * (2 if self.bits == 16 else 1)
        check_memory('PNG', self.height, self.width, pixels + stored)

    def _inflated(self) -> int:
        bits = self.bits * self.samples
        if not self.interlaced:
            return self.height * (1 + (self.width * bits + 7) // 8)
        total = 0
        for left, top, columns, rows in _PASSES:
            width = -(-max(self.width - left, 0) // columns)
            height = -(-max(self.height - top, 0) // rows)
            total += height * (1 + (width * bits + 7) // 8) if width else 0
        return total


class _Inflated:
    """The compressed pixels of a PNG, decompressed as far as they are taken."""

    def __init__(self, parts: Sequence[memoryview]) -> None:
        self._parts = iter(parts)
        self._stream = zlib.decompressobj()

    def take(self, count: int) -> bytes:
        """
        Return the next bytes.

        Raises:
            ImageError: There are less, or they are damaged.
        """
        taken = bytearray()
        while len(taken) < count:
            try:
                waiting = self._stream.unconsumed_tail or next(self._parts, b'')
                piece = self._stream.decompress(waiting, count - len(taken))
            except zlib.error as err:
                msg = f'PNG is damaged: {err}'
                raise ImageError(msg) from err
            if not (piece or waiting):
                msg = 'PNG cannot be decoded: pixels are missing'
                raise ImageError(msg)
            taken += piece
        return bytes(taken)


def size(head: bytes) -> tuple[int, int]:
    """
    Read (height, width) from the first 24 bytes.

    Raises:
        ImageError: They are no header.
    """
    if len(head) < 24 or head[12:16] != b'IHDR':
        msg = 'PNG has a damaged header'
        raise ImageError(msg)
    width, height = struct.unpack('>II', head[16:24])
    check_pixels('PNG', height, width)
    return height, width


def parse(data: bytes) -> Png:
    """
    Check the chunks of a file.

    Raises:
        ImageError: The file is cut short or damaged, or its header is none of PNG's.
    """
    header: tuple[int, int, int, int, bool] | None = None
    colors: np.ndarray | None = None
    parts, transparent = [], False
    for name, body in _chunks(data):
        if header is None and name != b'IHDR':
            msg = 'PNG has no header'
            raise ImageError(msg)
        if name == b'IHDR':
            header = _header(body)
        elif name == b'PLTE':
            colors = np.frombuffer(body, np.uint8)
        elif name == b'IDAT':
            parts.append(body)
        elif name == b'tRNS':
            transparent = True
        elif name == b'acTL':
            msg = 'PNG is animated: save the picture that is meant as a plain one'
            raise ImageError(msg)
        elif name == b'IEND':
            break
        elif not name[0] & 0x20:
            msg = f'PNG has a part {name!r} that is unknown and needed for reading it'
            raise ImageError(msg)
    else:
        msg = f'PNG is cut short: it ends after {len(data)} bytes, before its end mark'
        raise ImageError(msg)
    if header is None:
        msg = 'PNG has no header'
        raise ImageError(msg)
    height, width, bits, color, interlaced = header
    palette = None
    if color == PALETTE:
        if colors is None or colors.size % 3 or not colors.size:
            msg = 'PNG has a damaged palette'
            raise ImageError(msg)
        palette = colors.reshape(-1, 3)
    alpha = transparent or color in (GRAY_ALPHA, RGBA)
    return Png(height, width, bits, color, interlaced, palette, alpha, parts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, place = memoryview(data), len(SIGNATURE)
    while place + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            return
        (expected,) = struct.unpack_from('>I', data, end)
        # A part that may be left out may also be damaged.
        if not name[0] & 0x20 and zlib.crc32(view[place + 4 : end]) != expected:
            msg = f'PNG is damaged: the check sum of {name!r} at byte {place} is wrong'
            raise ImageError(msg)
        yield name, view[place + 8 : end]
        place = end + 4


def _header(body: memoryview) -> tuple[int, int, int, int, bool]:
    try:
        width, height, bits, color, compression, filtering, interlacing = struct.unpack(
            '>IIBBBBB', body
        )
    except struct.error as err:
        msg = 'PNG has a damaged header'
        raise ImageError(msg) from err
    known = bits in _DEPTHS.get(color, ()) and not compression and not filtering
    if not known or interlacing > 1:
        msg = f'PNG has a damaged header: colour type {color} of {bits} bits'
        raise ImageError(msg)
    check_pixels('PNG', height, width)
    return height, width, bits, color, bool(interlacing)


def _chunk(name: bytes, body: bytes | memoryview) -> tuple[bytes, ...]:
    check = zlib.crc32(body, zlib.crc32(name))
    return struct.pack('>I', len(body)), name, bytes(body), struct.pack('>I', check)


def _contraction(bits: int) -> np.ndarray:
    """Return the table from values that are spread over 0 to 255 to those that are stored."""
    step = 255 // ((1 << bits) - 1)
    return (np.arange(256) // step).astype(np.uint8)
