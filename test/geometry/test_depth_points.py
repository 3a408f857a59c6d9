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

"""Depth images as points."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.depth import depth_points, pixel_rays

HEIGHT, WIDTH = 48, 64

LENSES = {
    'pinhole': ('plumb_bob', ()),
    'barrel': ('plumb_bob', (-0.3, 0.1, 1e-3, -1e-3, -0.01)),
    'rational': ('rational_polynomial', (0.62, -0.21, 4e-4, -3e-4, 0.017, 0.95, -0.16, 0.012)),
    'fisheye': ('equidistant', (0.02, -0.01, 0.003, -0.001)),
    'ideal fisheye': ('equidistant', ()),
}


def camera_with(lens: str, focal: float = 50.0) -> Camera:
    model, distortion = LENSES[lens]
    return Camera(model, (focal, focal), (31.0, 24.5), distortion, HEIGHT, WIDTH)


@pytest.mark.parametrize('lens', LENSES)
def test_points_fall_back_on_their_pixels(lens: str) -> None:
    camera = camera_with(lens)
    depth = np.random.default_rng(0).uniform(0.3, 20, (HEIGHT, WIDTH)).astype(np.float32)
    points = depth_points(depth, camera)
    assert points.shape == (HEIGHT * WIDTH, 3)
    assert points.dtype == np.float32
    rows, columns = np.indices(depth.shape)
    projected = camera.project(np.ascontiguousarray(points.T))
    np.testing.assert_allclose(projected.column, columns.ravel(), atol=0.1)
    np.testing.assert_allclose(projected.row, rows.ravel(), atol=0.1)
    np.testing.assert_array_equal(points[:, 2], depth.ravel())


def test_pixels_without_depth_are_no_points() -> None:
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[0, :5] = [0, np.nan, np.inf, -1, -np.inf]
    points = depth_points(depth, camera_with('pinhole'))
    assert len(points) == HEIGHT * WIDTH - 5
    assert np.isfinite(points).all()


def test_pixels_without_a_ray_are_no_points() -> None:
    """The image circle of a fisheye ends before the corners of the image."""
    camera = camera_with('ideal fisheye', focal=18.0)
    points = depth_points(np.ones((HEIGHT, WIDTH), np.float32), camera)
    assert HEIGHT * WIDTH * 0.5 < len(points) < HEIGHT * WIDTH
    assert np.isnan(pixel_rays(camera)[:, 0, 0]).all()


def test_rays_are_computed_once() -> None:
    assert pixel_rays(camera_with('barrel')) is pixel_rays(camera_with('barrel'))


def test_calibration_of_another_size() -> None:
    with pytest.raises(ConfigError, match='depth image is 3 x 2, but .* for 64 x 48'):
        depth_points(np.ones((2, 3), np.float32), camera_with('pinhole'))
