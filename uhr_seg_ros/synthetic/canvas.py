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

"""What generated scenes are drawn on and with: a labelled canvas, strokes, fills and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

BUILDING, LAND, ROAD, VEGETATION, WATER = range(5)


@dataclass
class Canvas:
    """
    A scene being drawn; everything is painted in place.

    Attributes:
        rng: The one source of randomness of the scene.
        image: (H, W, 3) float32 BGR, about 0 to 255.
        labels: (H, W) uint8 class ids.
        heights: (H, W) float32, height of what stands on the ground in px, for cast shadows.
    """

    rng: np.random.Generator
    image: np.ndarray
    labels: np.ndarray
    heights: np.ndarray

    def paint(self, region: np.ndarray, label: int, color: np.ndarray, grain: float) -> None:
        """Fill a boolean (H, W) region with a grainy colour."""
        count = int(np.count_nonzero(region))
        noise = self.rng.normal(0, grain, (count, 1)).astype(np.float32)
        self.image[region] = color + noise
        self.labels[region] = label


def field(rng: np.random.Generator, height: int, width: int, scale: float) -> np.ndarray:
    """Smooth noise with features of about ``scale`` px: (H, W) float32, mean 0, deviation 1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(3):
        cell = max(scale / 2**octave, 2.0)
        coarse = rng.normal(0, 1, (int(height / cell) + 3, int(width / cell) + 3))
        coarse = coarse.astype(np.float32) / 2**octave
        top, left = (int(value) for value in rng.integers(0, max(int(cell), 1), 2))
        size = (int(coarse.shape[1] * cell) + 1, int(coarse.shape[0] * cell) + 1)
        grown = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        total += grown[top : top + height, left : left + width]
    return (total - total.mean()) / (total.std() + 1e-6)


def tone(rng: np.random.Generator, low: float, high: float, tint: float = 4) -> np.ndarray:
    """Draw a grey between two values with a slight tint, (3,) float32 BGR."""
    return (rng.uniform(low, high) + rng.normal(0, tint, 3)).astype(np.float32)


def smooth(points: np.ndarray, count: int) -> np.ndarray:
    """Bend a polyline (n, 2) into a curve of ``count`` points."""
    return cv2.resize(points.astype(np.float32), (2, count), interpolation=cv2.INTER_CUBIC)


def stroke(canvas: Canvas, points: np.ndarray, width: int, color: np.ndarray) -> None:
    """Draw one road along points (n, 2) px, with lane marks if it is wide."""
    height, full_width = canvas.labels.shape
    left, top = np.maximum(points.min(0).astype(int) - width, 0)
    right, bottom = np.minimum(points.max(0).astype(int) + width, (full_width, height))
    if left >= right or top >= bottom:
        return
    box = np.s_[top:bottom, left:right]
    part = Canvas(canvas.rng, canvas.image[box], canvas.labels[box], canvas.heights[box])
    line = np.rint(16 * (points - (left, top))).astype(np.int32).reshape(-1, 1, 2)
    region = np.zeros(part.labels.shape, np.uint8)
    cv2.polylines(region, [line], False, 1, width, cv2.LINE_8, 4)
    part.paint(region.astype(bool), ROAD, color, 5)
    part.heights[region > 0] = 0
    if width >= 14:
        middle = np.zeros_like(region)
        cv2.polylines(middle, [line], False, 1, 1, cv2.LINE_8, 4)
        rows, columns = np.nonzero(middle)
        dashes = (rows + columns) // 6 % 2 == 0
        part.image[rows[dashes], columns[dashes]] = 205


def asphalt(rng: np.random.Generator) -> np.ndarray:
    """Draw the grey of a road, (3,) float32 BGR."""
    return tone(rng, 62, 118)


def fill(canvas: Canvas, quad: np.ndarray, label: int, color: np.ndarray, rise: float) -> bool:
    """
    Fill one polygon, (n, 2) int32 in 1/16 px, inside its bounding box.

    Returns:
        Whether it was; one that touches road or water, or is out of sight, is left out.
    """
    height, width = canvas.labels.shape
    left, top = np.maximum(quad.min(0) // 16 - 1, 0)
    right, bottom = np.minimum(quad.max(0) // 16 + 2, (width, height))
    if left >= right or top >= bottom:
        return False
    box = np.s_[top:bottom, left:right]
    region = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillConvexPoly(region, quad - 16 * np.array([left, top]), 1, cv2.LINE_8, 4)
    inside = region.astype(bool)
    if not inside.any() or np.isin(canvas.labels[box][inside], (ROAD, WATER)).any():
        return False
    grain = canvas.rng.normal(0, 4, (int(inside.sum()), 1)).astype(np.float32)
    canvas.image[box][inside] = color + grain
    canvas.labels[box][inside] = label
    canvas.heights[box][inside] = rise
    return True
