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

"""Rigid transforms as tf2 gives them."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.transform import IDENTITY, OPTICAL_FROM_BODY, Transform


def turn(axis: tuple[float, float, float], angle: float) -> list[float]:
    """Return the quaternion x, y, z, w of a turn about a unit axis."""
    return [*(math.sin(angle / 2) * part for part in axis), math.cos(angle / 2)]


@pytest.mark.parametrize('axis', [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.0, 0.8)])
def test_rotation_is_that_of_rodrigues(axis: tuple[float, float, float]) -> None:
    for angle in (0.0, 0.3, -2.0, math.pi):
        transform = Transform.of_quaternion((0, 0, 0), turn(axis, angle))
        expected, _ = cv2.Rodrigues(np.array(axis) * angle)
        np.testing.assert_allclose(transform.rotation, expected, atol=1e-12)


def test_points_are_turned_then_moved() -> None:
    transform = Transform.of_quaternion((1, 2, 3), turn((0, 0, 1), math.pi / 2))
    moved = transform.apply(np.float32([[1, 0, 0], [0, 1, 0]]))
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved.T, [[1, 3, 3], [0, 2, 3]], atol=1e-6)


def test_inverse_and_product() -> None:
    first = Transform.of_quaternion((1, -2, 0.5), turn((0.6, 0.0, 0.8), 1.1))
    second = Transform.of_quaternion((0, 4, 1), turn((0, 1, 0), -0.4))
    points = np.random.default_rng(0).normal(size=(50, 3))
    both = (second @ first).apply(points)
    np.testing.assert_allclose(both, second.apply(first.apply(points).T), atol=1e-5)
    back = (first.inverse() @ first).apply(points)
    np.testing.assert_allclose(back, IDENTITY.apply(points), atol=1e-6)


def test_optical_frame_looks_forward() -> None:
    """REP-103: a point ahead, left and above is in front, at negative x and negative y."""
    assert OPTICAL_FROM_BODY.apply(np.float64([[5, 2, 1]])).T.tolist() == [[-2, -1, 5]]


def test_a_maps_coordinates_keep_their_precision() -> None:
    origin = np.array([512_345.0, 5_403_210.0, 310.0])
    points = origin + np.random.default_rng(0).uniform(-50, 50, (100, 3))
    local = Transform.of_quaternion(-origin, (0, 0, 0, 1)).apply(points).T
    np.testing.assert_allclose(local, points - origin, atol=1e-5)


def test_quaternion_is_normalised() -> None:
    rotation = Transform.of_quaternion((0, 0, 0), (0, 0, 0.707, 0.707)).rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ('translation', 'quaternion', 'message'),
    [
        ((0, 0, 0), (0, 0, 0, 0), r'norm 0: expected 1; no rotation is 0, 0, 0, 1'),
        ((0, 0, 0), (0, 0, 0, 2), 'norm 2'),
        ((0, 0, 0), (0, 0, math.nan, 1), 'quaternion .*nan.* is not finite'),
        ((0, math.inf, 0), (0, 0, 0, 1), 'translation .*inf.* is not finite'),
        ((0, 0), (0, 0, 0, 1), 'has 2 numbers: expected 3'),
        ((0, 0, 0), (0, 0, 1), 'has 3 numbers: expected 4'),
    ],
)
def test_what_is_no_transform(
    translation: tuple[float, ...], quaternion: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Transform.of_quaternion(translation, quaternion)
