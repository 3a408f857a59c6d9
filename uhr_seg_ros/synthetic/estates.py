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

"""What is built in generated places: roads, houses, halls, greenhouses and car parks."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.synthetic.canvas import asphalt, BUILDING, fill, LAND, ROAD, smooth, stroke, tone
from uhr_seg_ros.synthetic.site import colored, Site

#: Colors of roofs, BGR: white, gravel, tiles, slate, panels, coated metal, rust, moss.
ROOFS = (
    (235, 235, 232),
    (165, 170, 172),
    (60, 85, 165),
    (70, 68, 66),
    (75, 50, 35),
    (150, 120, 85),
    (65, 90, 130),
    (90, 125, 105),
)
#: Colors of cars, BGR.
CARS = ((235, 235, 235), (25, 25, 25), (120, 120, 120), (45, 40, 150), (130, 70, 35))
#: Estates per square km, and at least so many in sight.
PER_KM2, FEWEST = 60, 1
#: At most so many in sight.
MOST = 40


def draw_estates(site: Site) -> None:
    """Draw roads through the place, and along them estates of one kind each."""
    rng = site.rng
    wide, high = site.extent
    for _ in range(1 + int(wide * high / 150_000)):
        if rng.random() < 0.8:
            _road(site)
    kinds = (_houses, _houses, _halls, _greenhouses, _car_park)
    expected = PER_KM2 * wide * high / 1e6
    for _ in range(int(min(max(rng.poisson(expected), FEWEST), MOST))):
        center = rng.uniform(0, 1, 2) * (wide, high)
        kinds[int(rng.integers(len(kinds)))](site, center, site.angle + rng.normal(0, 0.05))


def _road(site: Site) -> None:
    """Draw one road right through: asphalt, concrete or unpaved, 2.5 to 12 m wide."""
    rng = site.rng
    extent = np.array(site.extent)
    along = np.linspace(-0.2, 1.2, 6)
    bend = rng.uniform(0, 1) + np.cumsum(rng.normal(0, 0.05, 6))
    across, down = (along, bend) if rng.random() < 0.5 else (bend, along)
    points = smooth(np.stack([across, down], 1) * extent / site.resolution, 60)
    kind = rng.random()
    color = asphalt(rng) if kind < 0.6 else tone(rng, 130, 200)
    if kind > 0.85:
        color = colored(rng, ((110, 140, 165), (80, 105, 140)))
    stroke(site.canvas, points, _pixels(site, rng.uniform(2.5, 12)), color)


def _pixels(site: Site, meters: float) -> int:
    return max(round(meters / site.resolution), 1)


def _houses(site: Site, center: np.ndarray, angle: float) -> None:
    """Draw a street with houses on both sides, of one style with exceptions."""
    rng = site.rng
    size, roof = rng.uniform(7, 16), colored(rng, ROOFS)
    way = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-way[1], way[0]])
    count, step = int(rng.integers(2, 8)), size * rng.uniform(1.25, 2.2)
    ends = np.stack([center - way * count * step / 2, center + way * count * step / 2])
    stroke(site.canvas, ends / site.resolution, _pixels(site, rng.uniform(3.5, 7)), asphalt(rng))
    for index in range(count):
        for sign in (-1, 1):
            if rng.random() < 0.15:
                continue
            place = ends[0] + way * (index + 0.5) * step + sign * side * (size * 0.9 + 5)
            own = roof if rng.random() < 0.7 else colored(rng, ROOFS)
            half = size * rng.uniform(0.35, 0.5, 2)
            _roof(site, place, half, angle, own, rng.uniform(3, 9))


def _roof(
    site: Site,
    center: np.ndarray,
    half: np.ndarray,
    angle: float,
    color: np.ndarray,
    rise: float,
) -> None:
    """Draw a gabled roof, or a flat one with a parapet; things stand on both."""
    rng, height = site.rng, rise / site.resolution
    side = np.array([-np.sin(angle), np.cos(angle)])
    if not fill(site.canvas, site.quad(center, half, angle), BUILDING, color, height):
        return
    if rng.random() < 0.6:
        lit = site.quad(center + side * half[1] / 2, half * (1, 0.5), angle)
        fill(site.canvas, lit, BUILDING, color * rng.uniform(0.55, 0.85), height)
    else:
        fill(site.canvas, site.quad(center, half * 0.92, angle), BUILDING, color * 0.93, height)
    for _ in range(int(rng.integers(0, 4))):
        place = center + rng.uniform(-0.7, 0.7, 2) @ _axes(angle) * half.min()
        box = site.quad(place, rng.uniform(0.3, 1.2, 2), angle)
        fill(site.canvas, box, BUILDING, tone(rng, 40, 230), height)


def _axes(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def _halls(site: Site, center: np.ndarray, angle: float) -> None:
    """Draw a warehouse of 60 to 200 m, ribbed, with skylights, on a paved yard."""
    rng = site.rng
    half = np.array([rng.uniform(30, 100), rng.uniform(15, 45)])
    yard = site.quad(center, half + rng.uniform(8, 25), angle)
    if fill(site.canvas, yard, ROAD, tone(rng, 90, 170), 0):
        _clear(site, center, half, angle)
    color, height = colored(rng, ROOFS), rng.uniform(7, 14) / site.resolution
    if not fill(site.canvas, site.quad(center, half, angle), BUILDING, color, height):
        return
    axes = _axes(angle)
    ribs = int(half[0] * 2 / rng.uniform(5, 12))
    for index in range(ribs):
        place = center + axes[0] * ((index + 0.5) / ribs * 2 - 1) * half[0]
        strip = site.quad(place, (half[0] / ribs * 0.45, half[1] * 0.98), angle)
        shade = rng.normal(0, 3) - 6 * (index % 2)
        fill(site.canvas, strip, BUILDING, color + shade, height)
        if rng.random() < 0.5:
            sky = site.quad(place, (0.8, half[1] * rng.uniform(0.3, 0.8)), angle)
            fill(site.canvas, sky, BUILDING, tone(rng, 190, 245), height)


def _clear(site: Site, center: np.ndarray, half: np.ndarray, angle: float) -> None:
    """Open a place for a building on a yard: `fill` keeps off roads."""
    region = np.zeros(site.canvas.labels.shape, np.uint8)
    cv2.fillConvexPoly(region, site.quad(center, half + 0.5, angle), 1, cv2.LINE_8, 4)
    site.canvas.labels[(region > 0) & (site.canvas.labels == ROAD)] = LAND


def _greenhouses(site: Site, center: np.ndarray, angle: float) -> None:
    """Draw rows of pale vaults side by side, plants shining through."""
    rng, axes = site.rng, _axes(angle)
    span, length = rng.uniform(3, 10), rng.uniform(15, 80)
    pale, height = tone(rng, 165, 235), 3 / site.resolution
    through = rng.uniform(0, 0.4)
    color = pale * (1 - through) + through * np.array([70, 130, 90], np.float32)
    count = int(rng.integers(3, 14))
    for index in range(count):
        place = center + axes[1] * (index - count / 2) * span
        vault = site.quad(place, (length / 2, span / 2), angle)
        if not fill(site.canvas, vault, BUILDING, color, height):
            continue
        for offset, change in ((-0.25, -18), (0.0, 22)):
            ridge = site.quad(place + axes[1] * offset * span, (length / 2, span * 0.08), angle)
            fill(site.canvas, ridge, BUILDING, color + change, height)


def _car_park(site: Site, center: np.ndarray, angle: float) -> None:
    """Draw a paved place with marked bays, some of them taken; cars are part of it."""
    rng, axes = site.rng, _axes(angle)
    half = np.array([rng.uniform(15, 45), rng.uniform(10, 30)])
    gray = asphalt(rng)
    if not fill(site.canvas, site.quad(center, half, angle), ROAD, gray, 0):
        return
    place = site.canvas.labels == ROAD
    taken = rng.uniform(0.2, 0.9)
    for row in np.arange(-half[1] + 3, half[1] - 3, 8.5):
        for bay in np.arange(-half[0] + 2, half[0] - 2, 2.6):
            spot = center + axes[0] * bay + axes[1] * row
            line = site.quad(spot + axes[0] * 1.3, (0.06, 2.4), angle)
            _mark(site, line, np.full(3, 215, np.float32), place)
            if rng.random() < taken:
                car = site.quad(spot, (0.9, 2.2), angle)
                paint = colored(rng, CARS)
                _mark(site, car, paint, place)
                glass = site.quad(spot - axes[1] * 0.5, (0.75, 0.35), angle)
                _mark(site, glass, np.full(3, 40, np.float32), place)


def _mark(site: Site, quad: np.ndarray, color: np.ndarray, place: np.ndarray) -> None:
    """Paint a polygon where the place is, without a change of its label."""
    height, width = site.canvas.labels.shape
    left, top = np.maximum(quad.min(0) // 16 - 1, 0)
    right, bottom = np.minimum(quad.max(0) // 16 + 2, (width, height))
    if left >= right or top >= bottom:
        return
    region = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillConvexPoly(region, quad - 16 * np.array([left, top]), 1, cv2.LINE_8, 4)
    inside = (region > 0) & place[top:bottom, left:right]
    site.canvas.image[top:bottom, left:right][inside] = color
