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
The arg max of bilinearly upsampled logits, which are interpolated only where that can matter.

The centers of four neighboring px of the logits span a cell of `factor` x `factor` px of the mask,
in which logits are convex combinations of those at the corners. So

* where the corners agree on a class, it is the class of the whole cell;
* where two classes win at the corners, and at none of them another class is above the mean of the
  two, no other one wins in between: the sign of a difference decides;
* in the cells that are left, all classes are interpolated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from uhr_seg_ros.core.classes import mask_dtype

#: Cells at a time: their logits, and their part of the mask, stay in the cache.
BAND_CELLS = 32768
#: Values that are interpolated at a time: three float32 of each stay in the cache of one core.
CHUNK_VALUES = 32768


def upsampled_arg_max(logits: np.ndarray, factor: int, size: tuple[int, int]) -> np.ndarray:
    """
    Upsample logits bilinearly and return the class of the largest, the first of equal ones.

    They are upsampled as by `cv2.resize`, or by torch without `align_corners`: beyond the
    outermost centers they stay what they are there.

    Args:
        logits: (C, h, w) float32, finite.
        factor: px of the mask per px of the logits, along both axes.
        size: height and width of the mask, px, at most `factor` times h and w; what lies beyond,
            such as the padding of a frame, is left out.

    Returns:
        (H, W) uint8, or uint16 above 255 classes.

    """
    upsampler = MaskUpsampler(logits.shape, factor, size)
    upsampler.add(logits)
    return upsampler.mask


class MaskUpsampler:
    """
    The same of logits that come in strips of rows, from top to bottom.

    Args:
        shape: (C, h, w) of all logits.
        factor: as of `upsampled_arg_max`.
        size: as of `upsampled_arg_max`.

    Attributes:
        mask: (H, W); complete when all rows were added.

    """

    def __init__(self, shape: Sequence[int], factor: int, size: tuple[int, int]) -> None:
        self._shape, self._factor = shape, factor
        self.mask = np.empty(size, mask_dtype(shape[0]))
        self._rows = 0
        self._last = np.empty((shape[0], 0, shape[2]), np.float32)

    def add(self, logits: np.ndarray) -> None:
        """Add the next rows of logits, (C, n, w) float32."""
        count = max(BAND_CELLS // logits.shape[2], 1)
        for top in range(0, logits.shape[1], count):
            self._add(logits[:, top : top + count])

    def _add(self, logits: np.ndarray) -> None:
        """Fill the rows of cells that end with these rows of logits, and the last one of all."""
        classes, height, width = self._shape
        first, self._rows = self._rows, self._rows + logits.shape[1]
        # The outermost px count twice, so that there are cells around them.
        above = self._last if first else logits[:, :1]
        below = logits[:, -1:] if self._rows == height else logits[:, :0]
        corners = np.empty((classes, 1 + logits.shape[1] + below.shape[1], width + 2), np.float32)
        np.concatenate((above, logits, below), 1, out=corners[..., 1:-1])
        corners[..., 0], corners[..., -1] = corners[..., 1], corners[..., -2]
        self._last = logits[:, -1:].copy()
        cells = _masks_of_cells(corners, self._factor)
        # The first row and column of cells lie half outside of the mask.
        outside = self._factor - self._factor // 2
        top = first * self._factor - outside
        start, stop = max(top, 0), min(top + len(cells), self.mask.shape[0])
        if start >= stop:  # rows of the padding
            return
        place = slice(outside, outside + self.mask.shape[1])
        self.mask[start:stop] = cells[start - top : stop - top, place]


class RunningArgMax:
    """
    The largest of values that come class by class, and whose it is; the first of equal ones.

    Args:
        values: those of class 0, an array of floats.
        classes: number of classes.

    Attributes:
        best: the largest values so far.
        ids: their classes, uint8, or uint16 above 255 classes.

    """

    def __init__(self, values: np.ndarray, classes: int) -> None:
        self.best = values.copy()
        self.ids = np.zeros(values.shape, mask_dtype(classes))
        self._above, self._more = np.empty(values.shape, bool), np.empty_like(self.ids)

    def add(self, number: int, values: np.ndarray) -> None:
        """Add the values of a class; their numbers rise."""
        np.greater(values, self.best, out=self._above)
        # The newest id is the largest one: two passes over bytes, faster than to assign by a mask.
        np.multiply(self._above.view(np.uint8), self.ids.dtype.type(number), out=self._more)
        np.maximum(self.ids, self._more, out=self.ids)
        np.maximum(self.best, values, out=self.best)


def _masks_of_cells(corners: np.ndarray, factor: int) -> np.ndarray:
    """
    Return the mask of a band of cells.

    Args:
        corners: (C, rows + 1, columns + 1) float32.
        factor: height and width of a cell, px.

    Returns:
        (factor rows, factor (columns + 1)) uint8 or uint16; the last column of cells means
        nothing, it is there for cells to have the numbers of their upper left corners.

    """
    classes, rows, step = corners.shape[0], corners.shape[1] - 1, corners.shape[2]
    planes = corners.reshape(classes, -1)
    winners, second = _winners(planes)
    around = np.array([[0], [1], [step], [step + 1]])
    one, *others = (winners[start : start + rows * step - 1] for start in around[:, 0])
    mixed = np.flatnonzero((one != others[0]) | (one != others[1]) | (one != others[2]))
    cells = np.empty((rows, factor, step, factor), winners.dtype)
    cells[:] = _interleaved([winners[: rows * step]] * factor).reshape(rows, 1, step, factor)
    pairs = _pairs(planes, winners, second, mixed + around)
    for some in _chunks(pairs.sure, factor):
        lead = _interpolated(pairs.lead[:, some], factor)
        ids = (lead > 0).view(np.uint8) * (pairs.high - pairs.low)[some]
        ids += pairs.low[some]
        _fill(cells, mixed[some], ids)
    for some in _chunks(~pairs.sure, factor):
        _fill(cells, mixed[some], _arg_max_between(planes, mixed[some] + around, factor))
    return cells.reshape(rows * factor, step * factor)


def _winners(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of the largest of (C, n) logits, and the second largest of them."""
    found = RunningArgMax(planes[0], len(planes))
    second, lower = np.full_like(found.best, -np.inf), np.empty_like(found.best)
    for number in range(1, len(planes)):
        np.minimum(planes[number], found.best, out=lower)
        np.maximum(second, lower, out=second)
        found.add(number, planes[number])
    return found.ids, second


class _Pairs(NamedTuple):
    """
    The two classes that win at the corners of n cells.

    Attributes:
        low: their lower id, (n,) as masks.
        high: their higher id.
        lead: by how much the latter is better at the corners, (4, n) float32.
        sure: where no third class wins in between, (n,) bool.

    """

    low: np.ndarray
    high: np.ndarray
    lead: np.ndarray
    sure: np.ndarray


def _pairs(
    planes: np.ndarray, winners: np.ndarray, second: np.ndarray, around: np.ndarray
) -> _Pairs:
    """Look up the two classes; `around` (4, n) is where the corners are in the planes."""
    wins = winners.take(around)
    low, high = wins.min(0), wins.max(0)
    values, size = planes.reshape(-1), np.intp(planes.shape[1])
    at_low, at_high = (values.take(around + ids * size) for ids in (low, high))
    # The best of the others is the second best class, unless that is one of the two.
    runner_up, half = second.take(around), np.float32(0.5)
    sure = runner_up <= np.minimum(at_low, at_high)
    sure |= runner_up < half * at_low + half * at_high
    sure &= (wins == low) | (wins == high)
    return _Pairs(low, high, at_high - at_low, sure.all(0))


def _chunks(chosen: np.ndarray, factor: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the chosen cells, as many as are interpolated at a time."""
    numbers, count = np.flatnonzero(chosen), max(CHUNK_VALUES // factor**2, 1)
    for start in range(0, len(numbers), count):
        yield numbers[start : start + count]


def _fill(cells: np.ndarray, numbers: np.ndarray, ids: np.ndarray) -> None:
    """Put the masks of n cells, (columns, rows, n), to their places."""
    _, factor, step, _ = cells.shape
    # A row of a cell is one item.
    items = cells.reshape(-1, factor).view(np.dtype((np.void, factor * cells.itemsize)))[:, 0]
    places = numbers + numbers // step * (step * (factor - 1))
    for row, values in enumerate(_interleaved(list(ids))):
        items[places + row * step] = values.view(items.dtype)[:, 0]


def _arg_max_between(planes: np.ndarray, around: np.ndarray, factor: int) -> np.ndarray:
    """Interpolate all classes in n cells: (columns, rows, n) of each, of the type of masks."""
    found = RunningArgMax(_interpolated(planes[0].take(around), factor), len(planes))
    for number in range(1, len(planes)):
        found.add(number, _interpolated(planes[number].take(around), factor))
    return found.ids


def _interpolated(corners: np.ndarray, factor: int) -> np.ndarray:
    """Interpolate (4, n) values at the corners of cells: (columns, rows, n) of each cell."""
    weights = ((np.arange(factor) + 0.5 * (factor % 2 == 0)) / factor).astype(np.float32)
    left = corners[0] + weights[:, None] * (corners[2] - corners[0])
    right = corners[1] + weights[:, None] * (corners[3] - corners[1])
    values = weights[:, None, None] * (right - left)
    values += left
    return values


def _interleaved(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Return (..., n) planes as (..., n, count)."""
    return cv2.merge(planes).reshape(*planes[0].shape, len(planes))
