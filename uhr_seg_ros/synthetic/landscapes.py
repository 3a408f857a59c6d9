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
Seeded scenes of farmland and towns from the air, at 2 cm to 1 m per px, with exact labels.

Where `scenes` draws one desert at one height, this draws what a flight elsewhere meets: lawns,
crops in rows, ploughed soil, woods, ponds with algae, roofs of many colors and sizes, greenhouses,
car parks, and their shadows. Everything has its size in meters; what is finer than a pixel blends.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.synthetic.canvas import Canvas, LAND, VEGETATION, WATER
from uhr_seg_ros.synthetic.estates import draw_estates
from uhr_seg_ros.synthetic.scenes import check_size, generate_scene
from uhr_seg_ros.synthetic.site import colored, Site

#: Range of the ground resolution, m per px.
FINEST, COARSEST = 0.02, 1.0

#: Colors of the ground, BGR.
SOILS = ((150, 185, 205), (60, 90, 135), (45, 60, 80), (95, 120, 145), (170, 180, 185))
LAWNS = ((60, 135, 95), (50, 110, 75), (75, 150, 120))
CROPS = ((45, 120, 85), (60, 150, 150), (70, 165, 190), (40, 95, 60))
WOODS = ((35, 70, 45), (30, 55, 40), (45, 85, 90))
WATERS = (
    (95, 80, 45),
    (55, 95, 70),
    (70, 105, 120),
    (40, 38, 30),
    (120, 115, 70),
    (165, 160, 150),
)


def generate_landscape(
    seed: int, height: int, width: int, resolution: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """
    Draw a scene.

    Args:
        seed: The same seed, size and resolution give the same scene.
        height: px.
        width: px.
        resolution: Ground resolution, m per px, `FINEST` to `COARSEST`; None draws one.

    Returns:
        Image (H, W, 3) uint8 BGR and labels (H, W) uint8, as `scenes.generate_scene`.

    Raises:
        ConfigError: A side or the resolution is out of its range.
    """
    check_size(height, width)
    rng = np.random.default_rng((seed, 7))
    if resolution is None:
        resolution = float(np.exp(rng.uniform(*np.log([FINEST, COARSEST]))))
    if not FINEST <= resolution <= COARSEST:
        msg = f'resolution is {resolution:g} m per px, expected {FINEST:g} to {COARSEST:g}'
        raise ConfigError(msg)
    image = np.zeros((height, width, 3), np.float32)
    labels = np.full((height, width), LAND, np.uint8)
    canvas = Canvas(rng, image, labels, np.zeros((height, width), np.float32))
    site = Site(canvas, resolution, rng.uniform(0, np.pi / 2))
    _parcels(site)
    _water(site)
    draw_estates(site)
    _trees(site)
    return _finish(site), canvas.labels


def _parcels(site: Site) -> None:
    """Cut the ground into parcels, each of one use."""
    rng, (u, v) = site.rng, site.meters()
    side = rng.uniform(25, 160)
    edges = [np.sort(rng.uniform(each.min(), each.max(), _count(each, side))) for each in (u, v)]
    column, row = (np.searchsorted(edge, each) for edge, each in zip(edges, (u, v), strict=True))
    parcel = (row * (len(edges[0]) + 1) + column).astype(np.int32)
    _soil(site, np.ones(parcel.shape, bool))
    uses: tuple[Callable[[Site, np.ndarray], None], ...] = (_soil, _ploughed, _lawn, _crops, _wood)
    for index in np.unique(parcel):
        uses[int(rng.choice(len(uses), p=(0.25, 0.2, 0.25, 0.2, 0.1)))](site, parcel == index)


def _count(meters: np.ndarray, side: float) -> int:
    return int((meters.max() - meters.min()) / side)


def _soil(site: Site, region: np.ndarray) -> None:
    tone = colored(site.rng, SOILS)
    site.canvas.paint(region, LAND, tone, 4)
    site.shade(region, (9, 30.0), (6, 4.0), (8, 0.4), (6, 0.08))


def _ploughed(site: Site, region: np.ndarray) -> None:
    """Bare soil in furrows."""
    _soil(site, region)
    wave, seen = site.rows(site.rng.uniform(0.3, 1.2))
    site.canvas.image[region] += (22 * seen * wave)[region, None]


def _lawn(site: Site, region: np.ndarray) -> None:
    site.canvas.paint(region, VEGETATION, colored(site.rng, LAWNS), 5)
    site.shade(region, (8, 12.0), (7, 1.5), (10, 0.2), (12, 0.05))
    if site.rng.random() < 0.4:  # stripes of the mower
        wave, seen = site.rows(site.rng.uniform(1.0, 5.0))
        site.canvas.image[region] += (8 * seen * np.sign(wave))[region, None]


def _crops(site: Site, region: np.ndarray) -> None:
    """Plants in rows; between wide ones that can be told apart the soil shows, as land."""
    rng = site.rng
    _soil(site, region)
    spacing, closed = rng.uniform(0.3, 4.0), rng.uniform(0.35, 1.0)
    wave, seen = site.rows(spacing)
    cover = closed + (1 - closed) * site.noise(20)
    # The share of a period that plants cover; a resolved gap of 4 px or more is soil.
    plants = region & ((wave + 1) / 2 <= np.clip(cover, 0.05, 1))
    if spacing * (1 - closed) < 4 * site.resolution:
        plants = region
    site.canvas.paint(plants, VEGETATION, colored(rng, CROPS), 6)
    site.shade(plants, (10, 15.0), (9, 0.6), (10, 0.12))
    if plants is region:
        site.canvas.image[region] += (14 * seen * wave)[region, None]
    site.canvas.heights[plants] = rng.uniform(0, 1.0) / site.resolution


def _wood(site: Site, region: np.ndarray) -> None:
    crowns = site.noise(6)
    trees = region & (crowns > site.rng.uniform(-1.5, 0.3))
    site.canvas.paint(trees, VEGETATION, colored(site.rng, WOODS), 7)
    site.canvas.image[trees] += (16 * crowns)[trees, None]
    site.shade(trees, (12, 1.0), (8, 0.2))
    site.canvas.heights[trees] = 6 / site.resolution


def _water(site: Site) -> None:
    """Ponds and a stream of any color, smooth, rippled or under algae."""
    rng, canvas = site.rng, site.canvas
    level = site.noise(rng.uniform(15, 250))
    region = level > rng.uniform(0.8, 2.2)
    if rng.random() < 0.3:
        region |= np.abs(site.noise(200)) < 0.05
    canvas.paint(region, WATER, colored(rng, WATERS), 3)
    canvas.heights[region] = 0
    if rng.random() < 0.6:
        ripples = rng.uniform(0, 9) * site.noise(0.6)
        canvas.image[region] += ripples[region, None]
    if rng.random() < 0.4:
        bloom = site.noise(12) > rng.uniform(0.3, 1.5)
        share = np.float32(rng.uniform(0.3, 0.9))
        green = np.array([60, 120, 90], np.float32) + rng.normal(0, 12, 3).astype(np.float32)
        algae = region & bloom
        canvas.image[algae] += share * (green - canvas.image[algae])
    if rng.random() < 0.3:  # the sun
        glint = region & (site.noise(1) > 2.2)
        canvas.image[glint] += 90


def _trees(site: Site) -> None:
    """Single trees and hedges beside everything else."""
    rng, canvas = site.rng, site.canvas
    height, width = canvas.labels.shape
    crowns = np.zeros((height, width), np.uint8)
    for _ in range(
        min(int(height * width * site.resolution**2 / rng.uniform(150, 1500)) + 1, 4000)
    ):
        center = int(rng.integers(width)), int(rng.integers(height))
        radius = rng.uniform(0.8, 4.5) / site.resolution
        for _ in range(4 if radius > 6 else 1):
            x, y = (np.array(center) + rng.normal(0, radius / 3, 2)).astype(int)
            cv2.circle(crowns, (int(x), int(y)), max(int(radius * rng.uniform(0.6, 1)), 1), 1, -1)
    region = (crowns > 0) & np.isin(canvas.labels, (LAND, VEGETATION))
    canvas.paint(region, VEGETATION, colored(rng, WOODS), 9)
    site.shade(region, (14, 1.0), (10, 0.2))
    canvas.heights[region] = rng.uniform(3, 9) / site.resolution


def _finish(site: Site) -> np.ndarray:
    """Cast shadows, then light, haze, blur of the optics and noise of the sensor."""
    rng, image = site.rng, site.canvas.image
    heights = site.canvas.heights
    shade = np.zeros(heights.shape, bool)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 2.0)  # height per length
    longest = min(heights.max() / slope, max(image.shape[:2]) / 4)
    step = max(longest / 24, 1.0)
    for reach in np.arange(step, longest + step, step):
        way = np.array([[1, 0, reach * np.cos(angle)], [0, 1, reach * np.sin(angle)]], np.float32)
        moved = cv2.warpAffine(heights, way, heights.shape[::-1], flags=cv2.INTER_NEAREST)
        shade |= moved - reach * slope > heights + 1
    light = np.where(shade, rng.uniform(0.35, 0.7), 1).astype(np.float32)
    image *= cv2.GaussianBlur(light, (0, 0), 1.0)[..., None]
    image *= 1 + rng.uniform(-0.12, 0.12, 3).astype(np.float32)
    haze = np.float32(rng.uniform(0, 0.3) * (rng.random() < 0.5))
    image += haze * (200 - image)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9))
    image += rng.normal(0, rng.uniform(1, 4), image.shape).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


#: What generated scenes may show: name -> function of seed, height and width, px.
SCENERIES: dict[str, Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]] = {
    'desert': generate_scene,
    'varied': generate_landscape,
}
