# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Seeded aerial scenes with exact labels: sand, roads, settlements, vegetation and water.

For the demo, for tests, and beside real mosaics in training. Everything is drawn at about 0.3 m
per px: highways of 40 px down to tracks of 2 px, blocks of houses down to sheds of 4 px.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from uhr_seg_ros.errors import UhrSegError

BUILDING, LAND, ROAD, VEGETATION, WATER = range(5)

#: Scenes are laid out on a grid of districts of about this side, px.
DISTRICT = 420
MAX_SIDE = 20000


class SceneError(UhrSegError):
    """A scene of a size that cannot be drawn."""


@dataclass
class _Canvas:
    """A scene being drawn; all in place."""

    rng: np.random.Generator
    image: np.ndarray
    labels: np.ndarray
    #: Height of what stands on the ground in px, for the cast shadows.
    heights: np.ndarray

    def paint(self, region: np.ndarray, label: int, color: np.ndarray, grain: float) -> None:
        """Fill a boolean (H, W) region with a grainy colour."""
        count = int(np.count_nonzero(region))
        noise = self.rng.normal(0, grain, (count, 1)).astype(np.float32)
        self.image[region] = color + noise
        self.labels[region] = label


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
        SceneError: A side is not within 1 to 20000 px.
    """
    for name, size in (('height', height), ('width', width)):
        if not 1 <= size <= MAX_SIDE:
            msg = f'scene {name} is {size} px, expected 1 to {MAX_SIDE}'
            raise SceneError(msg)
    rng = np.random.default_rng(seed)
    canvas = _land(rng, height, width)
    _water(canvas)
    _vegetation(canvas)
    districts = _districts(canvas)
    _streets(canvas, districts)
    for district in districts:
        if rng.random() < 0.7:
            _houses(canvas, district)
    _highways(canvas)
    _trees(canvas)
    return _finish(canvas), canvas.labels


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


def _land(rng: np.random.Generator, height: int, width: int) -> _Canvas:
    sand = _tone(rng, 120, 205, 6)
    broad = field(rng, height, width, 300)
    fine = field(rng, height, width, 6)
    image = sand + (14 * broad + 9 * fine)[..., None]
    image += (3 * field(rng, height, width, 900))[..., None] * np.float32([1, 0, -1])
    labels = np.full((height, width), LAND, np.uint8)
    return _Canvas(rng, image, labels, np.zeros((height, width), np.float32))


def _water(canvas: _Canvas) -> None:
    """Lakes or a coast from one level set, and dark ripples on it."""
    height, width = canvas.labels.shape
    level = field(canvas.rng, height, width, 700)
    region = level > canvas.rng.uniform(1.0, 1.8)
    deep = _tone(canvas.rng, 15, 55)
    canvas.paint(region, WATER, deep, 4)
    ripples = 3 * field(canvas.rng, height, width, 5)
    canvas.image[region] += ripples[region, None]


def _vegetation(canvas: _Canvas) -> None:
    """Lawns and scrub as level sets, with a leafy texture."""
    height, width = canvas.labels.shape
    cover = field(canvas.rng, height, width, 260)
    region = (cover > canvas.rng.uniform(0.7, 1.4)) & (canvas.labels == LAND)
    green = _tone(canvas.rng, 52, 85) + np.float32([0, 9, 0])
    canvas.paint(region, VEGETATION, green, 9)
    leaves = 13 * field(canvas.rng, height, width, 5) + 8 * field(canvas.rng, height, width, 40)
    canvas.image[region] += leaves[region, None]


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


def _districts(canvas: _Canvas) -> list[_District]:
    height, width = canvas.labels.shape
    rng, districts = canvas.rng, []
    tilt = rng.uniform(-0.6, 0.6)
    for row in range(height // DISTRICT + 1):
        for column in range(width // DISTRICT + 1):
            if rng.random() < 0.4:
                continue
            center = ((column + rng.uniform(0.3, 0.7)) * DISTRICT,
                      (row + rng.uniform(0.3, 0.7)) * DISTRICT)  # fmt: skip
            half = tuple(rng.uniform(0.3, 0.5, 2) * DISTRICT)
            districts.append(_District(center, half, tilt + rng.normal(0, 0.15)))
    return districts


def _tone(rng: np.random.Generator, low: float, high: float, tint: float = 4) -> np.ndarray:
    """Draw a grey between two values with a slight tint, (3,) float32 BGR."""
    return np.float32(rng.uniform(low, high) + rng.normal(0, tint, 3))


def _smooth(points: np.ndarray, count: int) -> np.ndarray:
    """Bend a polyline (n, 2) into a curve of ``count`` points."""
    return cv2.resize(points.astype(np.float32), (2, count), interpolation=cv2.INTER_CUBIC)


def _stroke(canvas: _Canvas, points: np.ndarray, width: int, color: np.ndarray) -> None:
    """Draw one road along points (n, 2) px, with lane marks if it is wide."""
    height, full_width = canvas.labels.shape
    left, top = np.maximum(points.min(0).astype(int) - width, 0)
    right, bottom = np.minimum(points.max(0).astype(int) + width, (full_width, height))
    if left >= right or top >= bottom:
        return
    box = np.s_[top:bottom, left:right]
    part = _Canvas(canvas.rng, canvas.image[box], canvas.labels[box], canvas.heights[box])
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


def _asphalt(rng: np.random.Generator) -> np.ndarray:
    return _tone(rng, 62, 118)


def _streets(canvas: _Canvas, districts: list[_District]) -> None:
    """Two streets through every district and a thin track out of it."""
    rng = canvas.rng
    for district in districts:
        asphalt = _asphalt(rng)
        du, dv = district.half
        for ends in (((-du, 0), (du, 0)), ((0, -dv), (0, dv))):
            points = np.array([district.point(*end) for end in ends])
            _stroke(canvas, points, int(rng.integers(7, 13)), asphalt)
        start = np.array(district.point(du, 0))
        steps = np.cumsum(rng.normal(0, 0.3, 12)) + district.angle
        track = start + 40 * np.cumsum(np.stack([np.cos(steps), np.sin(steps)], 1), 0)
        track = _smooth(np.vstack([start, track]), 60)
        _stroke(canvas, track, int(rng.integers(2, 6)), _tone(rng, 85, 130))


def _houses(canvas: _Canvas, district: _District) -> None:
    """Fill the four quarters of a district with rows of buildings of one style."""
    rng = canvas.rng
    size = rng.choice([9.0, 16.0, 28.0, 60.0], p=[0.3, 0.35, 0.25, 0.1])
    roof = _tone(rng, 80, 225, 8)
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
    canvas: _Canvas,
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
    tone = roof + rng.normal(0, 22)
    floors = rng.uniform(3, 9) if half.max() < 30 else rng.uniform(6, 26)
    for u, v, du, dv in pieces:
        _fill(canvas, district.quad(u, v, du, dv), BUILDING, tone, floors)
        if rng.random() < 0.5:
            lit = district.quad(u, v - dv / 2, du, dv / 2)
            _fill(canvas, lit, BUILDING, tone + rng.uniform(12, 35), floors)
        for _ in range(int(du * dv / 160)):
            ou, ov = rng.uniform(-0.8, 0.8, 2) * (du, dv)
            box = district.quad(u + ou, v + ov, 1.5, 1.5)
            _fill(canvas, box, BUILDING, tone + rng.choice([-45, 40]), floors)


def _pool(
    canvas: _Canvas, district: _District, place: tuple[float, float], half: float
) -> None:
    blue = np.array([165, 145, 80], np.float32) + canvas.rng.normal(0, 12)
    _fill(canvas, district.quad(*place, half, half * 0.6), WATER, blue, 0)


def _fill(
    canvas: _Canvas, quad: np.ndarray, label: int, color: np.ndarray, rise: float
) -> None:
    """Fill one polygon inside its bounding box; one that touches road or water is left out."""
    height, width = canvas.labels.shape
    left, top = np.maximum(quad.min(0) // 16 - 1, 0)
    right, bottom = np.minimum(quad.max(0) // 16 + 2, (width, height))
    if left >= right or top >= bottom:
        return
    box = np.s_[top:bottom, left:right]
    region = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillConvexPoly(region, quad - 16 * np.array([left, top]), 1, cv2.LINE_8, 4)
    inside = region.astype(bool)
    if not inside.any() or np.isin(canvas.labels[box][inside], (ROAD, WATER)).any():
        return
    grain = canvas.rng.normal(0, 4, (int(inside.sum()), 1)).astype(np.float32)
    canvas.image[box][inside] = color + grain
    canvas.labels[box][inside] = label
    canvas.heights[box][inside] = rise


def _highways(canvas: _Canvas) -> None:
    """Draw a few long bends of one or two carriageways, with cars."""
    rng = canvas.rng
    height, width = canvas.labels.shape
    for _ in range(1 + (height * width) // 3_000_000):
        along = np.linspace(-0.1, 1.1, 7)
        bend = np.cumsum(rng.normal(0, 0.06, 7)) + rng.uniform(0.05, 0.95)
        across, down = (along, bend) if rng.random() < 0.5 else (bend, along)
        points = _smooth(np.stack([across * width, down * height], 1), 80)
        wide, asphalt = int(rng.integers(12, 30)), _asphalt(rng)
        _stroke(canvas, points, wide, asphalt)
        if rng.random() < 0.6:
            _stroke(canvas, points + wide * 1.35, wide, asphalt)
        _cars(canvas, points, wide)


def _cars(canvas: _Canvas, points: np.ndarray, wide: int) -> None:
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


def _trees(canvas: _Canvas) -> None:
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
    green = _tone(rng, 38, 62) + np.float32([0, 10, 0])
    canvas.paint(region, VEGETATION, green, 12)
    canvas.heights[region] = 3


def _finish(canvas: _Canvas) -> np.ndarray:
    """Cast shadows, light, blur of the optics and noise of the sensor."""
    rng, image = canvas.rng, canvas.image
    height, width = canvas.labels.shape
    shade = np.zeros((height, width), bool)
    angle = rng.uniform(0, 2 * np.pi)
    for reach in range(2, 27, 2):
        shift = np.float32([[1, 0, reach * np.cos(angle)], [0, 1, reach * np.sin(angle)]])
        moved = cv2.warpAffine(canvas.heights, shift, (width, height), flags=cv2.INTER_NEAREST)
        shade |= (moved >= reach) & (moved > canvas.heights)
    image[shade] *= 0.45
    image *= (1 + 0.05 * field(rng, height, width, 1200))[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 0.8))
    image += rng.normal(0, 3, (height, width, 1)).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)
