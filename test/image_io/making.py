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

"""Picture files of every form, written byte by byte so that their pixels are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
import struct
from typing import Any
import zlib

import cv2
import numpy as np


def picture(seed: int, height: int, width: int, bands: int = 3) -> np.ndarray:
    """Draw soft noise, (height, width, bands) uint8: no two places are alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5).reshape(height, width, bands)


def ids(seed: int, height: int, width: int, classes: int) -> np.ndarray:
    """Draw blocks of class ids, (height, width) uint8."""
    blocks = np.random.default_rng(seed).integers(0, classes, (-(-height // 8), -(-width // 8)))
    return blocks.astype(np.uint8).repeat(8, 0).repeat(8, 1)[:height, :width]


def write(path: Path, array: np.ndarray) -> None:
    """Write an image file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array), path


def exif(orientation: int, order: str = '>') -> bytes:
    """Return EXIF data with an orientation."""
    mark = b'MM' if order == '>' else b'II'
    head = mark + struct.pack(f'{order}HIH', 42, 8, 1)
    return head + struct.pack(f'{order}HHIHHI', 274, 3, 1, orientation, 0, 0)


# PNG


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a part of a PNG."""
    check = struct.pack('>I', zlib.crc32(name + body))
    return struct.pack('>I', len(body)) + name + body + check


def pack(samples: np.ndarray, bits: int) -> bytes:
    """Return rows of samples (h, n) as big-endian bits, each row ends with a byte."""
    if bits == 8:
        return samples.astype(np.uint8).tobytes()
    if bits == 16:
        return samples.astype('>u2').tobytes()
    places = samples[..., np.newaxis] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(places.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def png(
    samples: np.ndarray,
    color: int,
    bits: int = 8,
    *,
    interlaced: bool = False,
    before: bytes = b'',
    after: bytes = b'',
    pixels: Callable[[bytes], bytes] = zlib.compress,
) -> bytes:
    """
    Return a PNG.

    Args:
        samples: (H, W, n).
        color: Type of colour.
        bits: Of a sample.
        interlaced: By Adam7.
        before: Parts before the pixels.
        after: Parts after the pixels.
        pixels: Compresses.
    """
    height, width, _ = samples.shape
    steps = [(0, 0, 1, 1)]
    if interlaced:
        steps = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
    raw = b''
    for left, top, across, down in steps:
        part = samples[top::down, left::across]
        if part.size:
            rows = part.reshape(len(part), -1)
            data = pack(rows, bits)
            each = len(data) // len(part)
            raw += b''.join(b'\0' + data[i : i + each] for i in range(0, len(data), each))
    header = struct.pack('>IIBBBBB', width, height, bits, color, 0, 0, interlaced)
    body = chunk(b'IHDR', header) + before + chunk(b'IDAT', pixels(raw)) + after
    return b'\x89PNG\r\n\x1a\n' + body + chunk(b'IEND', b'')


# JPEG


def jpeg(bgr: np.ndarray, *options: int, segment: bytes = b'') -> bytes:
    """Return a JPEG, with a segment after its start."""
    data = cv2.imencode('.jpg', bgr, list(options))[1].tobytes()
    return data[:2] + segment + data[2:]


def app(number: int, body: bytes) -> bytes:
    """Return an APP segment of a JPEG."""
    return bytes((0xFF, 0xE0 + number)) + struct.pack('>H', len(body) + 2) + body


def split_tables(data: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG's tables as a stream of their own, and the stream without them."""
    place, tables, rest = 2, b'', b''
    while data[place + 1] != 0xDA:
        length = 2 + int.from_bytes(data[place + 2 : place + 4], 'big')
        part = data[place : place + length]
        if data[place + 1] in (0xDB, 0xC4):
            tables += part
        elif data[place + 1] != 0xE0:
            rest += part
        place += length
    return b'\xff\xd8' + tables + b'\xff\xd9', b'\xff\xd8' + rest + data[place:]


# WebP


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP of parts."""
    body = b''.join(
        name + struct.pack('<I', len(data)) + data + b'\0' * (len(data) % 2)
        for name, data in chunks
    )
    return b'RIFF' + struct.pack('<I', len(body) + 4) + b'WEBP' + body


def canvas(height: int, width: int, flags: int) -> tuple[bytes, bytes]:
    """Return the part of a WebP that tells of others."""
    sides = b''.join((side - 1).to_bytes(3, 'little') for side in (width, height))
    return b'VP8X', bytes((flags, 0, 0, 0)) + sides


# BMP


def bmp(
    rows: bytes,
    height: int,
    width: int,
    bits: int,
    *,
    palette: bytes = b'',
    compression: int = 0,
    masks: bytes = b'',
    core: bool = False,
) -> bytes:
    """Return a BMP of rows as they lie in the file; a negative height is top-down."""
    if core:
        head = struct.pack('<IHHHH', 12, width, height, 1, bits)
    else:
        colors = len(palette) // 4
        head = struct.pack(
            '<IiiHHIIiiII', 40, width, height, 1, bits, compression, len(rows), 0, 0, colors, 0
        )
    start = 14 + len(head) + len(masks) + len(palette)
    return (
        b'BM'
        + struct.pack('<IHHI', start + len(rows), 0, 0, start)
        + head
        + masks
        + palette
        + rows
    )


def padded(rows: np.ndarray) -> bytes:
    """Return rows of bytes (h, n), each filled up to a multiple of four."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()


# TIFF


def pack_bits(data: bytes) -> bytes:
    """Compress by PackBits: a run where four bytes are equal, else single ones."""
    out, place = b'', 0
    while place < len(data):
        if data[place : place + 4] == data[place : place + 1] * 4:
            out += bytes((253,)) + data[place : place + 1]
            place += 4
        else:
            out += b'\0' + data[place : place + 1]
            place += 1
    return out


def lzw(data: bytes) -> bytes:
    """Compress by LZW as in TIFF."""
    codes, width, table, word = [(256, 9)], 9, {}, b''

    def code_of(word: bytes) -> int:
        return word[0] if len(word) == 1 else table[word]

    for value in data:
        longer = word + bytes((value,))
        if len(longer) == 1 or longer in table:
            word = longer
            continue
        codes.append((code_of(word), width))
        table[longer] = 258 + len(table)
        word = longer[-1:]
        if 258 + len(table) == 4094:
            codes.append((256, width))
            table, width = {}, 9
        elif 258 + len(table) > (1 << width) - 1:
            width += 1
    if word:
        codes.append((code_of(word), width))
        if 258 + len(table) + 1 > (1 << width) - 1:
            width += 1
    codes.append((257, width))
    text = ''.join(f'{code:0{bits}b}' for code, bits in codes)
    text += '0' * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, 'big')


_COMPRESS: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    5: lzw,
    8: zlib.compress,
    32946: zlib.compress,
    32773: pack_bits,
}


def page(
    samples: np.ndarray,
    photometric: int,
    *,
    order: str = '<',
    bits: int | None = None,
    compression: int = 1,
    predictor: int = 1,
    planar: bool = False,
    tile: tuple[int, int] | None = None,
    rows: int | None = None,
    compress: Callable[[Any], bytes] | None = None,
    left_out: Sequence[int] = (),
    reversed_bits: bool = False,
    tags: dict[int, tuple[int, Sequence[int]]] | None = None,
) -> tuple[dict[int, tuple[int, Sequence[int]]], list[bytes]]:
    """
    Return tags and strips or tiles of a page of a TIFF.

    Args:
        samples: (H, W, n) of any type.
        photometric: What they mean.
        order: Of bytes.
        bits: Of a sample, where it is not that of the type.
        compression: Number of the method.
        predictor: 2 stores differences.
        planar: Every band for itself.
        tile: Rows and columns of a tile.
        rows: Rows of a strip.
        compress: Of a strip or tile of samples, in place of a method that is known here.
        left_out: Numbers of strips or tiles that are not stored.
        reversed_bits: The first pixel is in the lowest bit.
        tags: More of them: type and values.
    """
    height, width, count = samples.shape
    bits = bits or samples.dtype.itemsize * 8
    rows = rows or height
    down, across = tile or (rows, width)
    pieces: list[bytes] = []
    for band in range(count) if planar else (slice(None),):
        plane = samples[..., band].reshape(height, width, -1)
        for top in range(0, height, down):
            for left in range(0, width, across):
                part = plane[top : top + down, left : left + across]
                if tile:
                    spare = (0, down - part.shape[0]), (0, across - part.shape[1]), (0, 0)
                    part = np.pad(part, spare, mode='edge')
                if compress:
                    pieces.append(compress(part))
                    continue
                if predictor == 2:
                    part = np.diff(part, axis=1, prepend=np.zeros_like(part[:, :1]))
                if bits < 8:
                    data = pack(part.reshape(len(part), -1), bits)
                else:
                    data = part.astype(part.dtype.newbyteorder(order)).tobytes()
                if reversed_bits:
                    data = bytes(int(f'{value:08b}'[::-1], 2) for value in data)
                pieces.append(_COMPRESS[compression](data))
    pieces = [b'' if index in left_out else piece for index, piece in enumerate(pieces)]
    made = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * count),
        259: (3, [compression]),
        262: (3, [photometric]),
        277: (3, [count]),
        284: (3, [2 if planar else 1]),
    }
    made |= {322: (4, [across]), 323: (4, [down])} if tile else {278: (4, [rows])}
    if predictor != 1:
        made[317] = 3, [predictor]
    if reversed_bits:
        made[266] = 3, [2]
    return made | (tags or {}), pieces


def tiff(*pages: tuple[dict, list[bytes]], order: str = '<', big: bool = False) -> bytes:
    """Return a TIFF, classic or big."""
    forms = {1: 'B', 2: 'B', 3: 'H', 4: 'I', 7: 'B', 11: 'f', 12: 'd', 16: 'Q'}
    word, entry_form, count_form, size = ('Q', 'HHQ', 'Q', 8) if big else ('I', 'HHI', 'H', 4)
    mark = b'II' if order == '<' else b'MM'
    data = mark + (struct.pack(f'{order}HHH', 43, 8, 0) if big else struct.pack(f'{order}H', 42))
    link = len(data)
    data += bytes(size)
    for tags, pieces in pages:
        offsets = []
        for piece in pieces:
            offsets.append(len(data) if piece else 0)
            data += piece
        places = (324, 325) if 322 in tags else (273, 279)
        counts = [len(piece) for piece in pieces]
        # Where they are given, they are a lie that a test is about.
        tags = {places[0]: (16 if big else 4, offsets), places[1]: (4, counts), **tags}
        bodies = {}
        for tag, (kind, values) in tags.items():
            body = struct.pack(f'{order}{len(values)}{forms[kind]}', *values)
            if len(body) > size:
                data += b'\0' * (len(data) % 2)
                at = len(data)
                data += body
                body = struct.pack(order + word, at)
            bodies[tag] = body.ljust(size, b'\0')
        data += b'\0' * (len(data) % 2)
        start = len(data)
        data = data[:link] + struct.pack(order + word, start) + data[link + size :]
        data += struct.pack(order + count_form, len(tags))
        for tag in sorted(tags):
            kind, values = tags[tag]
            data += struct.pack(order + entry_form, tag, kind, len(values)) + bodies[tag]
        link = len(data)
        data += bytes(size)
    return data
