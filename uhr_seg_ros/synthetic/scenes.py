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
Seeded aerial scenes with exact labels: sand, roads, settlements, vegetation and water.

For the demo, for tests, and beside real mosaics in training. Everything is drawn at about 0.3 m
per px: highways of 40 px down to tracks of 2 px, blocks of houses down to sheds of 4 px.
"""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.synthetic.canvas import (
    asphalt,
    Canvas,
    field,
    LAND,
    ROAD,
    smooth,
    stroke,
    tone,
    VEGETATION,
    WATER,
)
from uhr_seg_ros.synthetic.settlements import draw_settlements

MAX_SIDE = 20000


def generate_scene(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Draw a scene.

    Args:
        seed: The same seed and size give the same scene.
        height: px.
        width: px.

    Returns:
        Image (H, W, 3) uint8 BGR, and labels (H, W) uint8: 0 building, 1 land, 2 road,
        3 vegetation, 4 water.

    Raises:
        ConfigError: A side is not within 1 to 20000 px.
    """
    check_size(height, width)
    rng = np.random.default_rng(seed)
    canvas = _land(rng, height, width)
    _water(canvas)
    _vegetation(canvas)
    draw_settlements(canvas)
    _highways(canvas)
    _trees(canvas)
    return _finish(canvas), canvas.labels


def check_size(height: int, width: int) -> None:
    """
    Refuse sides, px, that a scene cannot have.

    Raises:
        ConfigError: Names the side and its value.
    """
    for name, size in (('height', height), ('width', width)):
        if not 1 <= size <= MAX_SIDE:
            msg = f'scene {name} is {size} px, expected 1 to {MAX_SIDE}'
            raise ConfigError(msg)


def _land(rng: np.random.Generator, height: int, width: int) -> Canvas:
    sand = tone(rng, 120, 205, 6)
    broad = field(rng, height, width, 300)
    fine = field(rng, height, width, 6)
    image = sand + (14 * broad + 9 * fine)[..., None]
    image += (3 * field(rng, height, width, 900))[..., None] * np.array([1, 0, -1], np.float32)
    labels = np.full((height, width), LAND, np.uint8)
    return Canvas(rng, image, labels, np.zeros((height, width), np.float32))


def _water(canvas: Canvas) -> None:
    """Lakes or a coast from one level set, and dark ripples on it."""
    height, width = canvas.labels.shape
    level = field(canvas.rng, height, width, 700)
    region = level > canvas.rng.uniform(1.0, 1.8)
    deep = tone(canvas.rng, 15, 55)
    canvas.paint(region, WATER, deep, 4)
    ripples = 3 * field(canvas.rng, height, width, 5)
    canvas.image[region] += ripples[region, None]


def _vegetation(canvas: Canvas) -> None:
    """Lawns and scrub as level sets, with a leafy texture."""
    height, width = canvas.labels.shape
    cover = field(canvas.rng, height, width, 260)
    region = (cover > canvas.rng.uniform(0.7, 1.4)) & (canvas.labels == LAND)
    green = tone(canvas.rng, 52, 85) + np.array([0, 9, 0], np.float32)
    canvas.paint(region, VEGETATION, green, 9)
    leaves = 13 * field(canvas.rng, height, width, 5) + 8 * field(canvas.rng, height, width, 40)
    canvas.image[region] += leaves[region, None]


def _highways(canvas: Canvas) -> None:
    """Draw a few long bends of one or two carriageways, with cars."""
    rng = canvas.rng
    height, width = canvas.labels.shape
    for _ in range(1 + (height * width) // 3_000_000):
        along = np.linspace(-0.1, 1.1, 7)
        bend = np.cumsum(rng.normal(0, 0.06, 7)) + rng.uniform(0.05, 0.95)
        across, down = (along, bend) if rng.random() < 0.5 else (bend, along)
        points = smooth(np.stack([across * width, down * height], 1), 80)
        wide, gray = int(rng.integers(12, 30)), asphalt(rng)
        stroke(canvas, points, wide, gray)
        if rng.random() < 0.6:
            stroke(canvas, points + wide * 1.35, wide, gray)
        _cars(canvas, points, wide)


def _cars(canvas: Canvas, points: np.ndarray, wide: int) -> None:
    """Specks of paint on a carriageway; a car is part of the road."""
    rng = canvas.rng
    for start, stop in zip(points[:-1], points[1:], strict=True):
        for _ in range(int(rng.integers(0, 3))):
            x, y = start + (stop - start) * rng.random() + rng.uniform(-0.35, 0.35, 2) * wide
            box = np.s_[max(int(y) - 2, 0) : int(y) + 3, max(int(x) - 2, 0) : int(x) + 3]
            if y < 0 or x < 0 or not canvas.labels[box].size:
                continue
            on_road = canvas.labels[box] == ROAD
            canvas.image[box][on_road] = rng.uniform(20, 245)


def _trees(canvas: Canvas) -> None:
    """Single crowns on land and lawn, a few px wide."""
    rng = canvas.rng
    height, width = canvas.labels.shape
    cover = field(rng, height, width, 200)
    crowns = np.zeros((height, width), np.uint8)
    for _ in range(height * width // 2600):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        if cover[y, x] > 0.2 and canvas.labels[y, x] in (LAND, VEGETATION):
            cv2.circle(crowns, (x, y), int(rng.integers(2, 7)), 1, -1)
    region = crowns.astype(bool) & np.isin(canvas.labels, (LAND, VEGETATION))
    green = tone(rng, 38, 62) + np.array([0, 10, 0], np.float32)
    canvas.paint(region, VEGETATION, green, 12)
    canvas.heights[region] = 3


def _finish(canvas: Canvas) -> np.ndarray:
    """Cast shadows, light, blur of the optics and noise of the sensor."""
    rng, image = canvas.rng, canvas.image
    height, width = canvas.labels.shape
    shade = np.zeros((height, width), bool)
    angle = rng.uniform(0, 2 * np.pi)
    for reach in range(2, 27, 2):
        shift = np.array(
            [[1, 0, reach * np.cos(angle)], [0, 1, reach * np.sin(angle)]], np.float32
        )
        moved = cv2.warpAffine(canvas.heights, shift, (width, height), flags=cv2.INTER_NEAREST)
        shade |= (moved >= reach) & (moved > canvas.heights)
    image[shade] *= 0.45
    image *= (1 + 0.05 * field(rng, height, width, 1200))[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 0.8))
    image += rng.normal(0, 3, (height, width, 1)).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)
