# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Windows of a page of a TIFF file: only the strips or tiles that a window touches are read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import tiff_segments
from uhr_seg_ros.image_io.limits import check_memory
from uhr_seg_ros.image_io.tiff_page import Page, SIGNED

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


def read(page: Page, window: Window | None, bands: int) -> np.ndarray:
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
        tiff_segments.check_counts(page)
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
                pixels = tiff_segments.read(page, index, wanted)
                size = wanted.stop - wanted.start, columns
                yield (down * rows + first, across * columns, plane), size, pixels
