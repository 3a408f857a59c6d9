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

"""Which points the camera sees: in front of it, inside the image, and not hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.transform import Transform

BLOCK = 1 << 14
"""Points that are projected at once: their coordinates and all steps between fit in a cache."""


class Seen(NamedTuple):
    """
    Points that fall into the image.

    Attributes:
        indices: (M,) int64, which of the points; ascending.
        column: (M,) int32, px.
        row: (M,) int32, px.
        nearness: (M,) float32, as in `Projection`.

    """

    indices: np.ndarray
    column: np.ndarray
    row: np.ndarray
    nearness: np.ndarray

    def take(self, chosen: np.ndarray) -> Seen:
        """Return some of the points, by a (M,) bool mask."""
        return Seen(*(values[chosen] for values in self))


def find_seen(points: np.ndarray, camera: Camera, pose: Transform) -> Seen:
    """
    Return the points that fall into the image, hidden or not.

    Args:
        points: (N, 3) float32 or float64, m; any of them may be NaN.
        camera: of the image.
        pose: from the points' frame to the camera's optical frame.

    """
    blocks = [
        _find_in_block(points[start : start + BLOCK], start, camera, pose)
        for start in range(0, max(len(points), 1), BLOCK)
    ]
    return Seen(*map(np.concatenate, zip(*blocks, strict=True)))


def _find_in_block(points: np.ndarray, start: int, camera: Camera, pose: Transform) -> Seen:
    with np.errstate(invalid='ignore', over='ignore'):
        projected = camera.project(pose.apply(points))
        column, row = projected.column + 0.5, projected.row + 0.5
        # Comparisons with NaN are false.
        inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    index = np.flatnonzero(inside)
    return Seen(
        index + start,
        column[index].astype(np.int32),
        row[index].astype(np.int32),
        projected.nearness[index],
    )


@dataclass(frozen=True)
class ZBuffer:
    """
    Finds points behind others on a grid coarser than the image, as a LiDAR is coarser too.

    In a cell every point is hidden that lies farther than the nearest one by more than a
    tolerance and the slope of the surface. Nearness (1 / z) is what is compared: over the image
    it is linear on a plane, so the slope is the difference between neighbouring cells. Of the two
    differences along an axis the smaller one counts, none where they disagree in sign (the minmod
    limiter of numerics): a road that runs away has a slope, the edge of a pole has none.

    Attributes:
        columns: square cells across the image, each a little larger than what lies between two
            beams. With a lens of 77 degrees 120 fit beams 0.6 degrees apart, as 64 of them are,
            and 60 fit 32 beams; more let hidden points through, fewer hide too much.
        tolerance: share of its distance that a point may lie behind the nearest one.

    """

    columns: int = 120
    tolerance: float = 0.05

    def find_visible(self, seen: Seen, height: int, width: int) -> np.ndarray:
        """
        Return which points nothing hides.

        Args:
            seen: points inside an image of height x width px.
            height: of the image, px.
            width: of the image, px.

        Returns:
            (M,) bool.

        """
        side = max(1, round(width / self.columns))  # px
        columns, rows = -(-width // side), -(-height // side)
        cells = (seen.row // side) * np.int32(columns) + seen.column // side
        nearest = _largest_of_cells(cells, seen.nearness, rows * columns)
        slope = _slope(nearest.reshape(rows, columns)).reshape(-1)
        farthest = (nearest - slope) / np.float32(1.0 + self.tolerance)
        return seen.nearness >= farthest.take(cells)


def _largest_of_cells(cells: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return the largest of the positive values of each of `count` cells, 0 in empty ones."""
    # NumPy sorts 16 bits by radix. np.maximum.at is faster since 1.25, but was much slower before:
    # a million points take 20 ms this way, and 1.4 or 50 ms that way.
    order = np.argsort(cells.astype(np.uint16 if count <= 1 << 16 else np.int32), kind='stable')
    members = np.bincount(cells, minlength=count)
    occupied = members > 0
    starts = np.cumsum(members) - members
    largest = np.zeros(count, np.float32)
    largest[occupied] = np.maximum.reduceat(values[order], starts[occupied])
    return largest


def _slope(grid: np.ndarray) -> np.ndarray:
    """Return how much a surface's nearness changes over each cell, along both axes together."""
    return _minmod(grid) + _minmod(grid.T).T


def _minmod(grid: np.ndarray) -> np.ndarray:
    """Return the smaller of the differences to the cells left and right, 0 if they disagree."""
    padded = np.pad(grid, ((0, 0), (1, 1)))
    # An empty cell says nothing about the surface.
    steps = np.where((padded[:, 1:] > 0) & (padded[:, :-1] > 0), np.diff(padded), 0)
    left, right = steps[:, :-1], steps[:, 1:]
    smaller = np.minimum(np.abs(left), np.abs(right))
    return np.where(left * right > 0, smaller, 0)
