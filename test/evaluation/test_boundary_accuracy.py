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

"""Mean boundary accuracy against distances of scipy, and by hand."""

from __future__ import annotations

from mask_pairs import CLASSES, pair
import numpy as np
import pytest

from uhr_seg_ros.evaluation.block import Block
from uhr_seg_ros.evaluation.boundary_metrics import BoundaryAccuracy, radii_for


def measured(labels: np.ndarray, mask: np.ndarray) -> BoundaryAccuracy:
    metric = BoundaryAccuracy()
    metric.add(Block.whole(labels, mask))
    metric.end_image()
    return metric


def test_radii() -> None:
    assert radii_for((100, 120)) == [1, 1, 1, 1, 1]
    assert radii_for((1500, 1500)) == [1, 2, 4, 6, 8]
    assert radii_for((6184, 5450)) == [1, 8, 16, 23, 31]


@pytest.mark.parametrize('ignored', [False, True])
def test_equals_distances(ignored: bool) -> None:
    ndimage = pytest.importorskip('scipy.ndimage', reason='scipy is the reference')
    labels, mask = pair(2, (700, 820), grain=20.0, ignored=ignored)
    distance = np.full(labels.shape, np.inf)
    for index in range(CLASSES):
        others = (labels != index) & (labels != 255)
        inside = labels == index
        distance[inside] = ndimage.distance_transform_edt(~others)[inside]
    shares = []
    for radius in (1, 1, 2, 3, 4):
        band = distance <= radius
        shares.append((labels == mask)[band].mean())
    assert radii_for(labels.shape) == [1, 1, 2, 3, 4]
    assert measured(labels, mask).value() == pytest.approx(np.mean(shares))


def test_by_hand() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[:, 10:] = 1
    mask = labels.copy()
    mask[:5, 10] = 0
    # The band are columns 9 and 10: 40 px, 5 of them wrong.
    assert measured(labels, mask).value() == pytest.approx(35 / 40)


def test_an_image_without_an_edge_has_none() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[:, 10:] = 255
    metric = measured(labels, np.ones_like(labels))
    assert np.isnan(metric.value())
    metric.add(Block.whole(np.eye(20, dtype=np.uint8), np.eye(20, dtype=np.uint8)))
    metric.end_image()
    assert metric.value() == 1.0
