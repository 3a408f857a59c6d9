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

"""Flicker: what changes from frame to frame, of a still and of a moving camera."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.evaluation.flicker import Flicker, moved, recording

STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def shifted(right: float, down: float) -> np.ndarray:
    return STILL + [[0.0, 0.0, right], [0.0, 0.0, down]]


def test_a_still_camera() -> None:
    flicker = Flicker()
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 1
    flicker.add(mask, STILL)
    flicker.add(mask, STILL)
    assert flicker.figures() == {'changed': 0.0, 'changed_inside': 0.0}
    other = mask.copy()
    other[:, 30] = 0  # the boundary moves by a px
    other[10:20, 2:12] = 2  # an area comes out of nowhere
    flicker.add(other, STILL)
    found = flicker.figures()
    assert found['changed'] == pytest.approx((40 + 100) / (2 * 40 * 60))
    assert found['changed_inside'] == pytest.approx(6 * 6 / (2 * 40 * 60))


def test_a_moving_camera_sees_the_same_ground() -> None:
    ground = np.random.default_rng(0).integers(0, 3, (80, 90)).astype(np.uint8)
    flicker = Flicker()
    for left, top in ((0, 0), (7, 4), (12, 9)):
        flicker.add(ground[top : top + 50, left : left + 60], shifted(left, top))
    assert flicker.changed == 0
    assert flicker.compared == 46 * 53 + 45 * 55


def test_what_was_not_seen_before() -> None:
    earlier = moved(np.ones((10, 20), np.uint8), STILL, shifted(5, 0))
    assert (earlier[:, :15] == 1).all()
    assert (earlier[:, 15:] == UNLABELED).all()


def test_a_recording() -> None:
    mosaic = np.random.default_rng(1).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    still = list(recording(mosaic, 3, (60, 80), moves=False))
    assert all(np.array_equal(matrix, still[0][1]) for _, matrix in still)
    noise = still[1][0].astype(int) - still[0][0]
    assert 1.0 < noise.std() < 4.0
    moving = list(recording(mosaic, 3, (60, 80), moves=True))
    assert not np.array_equal(moving[0][1], moving[1][1])
