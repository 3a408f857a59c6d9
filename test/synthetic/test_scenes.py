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

"""Generated scenes: seeded, of any size, with exact labels."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.synthetic.canvas import BUILDING, ROAD, WATER
from uhr_seg_ros.synthetic.scenes import generate_scene


def test_same_seed_same_scene() -> None:
    first, second = generate_scene(7, 300, 420), generate_scene(7, 300, 420)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_other_seed_other_scene() -> None:
    assert not np.array_equal(generate_scene(7, 300, 420)[1], generate_scene(8, 300, 420)[1])


@pytest.mark.parametrize('size', [(1, 1), (5, 70), (333, 217), (64, 1000)])
def test_sizes(size: tuple[int, int]) -> None:
    image, labels = generate_scene(1, *size)
    assert image.shape == (*size, 3)
    assert labels.shape == size
    assert image.dtype == labels.dtype == np.uint8


def test_every_class_occurs() -> None:
    _, labels = generate_scene(2, 1000, 1400)
    shares = np.bincount(labels.ravel(), minlength=5) / labels.size
    assert len(shares) == 5
    assert shares.min() > 0.01


def test_labels_are_what_is_painted() -> None:
    image, labels = generate_scene(2, 1000, 1400)
    brightness = image.mean(2)
    assert brightness[labels == WATER].mean() < brightness[labels == ROAD].mean()
    assert brightness[labels == ROAD].mean() < brightness[labels == BUILDING].mean()


def test_thin_roads_and_tiny_buildings_occur() -> None:
    cv2 = pytest.importorskip('cv2', reason='the picture is read with OpenCV')
    _, labels = generate_scene(2, 1000, 1400)
    road = (labels == ROAD).astype(np.uint8)
    thin = road & (1 - cv2.morphologyEx(road, cv2.MORPH_OPEN, np.ones((7, 7), np.uint8)))
    assert thin.sum() > 300
    count, _, stats, _ = cv2.connectedComponentsWithStats((labels == BUILDING).astype(np.uint8))
    areas = stats[1:count, cv2.CC_STAT_AREA]
    assert (areas < 200).sum() >= 5


@pytest.mark.parametrize('size', [(0, 10), (10, 30000)])
def test_absurd_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match='expected 1 to 20000'):
        generate_scene(1, *size)
