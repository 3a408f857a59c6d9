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
Frames sampled bilinearly at few points, straight from their bytes.

Only the four px around a point are read, so a frame is never normalized as a whole. OpenCV's
remap would round the places of points to 1/32 px, which is too coarse to compute what torch does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Sampler:
    """
    Sample frames as normalized planes.

    Args:
        mean: RGB, in 0..255.
        std: RGB, in 0..255.

    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean, self._std = (np.array(values, np.float32) for values in (mean, std))

    def resized(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """
        Resize without antialiasing, as torch's `interpolate` does bilinearly.

        Args:
            image: (H, W, 3) uint8 BGR.
            size: height and width, px.

        Returns:
            (1, 3, *size) float32, RGB, normalized.

        """
        y, x = (_centers(*each) for each in zip(image.shape, size, strict=False))
        return self._sampled(image, y[:, None], x)

    def along(self, image: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """
        Sample along a grid, as torch's `grid_sample` does with zeros outside of the image.

        Args:
            image: (H, W, 3) uint8 BGR.
            grid: (h, w, 2) float32, x first, in -1..1 from one outer edge to the other.

        Returns:
            (1, 3, h, w) float32, RGB, normalized; zero is the mean.

        """
        x, y = (
            ((grid[..., axis] + 1) * np.float32(image.shape[1 - axis]) - 1) / 2 for axis in (0, 1)
        )
        return self._sampled(image, y, x)

    def _sampled(self, image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Sample at rows `y` and columns `x`, px, which broadcast to (h, w)."""
        shape = np.broadcast_shapes(y.shape, x.shape)
        total, inside = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
        columns = _corners(x, image.shape[1])
        for rows, row_weights in _corners(y, image.shape[0]):
            for places, weights in columns:
                weight = row_weights * weights
                total += weight[..., None] * image[rows, places]
                inside += weight
        # What lies outside is zero once it is normalized.
        planes = (total[..., ::-1] - inside[..., None] * self._mean) / self._std
        return np.ascontiguousarray(planes.transpose(2, 0, 1))[None]


def _centers(old: int, new: int) -> np.ndarray:
    """Return where the px of a resized axis lie along the old one, px."""
    places = (np.arange(new, dtype=np.float32) + 0.5) * np.float32(old / new) - np.float32(0.5)
    return places.clip(0, old - 1)


def _corners(places: np.ndarray, length: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the px before and after each place, and how much each counts: outside, nothing."""
    before = np.floor(places)
    share = places - before
    found = []
    for index, weights in ((before, 1 - share), (before + 1, share)):
        inside = (index >= 0) & (index < length)
        found.append((index.clip(0, length - 1).astype(np.intp), weights * inside))
    return found
