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

"""Settlements of generated scenes: districts, their streets, houses and pools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uhr_seg_ros.synthetic.canvas import (
    asphalt,
    BUILDING,
    Canvas,
    fill,
    smooth,
    stroke,
    tone,
    WATER,
)

#: Settlements are laid out on a grid of districts of about this side, px.
DISTRICT = 420


@dataclass(frozen=True)
class _District:
    """A tilted rectangle of a settlement: centre, half sides in px, and angle in radians."""

    center: tuple[float, float]
    half: tuple[float, float]
    angle: float

    def point(self, u: float, v: float) -> tuple[float, float]:
        """Local (u, v) in px from the centre -> image (x, y)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        x, y = self.center
        return x + u * cos - v * sin, y + u * sin + v * cos

    def quad(self, u: float, v: float, du: float, dv: float) -> np.ndarray:
        """Corners of a local rectangle around (u, v): (4, 2) int32 in 1/16 px."""
        corners = [(u - du, v - dv), (u + du, v - dv), (u + du, v + dv), (u - du, v + dv)]
        return np.rint(16 * np.array([self.point(*corner) for corner in corners])).astype(np.int32)


def draw_settlements(canvas: Canvas) -> None:
    """Draw streets all over the scene, and houses in most districts."""
    districts = _districts(canvas)
    _streets(canvas, districts)
    for district in districts:
        if canvas.rng.random() < 0.7:
            _houses(canvas, district)


def _districts(canvas: Canvas) -> list[_District]:
    height, width = canvas.labels.shape
    rng, districts = canvas.rng, []
    tilt = rng.uniform(-0.6, 0.6)
    for row in range(height // DISTRICT + 1):
        for column in range(width // DISTRICT + 1):
            if rng.random() < 0.4:
                continue
            center = (
                (column + rng.uniform(0.3, 0.7)) * DISTRICT,
                (row + rng.uniform(0.3, 0.7)) * DISTRICT,
            )
            half = tuple(rng.uniform(0.3, 0.5, 2) * DISTRICT)
            districts.append(_District(center, half, tilt + rng.normal(0, 0.15)))
    return districts


def _streets(canvas: Canvas, districts: list[_District]) -> None:
    """Two streets through every district and a thin track out of it."""
    rng = canvas.rng
    for district in districts:
        gray = asphalt(rng)
        du, dv = district.half
        for ends in (((-du, 0), (du, 0)), ((0, -dv), (0, dv))):
            points = np.array([district.point(*end) for end in ends])
            stroke(canvas, points, int(rng.integers(7, 13)), gray)
        start = np.array(district.point(du, 0))
        steps = np.cumsum(rng.normal(0, 0.3, 12)) + district.angle
        track = start + 40 * np.cumsum(np.stack([np.cos(steps), np.sin(steps)], 1), 0)
        track = smooth(np.vstack([start, track]), 60)
        stroke(canvas, track, int(rng.integers(2, 6)), tone(rng, 85, 130))


def _houses(canvas: Canvas, district: _District) -> None:
    """Fill the four quarters of a district with rows of buildings of one style."""
    rng = canvas.rng
    size = rng.choice([9.0, 16.0, 28.0, 60.0], p=[0.3, 0.35, 0.25, 0.1])
    roof = tone(rng, 80, 225, 8)
    step = 2.1 * size + rng.uniform(2, 8)
    margin = 8 + size
    for u in np.arange(-district.half[0] + size, district.half[0] - size, step):
        for v in np.arange(-district.half[1] + size, district.half[1] - size, step):
            if min(abs(u), abs(v)) < margin or rng.random() < 0.2:
                continue
            _house(canvas, district, (u, v), size * rng.uniform(0.45, 1.0, 2), roof)
            if rng.random() < 0.15:
                _pool(canvas, district, (u + 1.02 * size + 3, v), max(size * 0.18, 2.0))


def _house(
    canvas: Canvas,
    district: _District,
    place: tuple[float, float],
    half: np.ndarray,
    roof: np.ndarray,
) -> None:
    """One building with a flat or a gabled roof; a part of a side may be cut out."""
    rng = canvas.rng
    pieces = [(place[0], place[1], half[0], half[1])]
    if half.min() > 8 and rng.random() < 0.5:
        offset = half * rng.uniform(-0.5, 0.5, 2)
        pieces.append((place[0] + offset[0], place[1] + offset[1], half[1], half[0] * 0.6))
    shade = roof + rng.normal(0, 22)
    floors = rng.uniform(3, 9) if half.max() < 30 else rng.uniform(6, 26)
    for u, v, du, dv in pieces:
        fill(canvas, district.quad(u, v, du, dv), BUILDING, shade, floors)
        if rng.random() < 0.5:
            lit = district.quad(u, v - dv / 2, du, dv / 2)
            fill(canvas, lit, BUILDING, shade + rng.uniform(12, 35), floors)
        for _ in range(int(du * dv / 160)):
            ou, ov = rng.uniform(-0.8, 0.8, 2) * (du, dv)
            box = district.quad(u + ou, v + ov, 1.5, 1.5)
            fill(canvas, box, BUILDING, shade + rng.choice([-45, 40]), floors)


def _pool(canvas: Canvas, district: _District, place: tuple[float, float], half: float) -> None:
    blue = np.array([165, 145, 80], np.float32) + canvas.rng.normal(0, 12)
    fill(canvas, district.quad(*place, half, half * 0.6), WATER, blue, 0)
