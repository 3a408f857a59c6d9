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

"""Add up the logits of overlapping patches, one row of patches at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uhr_seg_ros.core.classes import mask_dtype
from uhr_seg_ros.core.patch_grid import PatchGrid
from uhr_seg_ros.pipelines.masks import arg_max, confidence_of


class LogitAccumulator:
    """
    Merge patches into the results of a frame.

    Only the rows that later patches still reach are kept as logits.

    Args:
        size: height and width of the frame, px.
        classes: number of classes.
        side: of a patch, px.
        grid: where the patches lie.
        outputs: of `mask`, `confidence` and `logits`.

    Attributes:
        results: the outputs of the frame; complete when all rows are finished.

    """

    def __init__(
        self,
        size: tuple[int, int],
        classes: int,
        side: int,
        grid: PatchGrid,
        outputs: Sequence[str],
    ) -> None:
        self._size, self._side, self._grid = size, side, grid
        self._band = np.zeros((classes, side, grid.size[1]), np.float32)
        axes = zip((grid.rows, grid.columns), grid.size, strict=True)
        self._counts = [_counts(starts, side, length) for starts, length in axes]
        dtypes = {
            'mask': mask_dtype(classes),
            'confidence': np.uint8,
            'logits': np.float32,
        }
        self.results = {
            name: np.empty((*((classes,) if name == 'logits' else ()), *size), dtypes[name])
            for name in {'mask', *outputs}
        }

    def add(self, logits: np.ndarray, left: int) -> None:
        """Add a patch (C, side, side) of the present row."""
        self._band[..., left : left + self._side] += logits

    def finish(self, row: int) -> None:
        """Turn rows that no later patch reaches into results; the next row of patches follows."""
        rows = self._grid.rows
        top = rows[row]
        following = rows[row + 1] if row + 1 < len(rows) else top + self._side
        height, width = self._size
        count = following - top
        bottom = min(following, height)
        band = self._band[:, : bottom - top, :width]
        place = np.s_[top:bottom, :]
        self.results['mask'][place] = arg_max(band)
        if 'logits' in self.results:
            self.results['logits'][(..., *place)] = band
        if 'confidence' in self.results:
            overlaps = self._counts[0][top:bottom, None] * self._counts[1][:width]
            self.results['confidence'][place] = confidence_of(band / overlaps)
        self._band[:, : self._side - count] = self._band[:, count:]
        self._band[:, self._side - count :] = 0


def _counts(starts: Sequence[int], side: int, length: int) -> np.ndarray:
    """Count the patches that every place of an axis lies in, (length,) float32."""
    counts = np.zeros(length, np.float32)
    for start in starts:
        counts[start : start + side] += 1
    return counts
