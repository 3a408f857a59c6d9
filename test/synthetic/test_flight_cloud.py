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

"""The LiDAR of a flight: its points lie on the rays of their pixels, in its own frame."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.synthetic.canvas import BUILDING, LAND
from uhr_seg_ros.synthetic.flight import cut_frame, frame_to_mosaic, Pose
from uhr_seg_ros.synthetic.flight_cloud import (
    ALTITUDE,
    cloud_delay_ns,
    COLUMNS,
    flight_camera,
    Ground,
    LINES,
    OPTICAL_FROM_LIDAR,
    scan,
    scan_pixels,
)

SIZES = [(2160, 3840), (96, 160)]


@pytest.mark.parametrize('size', SIZES)
def test_points_lie_on_the_rays_of_their_pixels(size: tuple[int, int]) -> None:
    rows, columns = scan_pixels(size)
    assert rows.shape == columns.shape == (min(LINES, size[0]), min(COLUMNS, size[1]))
    assert (rows.max(), columns.max()) == (size[0] - 1, size[1] - 1)
    points = scan(size, Pose(700.0, 400.0, 0.1), Ground(size[1]))
    assert points.dtype == np.float32
    camera = flight_camera(size)
    seen = camera.project(OPTICAL_FROM_LIDAR.apply(points.reshape(-1, 3)))
    np.testing.assert_allclose(seen.column, columns.reshape(-1), atol=0.01)
    np.testing.assert_allclose(seen.row, rows.reshape(-1), atol=0.01)
    # Neither the turn nor the offset is for show.
    unmoved = Transform(OPTICAL_FROM_LIDAR.rotation, np.zeros(3)).apply(points.reshape(-1, 3))
    shift = np.abs(camera.project(unmoved).row - rows.reshape(-1))
    assert shift.min() > 0.001 * size[1]


def test_frames_are_those_of_rep_103() -> None:
    points = scan((96, 160), Pose(80.0, 48.0, 0.0), Ground(160))
    ahead, left, up = np.moveaxis(points, -1, 0)
    assert ahead[0].min() > 0 > ahead[-1].max()  # the top of the image is ahead
    assert left[:, 0].min() > 0 > left[:, -1].max()
    np.testing.assert_allclose(up.mean(), -ALTITUDE, atol=3)
    assert np.ptp(up) > 1


@pytest.mark.parametrize('pose', [Pose(150.0, 100.0, 0.0), Pose(140.3, 95.6, 0.1)])
def test_the_ground_is_the_one_under_the_frame(pose: Pose) -> None:
    rows, columns = np.indices((200, 300), np.float32)
    cut = cut_frame(np.dstack((columns, rows)), pose, (54, 96))
    row, column = np.indices((54, 96)).reshape(2, -1)
    places = frame_to_mosaic(pose, (54, 96)) @ np.stack((column, row, np.ones_like(row)))
    # OpenCV weighs neighbours in steps of 1/32 px.
    np.testing.assert_allclose(cut.reshape(-1, 2).T, places, atol=1 / 16)


def test_houses_stand_on_the_ground() -> None:
    labels = np.full((100, 200), LAND, np.uint8)
    labels[40:60, 80:120] = BUILDING
    x, y = np.meshgrid(np.arange(200.0), np.arange(100.0))
    rise = Ground(160, labels).heights(x, y) - Ground(160).heights(x, y)
    assert rise[labels == BUILDING].min() > 1
    np.testing.assert_allclose(rise[labels == BUILDING], rise.max())
    assert not rise[labels == LAND].any()


def test_frames_over_the_same_place_measure_the_same_height() -> None:
    size, ground = (96, 160), Ground(160)
    first = scan(size, Pose(300.0, 200.0, 0.0), ground)
    moved = scan(size, Pose(310.0, 205.0, 0.0), ground)
    np.testing.assert_allclose(first[5:, 10:, 2], moved[:-5, :-10, 2], atol=1e-4)


@pytest.mark.parametrize('rate_hz', [0.1, 1.0, 30.0, 1000.0])
def test_a_cloud_is_nearest_to_its_own_frame(rate_hz: float) -> None:
    delay = cloud_delay_ns(rate_hz)
    assert 0 < delay < 50_000_000  # what the node accepts
    assert delay < 0.5e9 / rate_hz
