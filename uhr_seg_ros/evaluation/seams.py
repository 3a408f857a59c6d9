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
Seams: whether windows or tiles contradict each other, and err more where they end.

A seam is a border of a window or a tile inside the image; its band are the pixels at most `REACH`
px away, the rest is elsewhere. There is no standard measure; these are the two that tell a seam
from a difficult place:

* disagreement, in the band and elsewhere. Of sliding windows: the share of the pixels in several
  windows to which these windows, each for itself, give several classes. Of tiles of the detail
  branch, whose maps are blended before there is a class: the share of the pixels that get another
  class than from the image in one piece, where that was computed too.
* error rate of the final mask, in the band and elsewhere, over the pixels with a label.

`REACH` is in px of the image as the network sees it: the image itself unless it is scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.evaluation.block import Block, Metric, Window
from uhr_seg_ros.evaluation.metrics import ratio
from uhr_seg_ros.evaluation.sliding_window import window_starts

#: Half the width of the band along a seam, px.
REACH = 16

NEAR, ELSEWHERE = 0, 1


@dataclass(frozen=True)
class Grid:
    """
    Where windows or tiles end inside an image.

    Attributes:
        size: Height and width of the image that they lie on, px.
        rows: Horizontal borders, px from the top.
        columns: Vertical borders, px from the left.
    """

    size: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @classmethod
    def of_spans(
        cls,
        size: tuple[int, int],
        rows: Sequence[tuple[int, int]],
        columns: Sequence[tuple[int, int]],
    ) -> Grid:
        """Take the starts and stops of tiles along both axes."""
        return cls(size, _inner(rows, size[0]), _inner(columns, size[1]))

    @classmethod
    def of_windows(cls, size: tuple[int, int], window: int, stride: int) -> Grid:
        """Take sliding windows, see `slide`."""
        spans = [
            [(start, start + window) for start in window_starts(side, window, stride)]
            for side in size
        ]
        return cls.of_spans(size, *spans)

    def near(self, window: Window, size: tuple[int, int]) -> np.ndarray:
        """Return which pixels of a window of the image, in a size of its own, lie in the band."""
        top, left, height, width = window
        rows = _near(self.rows, (top, height), self.size[0] / size[0])
        columns = _near(self.columns, (left, width), self.size[1] / size[1])
        return rows[:, None] | columns


@dataclass
class Seams(Metric):
    """
    Add up what happens along the seams; `grid` is set for every image.

    Attributes:
        grid: Where windows or tiles end in the image at hand; None where nothing is cut.
        compared: (2,) pixels near seams and elsewhere whose answers were compared.
        differing: (2,) those with several answers.
        known: (2,) pixels with a label.
        wrong: (2,) those with another class.
    """

    grid: Grid | None = None
    compared: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    differing: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    known: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    wrong: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))

    def compare(self, top: int, shared: np.ndarray, differing: np.ndarray) -> None:
        """
        Count the answers for rows of an image of the size of the grid; none without a grid.

        Args:
            top: The first row, px.
            shared: (rows, W) bool, pixels that have several answers.
            differing: (rows, W) bool, those whose answers differ.
        """
        if self.grid is None:
            return
        near = self.grid.near((top, 0, shared.shape[0], shared.shape[1]), self.grid.size)
        self.compared += _split(shared, near)
        self.differing += _split(differing, near)

    def add(self, block: Block) -> None:
        """Count the errors of one block."""
        if self.grid is None:
            return
        near = self.grid.near(block.place, block.size)
        labels = block.part(block.labels)
        known = labels != UNLABELED
        self.known += _split(known, near)
        self.wrong += _split(known & (labels != block.part(block.mask)), near)

    def disagreement(self) -> np.ndarray:
        """Share of differing answers near seams and elsewhere, (2,); NaN if none is compared."""
        return ratio(self.differing, self.compared)

    def error(self) -> np.ndarray:
        """Share of wrong pixels near seams and elsewhere, (2,); NaN without labels."""
        return ratio(self.wrong, self.known)


def _inner(spans: Sequence[tuple[int, int]], size: int) -> tuple[int, ...]:
    ends = {end for span in spans for end in span}
    return tuple(sorted(end for end in ends if 0 < end < size))


def _near(borders: Sequence[int], span: tuple[int, int], scale: float) -> np.ndarray:
    """Return which of `span` (start, length) lie within reach of a border."""
    centers = (span[0] + np.arange(span[1]) + 0.5) * scale
    near = np.zeros(span[1], bool)
    for border in borders:
        near |= np.abs(centers - border) <= REACH
    return near


def _split(pixels: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Count pixels (bool) near seams and elsewhere."""
    close = int(np.count_nonzero(pixels & near))
    return np.array([close, int(np.count_nonzero(pixels)) - close])
