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
Bilinear resizing of a part at a time: any part has the values of the whole.

The positions are those of PyTorch's ``interpolate(mode='bilinear', align_corners=False)`` and of
OpenCV's ``INTER_LINEAR``: centres of pixels at half, values repeated outside, no smoothing. Bytes
are rounded to the nearest, as OpenCV's ``INTER_LINEAR_EXACT`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from uhr_seg_ros.data.sample import Sample
from uhr_seg_ros.evaluation.block import Window

#: Rows that are resized at a time.
ROWS = 256


@dataclass(frozen=True)
class Taps:
    """
    What a stretch of a resized axis is made of.

    Attributes:
        lower: Index of the lower neighbour.
        upper: Index of the upper neighbour.
        weight: How much the upper one counts, float32.
    """

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray

    @classmethod
    def along(cls, source: int, target: int, start: int = 0, stop: int | None = None) -> Taps:
        """Place `start` to `stop` of an axis resized from `source` to `target`."""
        centers = np.arange(start, target if stop is None else stop) + 0.5
        place = np.maximum(centers * (source / target) - 0.5, 0)
        lower = np.minimum(place.astype(np.int64), source - 1)
        weight = (place - lower).astype(np.float32)
        return cls(lower, np.minimum(lower + 1, source - 1), weight)

    def blend(self, values: np.ndarray, axis: int, first: int = 0) -> np.ndarray:
        """Resize one axis of float32 values whose index 0 is `first` of the source."""
        weight = self.weight.reshape(-1, *(1,) * (values.ndim - axis - 1))
        lower = values.take(self.lower - first, axis)
        upper = values.take(self.upper - first, axis)
        upper -= lower
        upper *= weight
        upper += lower
        return upper


class ScaledImage:
    """
    A labelled image as if it had been resized, read by window.

    Args:
        image: The image.
        scale: Factor of both sides.

    Attributes:
        size: Height and width after resizing, px, at least 1.
    """

    def __init__(self, image: Sample, scale: float) -> None:
        self._image = image
        height, width = (max(1, int(side * scale + 0.5)) for side in image.size)
        self.size = height, width

    def read(self, window: Window) -> np.ndarray:
        """Return (h, w, 3) uint8 BGR of a window of the resized image."""
        if self.size == self._image.size:
            return self._image.read_image(window)
        top, left, height, width = window
        rows = Taps.along(self._image.size[0], self.size[0], top, top + height)
        columns = Taps.along(self._image.size[1], self.size[1], left, left + width)
        first_row, first_column = int(rows.lower[0]), int(columns.lower[0])
        source = self._image.read_image(
            (
                first_row,
                first_column,
                int(rows.upper[-1]) - first_row + 1,
                int(columns.upper[-1]) - first_column + 1,
            )
        )
        resized = rows.blend(source.astype(np.float32), 0, first_row)
        return np.rint(columns.blend(resized, 1, first_column)).astype(np.uint8)


def resized_rows(
    bands: Iterable[np.ndarray], size: tuple[int, int], target: tuple[int, int]
) -> Iterator[np.ndarray]:
    """
    Resize planes that come as bands of rows.

    Args:
        bands: (C, rows, w) float32, from top to bottom, without gaps.
        size: Height and width of the planes.
        target: Height and width after resizing.

    Yields:
        (C, rows, W) float32, from top to bottom, at most `ROWS` rows each.
    """
    columns = Taps.along(size[1], target[1])
    rows = Taps.along(size[0], target[0])
    kept, first, done = None, 0, 0
    for band in bands:
        kept = band if kept is None else np.concatenate([kept, band], 1)
        # Rows whose upper neighbour has come.
        ready = int(np.searchsorted(rows.upper, first + kept.shape[1]))
        for start in range(done, ready, ROWS):
            part = Taps.along(size[0], target[0], start, min(start + ROWS, ready))
            yield columns.blend(part.blend(kept, 1, first), 2)
        done = ready
        # The last row may still be the lower neighbour of rows to come.
        first, kept = first + kept.shape[1] - 1, kept[:, -1:].copy()
