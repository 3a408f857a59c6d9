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

"""Objects of masks: what touches, what is too small, and where it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from uhr_seg_ros.pipelines import objects
from uhr_seg_ros.pipelines.objects import find_objects, MaskObject


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_pixels_that_touch_are_an_object(dtype: type) -> None:
    mask = np.zeros((20, 30), dtype)
    mask[3:7, 10:16] = 2
    mask[7, 16] = 2  # by a corner
    mask[15:17, 20:23] = 2
    mask[19, 29] = 2
    mask[12:15, 2:5] = 9
    confidence = np.full(mask.shape, 255, np.uint8)
    confidence[15:17, 20:23] = 51
    found = find_objects(mask, [2, 5], 6, confidence)
    large = MaskObject(2, 25, (10, 3, 7, 5), ((24 * 13 + 16.5) / 25, (24 * 5 + 7.5) / 25), 1.0)
    small = MaskObject(2, 6, (20, 15, 3, 2), (21.5, 16.0), 0.2)
    assert [each[:3] for each in found] == [each[:3] for each in (large, small)]
    for each, expected in zip(found, (large, small), strict=True):
        assert (*each.centroid, each.score) == pytest.approx((*expected.centroid, expected.score))
    assert len(find_objects(mask, [2], 1)) == 3
    (whole,) = find_objects(mask, [0], 1)
    assert whole.area == mask.size - 25 - 6 - 1 - 9
    assert whole.score == 1.0


def test_a_mask_of_noise_has_no_million_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, 'MAX_OBJECTS', 5)
    mask = np.zeros((40, 40), np.uint8)
    mask[::4, ::4] = 1
    mask[20:22, 20:23] = 1
    found = find_objects(mask, [1, 0], 1)
    assert len(found) == 5
    assert [each.area for each in found[:3]] == [1600 - 105, 6, 1]


@pytest.mark.parametrize('pixels_per_run', [0, 1 << 40], ids=['runs', 'pixels'])
@pytest.mark.parametrize('seed', range(6))
def test_objects_are_the_components_of_opencv(
    monkeypatch: pytest.MonkeyPatch, seed: int, pixels_per_run: int
) -> None:
    """Spirals, corners and sides of the mask too, by both ways of finding them."""
    monkeypatch.setattr(objects, '_PIXELS_PER_RUN', pixels_per_run)
    random = np.random.default_rng(seed)
    shape = [(1, 60), (60, 1), (4, 1), (33, 47), (64, 31), (40, 90)][seed]
    mask = random.integers(0, 3, shape).astype(np.uint8 if seed % 2 else np.uint16)
    if seed == 5:
        mask = np.repeat(random.integers(0, 4, (40, 9)), 10, 1).astype(np.uint8)
    confidence = random.integers(0, 256, shape).astype(np.uint8)
    ids, least = [2, 7, 0, 1], 2
    expected = []
    for class_id in ids:
        count, labels = cv2.connectedComponents((mask == class_id).astype(np.uint8))
        for label in range(1, count):
            y, x = np.nonzero(labels == label)
            if y.size >= least:
                box = (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
                center = x.sum() / x.size + 0.5, y.sum() / y.size + 0.5
                score = confidence[y, x].sum() / y.size / 255
                expected.append(MaskObject(class_id, y.size, box, center, score))
    expected.sort(key=lambda each: (-each.area, ids.index(each.class_id), *each.box[1::-1]))
    assert find_objects(mask, ids, least, confidence) == expected
    assert find_objects(mask, ids, least) == [each._replace(score=1.0) for each in expected]
    assert find_objects(mask[:, ::-1], [9], 1) == []
