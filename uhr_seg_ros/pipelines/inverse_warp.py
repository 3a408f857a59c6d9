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
From the points of a sampling grid back to the pixels of a frame.

A pixel that a point was sampled at has the values of this point, any other one those of the
nearest such pixel: what `networks/deformation/inverse.py` does, but fast. Distances are those of
chamfer steps at first, which are wrong by up to 2 %; where this matters, between two classes, they
are compared exactly. Of points equally near another one may be chosen.

Source: Jin et al., "Learning to Downsample for Segmentation of Ultra-High Resolution Images",
ICLR 2022, as released.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil, hypot

import cv2
import numpy as np

#: Longest side of the mask in which it is looked up what pixels are filled from, px; as released.
RIM_SIDE = 512
#: Rows that a thread fills at a time.
BAND_ROWS = 1080
#: What it takes per px of a frame that is one band, bytes: whether there is a point, the distance
#: to the nearest one and which it is, and its values.
POINT_MAP_BYTES = 24


class PointMap:
    """
    Which point of a grid each pixel of a frame gets its values from.

    Args:
        grid: (h, w, 2) float32 sampling grid, x first, in -1..1 over the frame.
        size: height and width of the frame, px.
        threads: that fill pixels.

    """

    def __init__(self, grid: np.ndarray, size: tuple[int, int], threads: int) -> None:
        self._size, self._threads = size, threads
        spans = np.array([size[1] - 1, size[0] - 1], np.float32)
        pixels = ((grid.reshape(-1, 2) + 1) / 2 * spans).astype(np.int32)
        self._columns, self._rows = pixels.T
        self._margin = _widest_gap(pixels.reshape(grid.shape), size)
        # Zero where a pixel is that others are filled from.
        self._empty = np.ones(size, np.uint8)
        self._empty[self._rows, self._columns] = 0
        beside = _beside_missing(self._empty, self._rows, self._columns)
        self._sources = np.flatnonzero(beside) if beside.any() else np.arange(len(beside))
        if len(self._sources) < len(beside):
            self._empty[self._rows[~beside], self._columns[~beside]] = 1

    def fill(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """
        Fill maps of the frame from values of the points.

        Args:
            pairs: values (n,) of all n = h w points in row-major order, and the map (H, W) of
                the same type that they fill; the values of the first pair are those between
                which borders matter.

        """
        tops = range(0, self._size[0], BAND_ROWS)
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(partial(self._fill, pairs), tops))
        for values, whole in pairs:
            whole[self._rows, self._columns] = values  # of colliding points, the last one

    def _fill(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], top: int) -> None:
        """Fill a band of rows."""
        rows = slice(top, min(top + BAND_ROWS, self._size[0]))
        labels, points = self._nearest(rows)
        places = self._rows[points] - top, self._columns[points]
        settle(labels, pairs[0][0][points], places)
        for values, whole in pairs:
            values[points].take(labels, out=whole[rows], mode='clip')

    def _nearest(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of a band (rows, W), and which point each label stands for."""
        height, margin = self._size[0], self._margin
        while True:
            first, end = max(rows.start - margin, 0), min(rows.stop + margin, height)
            found = self._labeled(first, end)
            if found is not None:
                distances, labels, points = found
                kept = slice(rows.start - first, rows.stop - first)
                seen = _rows_to_cuts(rows, first, end, height)
                if (distances[kept].max(1) <= seen).all():
                    return labels[kept], points
            margin *= 2

    def _labeled(self, first: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return distance and label of the nearest point in some rows, None without a point."""
        sources = self._sources
        inside = sources[(self._rows[sources] >= first) & (self._rows[sources] < end)]
        if not inside.size:
            return None
        distances, labels = cv2.distanceTransformWithLabels(
            self._empty[first:end],
            cv2.DIST_L2,
            cv2.DIST_MASK_5,
            labelType=cv2.DIST_LABEL_PIXEL,
        )
        points = np.zeros(len(inside) + 1, np.intp)
        points[labels[self._rows[inside] - first, self._columns[inside]]] = inside
        return distances, labels, points


def _widest_gap(points: np.ndarray, size: tuple[int, int]) -> int:
    """
    Estimate how far a pixel may be from the nearest point, px.

    Args:
        points: (h, w, 2) columns and rows.
        size: height and width of the frame.

    """
    across, down = (np.abs(np.diff(points, axis=axis)).max(initial=0) for axis in (1, 0))
    first = points[0, :, 1].max(), points[:, 0, 0].max()
    last = size[0] - 1 - points[-1, :, 1].min(), size[1] - 1 - points[:, -1, 0].min()
    return ceil(max(hypot(across, down) / 2, *first, *last)) + 1


def settle(labels: np.ndarray, values: np.ndarray, places: tuple[np.ndarray, np.ndarray]) -> None:
    """
    Let pixels at borders between values take the neighbor's point where it is the nearer one.

    Args:
        labels: (H, W) int32, the point of every pixel; changed in place.
        values: (n,) of the points.
        places: rows and columns (n,) of the points, px.

    """
    width = labels.shape[1]
    flat = labels.reshape(-1)
    shown = values.take(flat)
    for step in (1, width):  # from the end of a row to the next one does no harm
        before = np.flatnonzero(shown[step:] != shown[:-step])
        after = before + step
        one, other = flat[before], flat[after]
        moved = _squares(before, other, places, width) < _squares(before, one, places, width)
        flat[before[moved]] = other[moved]
        moved = _squares(after, one, places, width) < _squares(after, other, places, width)
        flat[after[moved]] = one[moved]


def _squares(
    pixels: np.ndarray, labels: np.ndarray, places: tuple[np.ndarray, np.ndarray], width: int
) -> np.ndarray:
    """Return the squared distances from pixels, counted along rows, to points."""
    rows, columns = np.divmod(pixels, width)
    return (places[0][labels] - rows) ** 2 + (places[1][labels] - columns) ** 2


def at_points(values: np.ndarray) -> np.ndarray:
    """
    Return what the points of a grid have of a map of the warped image.

    As published, a point stands for a place half a row and half a column before its center, and
    there are zeros before the first ones.

    Args:
        values: (C, h, w) float32.

    Returns:
        (C, h, w) float32.

    """
    padded = np.pad(values, ((0, 0), (1, 0), (1, 0)))
    pairs = padded[:, 1:] + padded[:, :-1]
    return (pairs[..., 1:] + pairs[..., :-1]) / 4


def _beside_missing(empty: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """
    Return which points have a pixel without one above or below them.

    As released this is looked up in a mask that is reduced by leaving out rows and columns.
    """
    side = max(*empty.shape, RIM_SIDE)
    height, width = (max(length * RIM_SIDE // side, 1) for length in empty.shape)
    picked_rows = np.arange(height) * empty.shape[0] // height
    picked_columns = np.arange(width) * empty.shape[1] // width
    small = np.pad(empty[np.ix_(picked_rows, picked_columns)], [(1, 1), (0, 0)])
    small = small[1:-1] | small[:-2] | small[2:]
    return small[rows * height // empty.shape[0], columns * width // empty.shape[1]] > 0


def _rows_to_cuts(rows: slice, first: int, end: int, height: int) -> np.ndarray:
    """Return how far the rows of a band are from where the frame was cut for it, px."""
    places = np.arange(rows.start, rows.stop)
    above = places - first if first else np.full(len(places), np.inf)
    below = end - 1 - places if end < height else np.full(len(places), np.inf)
    return np.minimum(above, below)
