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

"""Runs of equal pixels in the rows of a mask, and which of them touch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Runs(NamedTuple):
    """
    All pixels of a mask, row by row, as runs of equal ones.

    Attributes:
        starts: (N,) int64, first pixel of each, counted row by row.
        ends: (N,) int64, the one behind its last pixel.
        ids: (N,) the value of its pixels.
        width: of the mask, px.

    """

    starts: np.ndarray
    ends: np.ndarray
    ids: np.ndarray
    width: int


def runs_of(mask: np.ndarray) -> Runs:
    """Find the runs of a mask, (H, W) of integers; none goes over the end of a row."""
    flat = np.ascontiguousarray(mask).reshape(-1)
    is_first = np.empty(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=is_first[1:])
    is_first[:: mask.shape[1]] = True
    starts = np.flatnonzero(is_first)
    ends = np.append(starts[1:], flat.size)
    return Runs(starts, ends, flat[starts], mask.shape[1])


def components(runs: Runs, wanted: np.ndarray) -> np.ndarray:
    """
    Find which runs of the same value touch, by a side or a corner, over any number of others.

    Args:
        runs: of a mask.
        wanted: numbers of the runs that are looked at, ascending; all of a value, or none.

    Returns:
        (N,) int64, for each run the number of the first one that it is connected to; what is not
        wanted stays alone.

    """
    below, above = _touching(runs, wanted)
    parents = np.arange(runs.starts.size)
    while below.size:
        # Roots come before what hangs on them, so there are no circles.
        first, second = parents[below], parents[above]
        is_open = first != second
        below, above, first, second = (each[is_open] for each in (below, above, first, second))
        parents[np.maximum(first, second)] = np.minimum(first, second)
        while np.any((higher := parents[parents]) != parents):
            parents = higher
    return parents


def _touching(runs: Runs, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of runs, and of equal ones in the row above that touch them."""
    below = wanted[np.searchsorted(runs.starts[wanted], runs.width) :]
    starts, ends = runs.starts[below] - runs.width, runs.ends[below] - runs.width
    # Corners touch, but not over the sides of the mask.
    left = starts - (starts % runs.width > 0)
    right = ends - (ends % runs.width == 0)
    first = np.searchsorted(runs.starts, left, 'right') - 1
    counts = np.searchsorted(runs.starts, right, 'right') - first
    below = np.repeat(below, counts)
    above = np.arange(below.size) + np.repeat(first - np.cumsum(counts) + counts, counts)
    is_equal = runs.ids[below] == runs.ids[above]
    return below[is_equal], above[is_equal]
