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

"""A generated place: a canvas with a ground resolution, so that everything is drawn in meters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uhr_seg_ros.synthetic.canvas import Canvas, field

#: Two numbers, m.
Pair = Sequence[float] | np.ndarray


@dataclass
class Site:
    """
    A place being drawn.

    Attributes:
        canvas: What is drawn on.
        resolution: Ground resolution, m per px.
        angle: Direction of parcels and roads, radians.
    """

    canvas: Canvas
    resolution: float
    angle: float

    @property
    def rng(self) -> np.random.Generator:
        """The one source of randomness."""
        return self.canvas.rng

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height, m."""
        height, width = self.canvas.labels.shape
        return width * self.resolution, height * self.resolution

    def meters(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how far each pixel is along and across the parcels, (H, W) float32, m."""
        height, width = self.canvas.labels.shape
        y, x = np.indices((height, width), np.float32)
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        along, across = x * cos + y * sin, y * cos - x * sin
        return along * np.float32(self.resolution), across * np.float32(self.resolution)

    def rows(self, spacing: float) -> tuple[np.ndarray, float]:
        """
        Return a wave along or across the parcels, and how much of it can be seen.

        Args:
            spacing: From row to row, m.

        Returns:
            (H, W) float32, -1 to 1; and 0 for rows closer than two px, to 1.
        """
        meters = self.meters()[int(self.rng.random() < 0.5)]
        phase = meters / np.float32(spacing) + np.float32(self.rng.random())
        seen = float(np.clip((spacing / self.resolution - 2) / 4, 0, 1))
        return np.cos(np.float32(2 * np.pi) * phase), seen

    def noise(self, size: float) -> np.ndarray:
        """
        Smooth noise with features of about a size in m: (H, W) float32, as `canvas.field`.

        Features finer than 2 px are 2 px wide; those wider than the place are as wide as it.
        """
        height, width = self.canvas.labels.shape
        pixels = float(np.clip(size / self.resolution, 2, max(height, width)))
        return field(self.rng, height, width, pixels)

    def shade(self, region: np.ndarray, *grains: tuple[float, float]) -> None:
        """
        Lay grains over a region.

        Args:
            region: (H, W) bool.
            grains: Standard deviation in grey levels, and size in m; finer ones are left out.
        """
        for strength, size in grains:
            if region.any() and size >= 1.5 * self.resolution:
                self.canvas.image[region] += (strength * self.noise(size))[region, None]

    def quad(self, center: Pair, half: Pair, angle: float) -> np.ndarray:
        """Corners of a rectangle, center and half sides in m: (4, 2) int32 in 1/16 px."""
        cos, sin = np.cos(angle), np.sin(angle)
        local = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * np.asarray(half)
        turned = local @ np.array([[cos, sin], [-sin, cos]])
        return np.rint(16 * (turned + center) / self.resolution).astype(np.int32)


def colored(rng: np.random.Generator, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Draw one of the colors, a little changed, (3,) float32 BGR."""
    color = np.array(palette[int(rng.integers(len(palette)))], np.float32)
    return color * np.float32(rng.uniform(0.75, 1.25)) + rng.normal(0, 6, 3).astype(np.float32)
