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
"""Generated landscapes: seeded, exact, and of the sizes that their resolution says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.synthetic import estates
from uhr_seg_ros.synthetic.canvas import BUILDING, Canvas, LAND, ROAD, VEGETATION
from uhr_seg_ros.synthetic.landscapes import generate_landscape, SCENERIES
from uhr_seg_ros.synthetic.site import Site


def site(resolution: float, side: int) -> Site:
    shape = (side, side)
    image = np.zeros((*shape, 3), np.float32)
    canvas = Canvas(
        np.random.default_rng(3),
        image,
        np.full(shape, LAND, np.uint8),
        np.zeros(shape, np.float32),
    )
    return Site(canvas, resolution, 0.3)


def test_same_seed_same_landscape() -> None:
    one, same, other = (SCENERIES['varied'](seed, 120, 170) for seed in (1, 1, 2))
    assert np.array_equal(one[0], same[0]) and np.array_equal(one[1], same[1])
    assert not np.array_equal(one[1], other[1])
    assert one[0].shape == (120, 170, 3) and one[0].dtype == one[1].dtype == np.uint8
    assert one[1].shape == (120, 170) and one[1].max() < 5


@pytest.mark.parametrize('resolution', [0.1, 1.0])
def test_every_class_occurs(resolution: float) -> None:
    found = [generate_landscape(seed, 128, 128, resolution)[1] for seed in range(8)]
    shares = np.bincount(np.stack(found).ravel(), minlength=5) / (8 * 128 * 128)
    assert np.count_nonzero(shares) == 5, shares
    assert shares.max() < 0.8, shares


def test_halls_have_their_size_in_meters() -> None:
    areas = []
    for resolution, side in ((0.5, 600), (1.0, 300)):
        place = site(resolution, side)
        estates._halls(place, np.array([150.0, 150.0]), 0.3)
        _, _, statistics, _ = cv2.connectedComponentsWithStats(
            (place.canvas.labels == BUILDING).astype(np.uint8)
        )
        areas.append(statistics[1:, cv2.CC_STAT_AREA].max() * resolution**2)
    assert areas[0] == pytest.approx(areas[1], rel=0.05)
    assert 60 * 30 <= areas[0] <= 200 * 90


def test_cars_belong_to_their_car_park() -> None:
    place = site(0.1, 800)
    estates._car_park(place, np.array([40.0, 40.0]), 0.3)
    labels, image = place.canvas.labels, place.canvas.image
    assert set(np.unique(labels)) == {LAND, ROAD}
    assert image[labels == ROAD].std() > 30
    assert (image[labels == LAND] == 0).all()


def test_rows_closer_than_pixels_blend() -> None:
    place = site(0.5, 64)
    assert place.rows(0.4)[1] == 0
    assert place.rows(6.0)[1] == 1


def test_refused() -> None:
    with pytest.raises(ConfigError, match=r'resolution is 2 m per px, expected 0.02 to 1'):
        generate_landscape(0, 10, 10, 2)
    with pytest.raises(ConfigError, match='height is 0'):
        generate_landscape(0, 0, 10)


def test_vegetation_is_of_many_colors() -> None:
    """What a network may not learn: that vegetation has one color."""
    means = []
    for seed in range(10):
        image, labels = generate_landscape(seed, 96, 96, 0.3)
        if (labels == VEGETATION).sum() > 200:
            means.append(image[labels == VEGETATION].mean(0))
    assert len(means) > 5
    assert np.std(means, axis=0).min() > 10
