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

"""Blocks of an image: every metric is added up from them, and masks on disk are read by them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
import os
import tempfile
from types import TracebackType

import numpy as np

#: Top, left, height and width in px.
Window = tuple[int, int, int, int]

#: Side of a block, px.
SIDE = 2048


@dataclass(frozen=True)
class Block:
    """
    A part of an image and its surroundings.

    Attributes:
        labels: (h, w) uint8 true ids of the part and its surroundings, 255 where ignored.
        mask: (h, w) uint8 found ids.
        rows: The rows of the part in these arrays.
        columns: The columns of the part in these arrays.
        place: Top, left, height and width of the part in the image, px.
        size: Height and width of the image, px.
    """

    labels: np.ndarray
    mask: np.ndarray
    rows: slice
    columns: slice
    place: Window
    size: tuple[int, int]

    @classmethod
    def whole(cls, labels: np.ndarray, mask: np.ndarray) -> Block:
        """Take a whole image as one block."""
        height, width = labels.shape
        place = (0, 0, height, width)
        return cls(labels, mask, slice(0, height), slice(0, width), place, (height, width))

    def part(self, array: np.ndarray) -> np.ndarray:
        """Cut the surroundings off an array (h, w)."""
        return array[self.rows, self.columns]

    def within(self, margin: int) -> Block:
        """Keep at most so many px of the surroundings."""
        top, left = max(self.rows.start - margin, 0), max(self.columns.start - margin, 0)
        area = (slice(top, self.rows.stop + margin), slice(left, self.columns.stop + margin))
        return replace(
            self,
            labels=self.labels[area],
            mask=self.mask[area],
            rows=slice(self.rows.start - top, self.rows.stop - top),
            columns=slice(self.columns.start - left, self.columns.stop - left),
        )


class Metric(ABC):
    """What is added up from blocks; the blocks of an image come row by row, left to right."""

    def margin(self, size: tuple[int, int]) -> int:
        """Return how much of the surroundings of a block matters, px, in an image of a size."""
        return 0

    @abstractmethod
    def add(self, block: Block) -> None:
        """Count one block."""

    def end_image(self) -> None:  # noqa: B027 - few metrics have to know
        """Note that the image has no more blocks."""


def blocks_of(
    size: tuple[int, int],
    margin: int,
    read: Callable[[Window], tuple[np.ndarray, np.ndarray]],
    side: int = SIDE,
) -> Iterator[Block]:
    """
    Cut an image into blocks.

    Args:
        size: Height and width of the image, px.
        margin: How much of the surroundings comes with a block, px, where the image goes on.
        read: Gives labels and mask of a window, (h, w) uint8 each.
        side: Side of the blocks, px.
    """
    height, width = size
    for top in range(0, height, side):
        for left in range(0, width, side):
            rows, columns = min(side, height - top), min(side, width - left)
            first_row, first_column = max(top - margin, 0), max(left - margin, 0)
            last_row = min(top + rows + margin, height)
            last_column = min(left + columns + margin, width)
            labels, mask = read(
                (first_row, first_column, last_row - first_row, last_column - first_column)
            )
            yield Block(
                labels,
                mask,
                slice(top - first_row, top - first_row + rows),
                slice(left - first_column, left - first_column + columns),
                (top, left, rows, columns),
                size,
            )


class MemmapMask:
    """
    A mask in a temporary file; use it in a `with` block.

    Args:
        size: Height and width of the mask, px.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._file = tempfile.TemporaryFile(prefix='uhr_seg_mask_')
        self._rows = 0

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows, (h, W) uint8."""
        self._file.write(np.ascontiguousarray(rows, np.uint8).data)
        self._rows += len(rows)

    def read(self, window: Window) -> np.ndarray:
        """Read a window, (h, w) uint8."""
        top, left, height, width = window
        self._file.flush()
        stored = os.pread(self._file.fileno(), height * self.size[1], top * self.size[1])
        rows = np.frombuffer(stored, np.uint8).reshape(height, self.size[1])
        return rows[:, left : left + width]

    def __enter__(self) -> MemmapMask:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
