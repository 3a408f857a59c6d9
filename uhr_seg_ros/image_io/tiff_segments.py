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
Strips and tiles of TIFF files as samples, whole or an error; and windows made of them.

Only the strips or tiles that a window touches are read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import tiff_codecs, webp
from uhr_seg_ros.image_io.jpeg_structure import read_header
from uhr_seg_ros.image_io.limits import check_memory
from uhr_seg_ros.image_io.tiff_page import Page, SIGNED, YCBCR


def read_segment(page: Page, index: int, rows: slice) -> np.ndarray | None:
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
    if page.compression == tiff_codecs.NONE:
        needed = height * page.row_bytes
        if needed > count:
            raise _short(index, count, needed)
        _check_inside(index, offset, needed, size)
        # Of one long strip only the rows that are wanted.
        offset += rows.start * page.row_bytes
        return _samples(page, _stored(page, offset, (rows.stop - rows.start) * page.row_bytes))
    _check_inside(index, offset, count, size)
    stored = _stored(page, offset, count)
    if page.compression in tiff_codecs.LOSSY:
        return _picture(page, stored, index, height)[rows]
    needed = height * page.row_bytes
    if needed > count * tiff_codecs.MAX_RATIOS[page.compression]:
        raise _short(index, count * tiff_codecs.MAX_RATIOS[page.compression], needed)
    check_memory('TIFF', page.height, page.width, 3 * needed)
    data: np.ndarray | bytes
    if page.compression == tiff_codecs.LZW:
        data = tiff_codecs.undo_lzw(stored, height, page.row_bytes)
    else:
        undo = (
            tiff_codecs.unpack_bits
            if page.compression == tiff_codecs.PACK_BITS
            else tiff_codecs.inflate
        )
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
    ratio = (
        1 if page.compression == tiff_codecs.NONE else tiff_codecs.MAX_RATIOS.get(page.compression)
    )
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
    if page.directory.number(266, 1) == 2 and page.compression not in tiff_codecs.LOSSY:
        # The first pixel is in the lowest bit.
        return data.translate(_REVERSED)
    return data


_REVERSED = bytes(int(f'{value:08b}'[::-1], 2) for value in range(256))


def _short(index: int, found: int, needed: int) -> ImageError:
    return ImageError(
        f'TIFF is cut short or damaged: strip or tile {index} holds at most {found} of '
        f'{needed} bytes'
    )


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
    if page.compression == tiff_codecs.WEBP:
        _expect(page, webp.size(stored[: webp.HEAD]), index, rows)
        return webp.read(stored)[0][..., ::-1]
    tables = page.directory.values(347)
    whole = tiff_codecs.join_jpeg(
        stored, b'' if tables is None else tables.tobytes(), page.photometric == YCBCR
    )
    header = read_header(whole)
    _expect(page, (header.height, header.width), index, rows)
    return tiff_codecs.decode_jpeg_bands(whole, page.bands_together)


def _expect(page: Page, size: tuple[int, int], index: int, rows: int) -> None:
    """Refuse a picture in a strip or tile that has not its size."""
    if size != (rows, page.segment_width):
        msg = (
            f'TIFF is damaged: strip or tile {index} is a picture of {size[1]} x {size[0]} px, '
            f'expected {page.segment_width} x {rows}'
        )
        raise ImageError(msg)


Window = tuple[int, int, int, int]


def check_window(window: Window | None, height: int, width: int) -> None:
    """
    Refuse a window that is not inside a picture, as where a file has changed meanwhile.

    Raises:
        ImageError: It is not.
    """
    top, left, rows, columns = window or (0, 0, height, width)
    inside = min(top, left) >= 0 and top + rows <= height and left + columns <= width
    if not inside or min(rows, columns) < 1:
        msg = (
            f'a window of {columns} x {rows} px at row {top}, column {left} is not inside its '
            f'{width} x {height} px'
        )
        raise ImageError(msg)


def read_window(page: Page, window: Window | None, bands: int) -> np.ndarray:
    """
    Read the first bands of a part.

    Args:
        page: Of a compression and a depth that are read.
        window: Top, left, height and width in px; None for all of the page.
        bands: How many.

    Returns:
        (h, w, bands) of the stored type, the last band first: BGR of RGB.

    Raises:
        ImageError: The window is not inside the page, or the page is damaged or too large.
    """
    top, left, height, width = window or (0, 0, page.height, page.width)
    check_window(window, page.height, page.width)
    each = max(page.bits // 8, 1)
    # Grey becomes three channels.
    needed = height * width * each * (4 if bands == 1 else bands)
    try:
        check_memory('TIFF', page.height, page.width, needed)
    except ImageError:
        # Of a file that lies, memory is not what is wrong.
        check_counts(page)
        raise
    letter = 'i' if page.sample_format == SIGNED else 'u'
    dtype = np.dtype(f'{letter}{each}')
    # Memory that is not written to is not taken: a file that lies is found out before.
    out = np.zeros((height, width, bands), dtype)
    in_order = out[..., ::-1]
    for (y, x, band), (rows, columns), pixels in segments(page, window, bands):
        y0, y1 = max(y, top), min(y + rows, top + height)
        x0, x1 = max(x, left), min(x + columns, left + width)
        place = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        if pixels is not None:
            part = pixels[y0 - y : y1 - y, x0 - x : x1 - x, : bands - band]
            in_order[(*place, slice(band, band + part.shape[2]))] = part
        elif page.fill:
            in_order[(*place, slice(band, band + (1 if page.planar else bands)))] = page.fill
    return out


def segments(
    page: Page, window: Window | None, bands: int
) -> Iterator[tuple[tuple[int, int, int], tuple[int, int], np.ndarray | None]]:
    """
    Read the strips or tiles that a window touches.

    Yields:
        Row, column and band of the first value; rows and columns; and (rows, columns, bands) of
        values, None for those that a sparse file leaves out.
    """
    top, left, height, width = window or (0, 0, page.height, page.width)
    rows, columns = page.segment_height, page.segment_width
    for plane in range(bands if page.planar else 1):
        for down in range(top // rows, (top + height - 1) // rows + 1):
            first = max(top - down * rows, 0)
            wanted = slice(first, min(top + height - down * rows, rows))
            for across in range(left // columns, (left + width - 1) // columns + 1):
                index = (plane * page.down + down) * page.across + across
                pixels = read_segment(page, index, wanted)
                size = wanted.stop - wanted.start, columns
                yield (down * rows + first, across * columns, plane), size, pixels
