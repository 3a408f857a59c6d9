# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Strips and tiles of TIFF files as samples: whole, or an error.

zlib undoes deflate. LZW is undone by OpenCV's TIFF reader, of bytes that are handed over as a
picture of their own, so that it has nothing to interpret; JPEG and WebP are pictures of their own
already.
"""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import jpeg_parts, opencv, webp
from uhr_seg_ros.image_io.jpeg_structure import read_header
from uhr_seg_ros.image_io.limits import check_memory
from uhr_seg_ros.image_io.tiff_page import Page, SIGNED, YCBCR

NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACK_BITS, WEBP = 1, 5, 7, 8, 32946, 32773, 50001
COMPRESSIONS = (NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACK_BITS, WEBP)
#: Those that change values.
LOSSY = (JPEG, WEBP)
#: Those of other files, for the text of an error.
NAMES = {
    2: 'CCITT',
    3: 'CCITT group 3',
    4: 'CCITT group 4',
    6: 'old JPEG',
    34712: 'JPEG 2000',
    33003: 'JPEG 2000',
    33005: 'JPEG 2000',
    34887: 'LERC',
    34925: 'LZMA',
    50000: 'Zstandard',
    50002: 'JPEG XL',
    52546: 'JPEG XL',
}

#: At most so many bytes come from one.
_RATIOS = {LZW: 3641, DEFLATE: 1032, OLD_DEFLATE: 1032, PACK_BITS: 64}
#: Most columns that OpenCV reads.
_MAX_COLUMNS = 1 << 20


def read(page: Page, index: int, rows: slice) -> np.ndarray | None:
    """
    Read a strip or tile.

    Args:
        page: Where it is; of a compression in `COMPRESSIONS`.
        index: Its number.
        rows: The rows that are wanted of it.

    Returns:
        (rows, segment_width, bands) of the stored samples: uint8 for up to 8 bits, else the
        stored type; a decoded JPEG or WebP is RGB or grey, and may be larger. None where a
        sparse file leaves it out.

    Raises:
        ImageError: It is cut short or damaged.
    """
    offset, count = (int(values[index]) for values in page.places)
    if not offset or not count:
        return None
    size = page.directory.size
    height = _rows(page, index)
    rows = slice(rows.start, min(rows.stop, height))
    if page.compression == NONE:
        needed = height * page.row_bytes
        if needed > count:
            raise _short(index, count, needed)
        _check_inside(index, offset, needed, size)
        # Of one long strip only the rows that are wanted.
        offset += rows.start * page.row_bytes
        return _samples(page, _stored(page, offset, (rows.stop - rows.start) * page.row_bytes))
    _check_inside(index, offset, count, size)
    stored = _stored(page, offset, count)
    if page.compression in LOSSY:
        return _picture(page, stored, index, height)[rows]
    needed = height * page.row_bytes
    if needed > count * _RATIOS[page.compression]:
        raise _short(index, count * _RATIOS[page.compression], needed)
    check_memory('TIFF', page.height, page.width, 3 * needed)
    if page.compression == LZW:
        data = _undo_lzw(stored, height, page.row_bytes)
    else:
        undo = _unpack_bits if page.compression == PACK_BITS else _inflate
        data = undo(stored, needed, index)
        if len(data) < needed:
            raise _short(index, len(data), needed)
    return _samples(page, data)[rows]


def check_counts(page: Page) -> None:
    """
    Refuse a page of which a strip or tile has too few bytes for its rows; none is read.

    Raises:
        ImageError: It is cut short or damaged.
    """
    ratio = 1 if page.compression == NONE else _RATIOS.get(page.compression)
    if ratio is None:  # a picture of its own, of which the header would have to be read
        return
    for index, (offset, count) in enumerate(zip(*page.places, strict=False)):
        needed = _rows(page, index) * page.row_bytes
        if offset and 0 < count * ratio < needed:
            raise _short(index, int(count) * ratio, needed)


def _rows(page: Page, index: int) -> int:
    """Return the rows that are stored: the last strip ends with the picture."""
    if page.tiled:
        return page.segment_height
    top = index % page.down * page.segment_height
    return min(page.segment_height, page.height - top)


def _check_inside(index: int, offset: int, count: int, size: int) -> None:
    if offset + count > size:
        msg = (
            f'TIFF is cut short or damaged: strip or tile {index} ends at byte '
            f'{offset + count} of {size}'
        )
        raise ImageError(msg)


def _stored(page: Page, offset: int, count: int) -> bytes:
    file = page.directory.file
    file.seek(offset)
    data = file.read(count)
    if len(data) < count:
        msg = f'TIFF is cut short: {len(data)} of {count} bytes are there at byte {offset}'
        raise ImageError(msg)
    if page.directory.number(266, 1) == 2 and page.compression not in LOSSY:
        # The first pixel is in the lowest bit.
        return data.translate(_REVERSED)
    return data


_REVERSED = bytes(int(f'{value:08b}'[::-1], 2) for value in range(256))


def _short(index: int, found: int, needed: int) -> ImageError:
    return ImageError(
        f'TIFF is cut short or damaged: strip or tile {index} holds at most {found} of '
        f'{needed} bytes'
    )


def _inflate(stored: bytes, needed: int, index: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(stored, needed)
    except zlib.error as err:
        msg = f'TIFF is damaged: strip or tile {index}: {err}'
        raise ImageError(msg) from err


def _unpack_bits(stored: bytes, needed: int, _: int) -> bytes:
    out, place = bytearray(), 0
    while place + 1 < len(stored) and len(out) < needed:
        count = stored[place]
        if count < 128:
            out += stored[place + 1 : place + 2 + count]
            place += 2 + count
        elif count > 128:
            out += stored[place + 1 : place + 2] * (257 - count)
            place += 2
        else:
            place += 1
    return bytes(out[:needed])


def _undo_lzw(stored: bytes, rows: int, row_bytes: int) -> np.ndarray:
    """
    Undo LZW.

    OpenCV fills in what is missing of 8 bits and refuses what is missing of 16, so the bytes
    go in as samples of 16 bits.
    """
    total = rows * row_bytes
    if row_bytes % 2 == 0:
        shape = rows, row_bytes // 2
    elif rows % 2 == 0:
        shape = rows // 2, row_bytes
    elif total // 2 <= _MAX_COLUMNS:
        shape = 1, total // 2
    else:
        shape = (rows - 1) // 2, row_bytes
    data = np.empty(0, np.uint8)
    if min(shape):
        pairs = opencv.decode(_as_file(stored, 16, *shape), cv2.IMREAD_UNCHANGED, 'TIFF')
        data = pairs.view(np.uint8).ravel()
    if data.size < total:
        # A pair of bytes is not whole: its half comes from a second reading.
        every = opencv.decode(_as_file(stored, 8, rows, row_bytes), cv2.IMREAD_UNCHANGED, 'TIFF')
        data = np.concatenate((data, every.ravel()[data.size :]))
    return data


def _as_file(stored: bytes, bits: int, rows: int, columns: int) -> bytes:
    """Return a TIFF file of one strip of grey values in the byte order of this machine."""
    order, mark = ('<', b'II') if np.little_endian else ('>', b'MM')
    tags = (
        (256, columns),
        (257, rows),
        (258, bits),
        (259, LZW),
        (262, 1),
        (273, 134),
        (277, 1),
        (278, rows),
        (279, len(stored)),
        (284, 1),
    )
    entries = b''.join(struct.pack(f'{order}HHII', tag, 4, 1, value) for tag, value in tags)
    head = mark + struct.pack(f'{order}HIH', 42, 8, len(tags))
    return head + entries + bytes(4) + stored


def _samples(page: Page, data: np.ndarray | bytes) -> np.ndarray:
    """Return the samples of rows of bytes, (rows, segment_width, bands)."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, page.row_bytes)
    bands, width = page.bands_together, page.segment_width
    if page.bits < 8:
        samples = _unpack(rows, page.bits, width * bands)
    elif page.bits == 8:
        samples = rows
    else:
        letter = 'i' if page.sample_format == SIGNED else 'u'
        stored = np.dtype(f'{page.directory.order}{letter}{page.bits // 8}')
        samples = rows.view(stored).astype(stored.newbyteorder('='))
    samples = samples.reshape(len(rows), width, bands)
    if page.predictor == 2:
        # Differences to the pixel on the left; sums run over as they did.
        return np.add.accumulate(samples, axis=1, dtype=samples.dtype)
    return samples


def _unpack(rows: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Return values of 1, 2 or 4 bits, (rows, count) uint8."""
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    values = rows[..., np.newaxis] >> shifts & np.uint8((1 << bits) - 1)
    return values.reshape(len(rows), -1)[:, :count]


def _picture(page: Page, stored: bytes, index: int, rows: int) -> np.ndarray:
    """Decode a JPEG or WebP to RGB or grey."""
    check_memory('TIFF', page.height, page.width, 4 * rows * page.segment_width)
    if page.compression == WEBP:
        _expect(page, webp.size(stored[: webp.HEAD]), index, rows)
        return webp.read(stored)[0][..., ::-1]
    tables = page.directory.values(347)
    whole = jpeg_parts.join(
        stored, b'' if tables is None else tables.tobytes(), page.photometric == YCBCR
    )
    header = read_header(whole)
    _expect(page, (header.height, header.width), index, rows)
    return jpeg_parts.decode(whole, page.bands_together)


def _expect(page: Page, size: tuple[int, int], index: int, rows: int) -> None:
    """Refuse a picture in a strip or tile that has not its size."""
    if size != (rows, page.segment_width):
        msg = (
            f'TIFF is damaged: strip or tile {index} is a picture of {size[1]} x {size[0]} px, '
            f'expected {page.segment_width} x {rows}'
        )
        raise ImageError(msg)
