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
Sliding windows as the published evaluation uses them.

Windows of one size every `stride` px, the last one moved inside; their scores are added up and
divided by how many windows a pixel lies in. Rows that no later window covers are given away at
once, so scores exist for one row of windows only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from uhr_seg_ros.evaluation.block import Window
from uhr_seg_ros.pipelines.masks import arg_max


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """Return the starts of the windows along one axis in px; the last one is moved inside."""
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(index * stride, size - window), 0) for index in range(count)]


@dataclass(frozen=True)
class Band:
    """
    Rows of an image that all of their windows have seen.

    Attributes:
        scores: (C, rows, W) float32, averaged over the windows.
        shared: (rows, W) bool, seen by several windows.
        differing: (rows, W) bool, where these windows, each for itself, give several classes.
    """

    scores: np.ndarray
    shared: np.ndarray
    differing: np.ndarray


def slide(
    size: tuple[int, int],
    window: int,
    stride: int,
    predict: Callable[[Window], np.ndarray],
) -> Iterator[Band]:
    """
    Average the scores of overlapping square windows.

    Args:
        size: Height and width of the image, px.
        window: Side of a window in px; an axis shorter than it has one window.
        stride: Step between windows in px, at most `window`.
        predict: Gives the scores (C, h, w) float32 of a window, such as logits.

    Yields:
        The image from top to bottom.
    """
    rows = window_starts(size[0], window, stride)
    columns = window_starts(size[1], window, stride)
    height, width = min(window, size[0]), min(window, size[1])
    sums: _Sums | None = None
    for top, following in zip(rows, [*rows[1:], size[0]], strict=True):
        for left in columns:
            scores = predict((top, left, height, width))
            sums = sums or _Sums(len(scores), height, size[1])
            sums.add(scores, left)
        if sums is not None:
            yield sums.take(following - top)


class _Sums:
    """The scores of the rows that windows still come for, as many as a window is high."""

    def __init__(self, classes: int, height: int, width: int) -> None:
        self._scores = np.zeros((classes, height, width), np.float32)
        self._count = np.zeros((height, width), np.uint16)
        self._first = np.zeros((height, width), np.uint8)
        self._differing = np.zeros((height, width), bool)

    def add(self, scores: np.ndarray, left: int) -> None:
        place = np.s_[:, left : left + scores.shape[2]]
        self._scores[(slice(None), *place)] += scores
        answer = arg_max(scores)
        seen = self._count[place] > 0
        self._differing[place] |= seen & (answer != self._first[place])
        np.copyto(self._first[place], answer, where=~seen)
        self._count[place] += 1

    def take(self, rows: int) -> Band:
        """Return the first rows away and make room for as many."""
        count = self._count[:rows]
        band = Band(self._scores[:, :rows] / count, count > 1, self._differing[:rows].copy())
        for array in (self._scores, self._count, self._first, self._differing):
            by_row = np.moveaxis(array, -2, 0)
            by_row[:-rows] = by_row[rows:]
            by_row[-rows:] = 0
        return band
