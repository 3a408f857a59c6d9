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

"""The grid on the ground, against rays that are cast from the pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.depth import pixel_rays
from uhr_seg_ros.geometry.ground_plane import (
    FREE,
    ground_pixels,
    GroundGrid,
    occupancy,
    OCCUPIED,
    UNKNOWN,
)
from uhr_seg_ros.geometry.transform import OPTICAL_FROM_BODY, Transform

SIZE = 150, 240
PINHOLE = Camera('plumb_bob', (120.0, 118.0), (119.0, 74.0), (), *SIZE)
BARREL = Camera('plumb_bob', (120.0, 118.0), (119.0, 74.0), (-0.2, 0.03, 0.001, -0.001), *SIZE)
FISHEYE = Camera('equidistant', (90.0, 90.0), (119.0, 74.0), (0.01, -0.005, 0.0, 0.0), *SIZE)
VALUES = np.full(256, UNKNOWN, np.int8)
VALUES[[0, 1]] = FREE, OCCUPIED


def looking(eye: tuple[float, float, float], down: float, turn: float = 0.0) -> Transform:
    """Return the transform to a camera at `eye`, m, that looks so far down and aside, degrees."""
    about_z = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(turn)]))[0]
    about_y = cv2.Rodrigues(np.array([0.0, np.radians(down), 0.0]))[0]
    body = Transform(about_z @ about_y, np.array(eye))
    return OPTICAL_FROM_BODY @ body.inverse()


VIEWS = {
    'vehicle': (PINHOLE, looking((1.2, -0.1, 1.4), 15.0), 0.0),
    'vehicle with a lens': (BARREL, looking((1.2, 0.3, 1.4), 25.0, 40.0), 0.0),
    'fisheye': (FISHEYE, looking((0.0, 0.0, 2.0), 30.0, -120.0), 0.0),
    'drone': (PINHOLE, looking((230.4, -71.3, 12.0), 90.0, 33.0), 4.0),
    'tilted drone': (BARREL, looking((-5.0, 3.0, 8.0), 60.0, 200.0), 0.0),
}


def ground_class(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the class of places on the ground: discs of 1.6 m, 3 m apart, on free ground."""
    return (np.hypot(x % 3.0 - 1.5, y % 3.0 - 1.5) < 0.8).astype(np.uint8)


def cast(camera: Camera, pose: Transform, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of a camera over that ground, 2 above it, and where its rays end, m."""
    rays = pixel_rays(camera)
    directions = np.stack((*rays, np.ones(SIZE, np.float32)), axis=-1).astype(np.float64)
    to_world = pose.inverse()
    world = directions @ to_world.rotation.T
    with np.errstate(divide='ignore', invalid='ignore'):
        length = (z - to_world.translation[2]) / world[..., 2]
        ends = to_world.translation + world * length[..., None]
        on_ground = np.isfinite(length) & (length > 0)
        mask = np.where(on_ground, ground_class(ends[..., 0], ends[..., 1]), 2)
    ends[~on_ground] = np.nan
    return mask.astype(np.uint8), ends


@pytest.mark.parametrize('view', VIEWS)
def test_cells_hold_what_the_rays_of_the_pixels_meet(view: str) -> None:
    camera, pose, z = VIEWS[view]
    mask, ends = cast(camera, pose, z)
    eye = pose.inverse().translation
    grid = GroundGrid.around((eye[0], eye[1]), z, 6.0, 0.15)
    cells = occupancy(ground_pixels(grid, camera, pose, 6.0), mask, VALUES)
    # Cells that rays of one class meet, and their neighbors too: there is nothing to argue about.
    column, row = (
        np.floor((ends[..., axis] - corner) / grid.resolution)
        for axis, corner in ((0, grid.x), (1, grid.y))
    )
    inside = (column >= 0) & (column < grid.cells) & (row >= 0) & (row < grid.cells)
    index = (row[inside] * grid.cells + column[inside]).astype(int)
    met = [
        np.bincount(index[mask[inside] == each], minlength=grid.cells**2).reshape(cells.shape)
        for each in (0, 1)
    ]
    x, y = grid.centers()
    near = np.hypot(x[None, :] - eye[0], y[:, None] - eye[1]) <= 6.0
    around = np.ones((3, 3), np.uint8)
    for value, own, other in ((FREE, *met), (OCCUPIED, *met[::-1])):
        sure = near & (cv2.erode(((own > 0) & (other == 0)).astype(np.uint8), around) > 0)
        assert sure.sum() > 20, value
        assert (cells[sure] == value).all()
    # Nothing is invented where no ray comes near, nor beyond the range.
    blind = cv2.dilate((met[0] + met[1] > 0).astype(np.uint8), np.ones((9, 9))) == 0
    assert (cells[~near] == UNKNOWN).all()
    steep = np.hypot(*pose.rotation[:2, 2]) < 0.9  # else rays are far apart
    assert not steep or (cells[blind] == UNKNOWN).all()


def test_a_small_obstacle_is_not_missed() -> None:
    camera, pose, _ = VIEWS['drone']
    mask = np.zeros(SIZE, np.uint8)
    mask[74:76, 119:121] = 1  # 0.15 m of ground
    eye = pose.inverse().translation
    grid = GroundGrid.around((eye[0], eye[1]), 4.0, 3.0, 0.3)
    cells = occupancy(ground_pixels(grid, camera, pose), mask, VALUES)
    assert 1 <= (cells == OCCUPIED).sum() <= 4


def test_cells_stay_where_they_are_while_the_camera_moves() -> None:
    first = GroundGrid.around((0.01, -0.04), 0.0, 2.0, 0.1)
    second = GroundGrid.around((0.31, 0.13), 0.0, 2.0, 0.1)
    for axis in ('x', 'y'):
        steps = (getattr(second, axis) - getattr(first, axis)) / 0.1
        assert steps == pytest.approx(round(steps), abs=1e-6)
    x, y = first.centers()
    assert np.abs(x).min() < 0.1
    assert (x[0], y[-1]) == pytest.approx((first.x + 0.05, first.y + 4.05))


def test_what_cannot_be() -> None:
    camera, pose, _ = VIEWS['vehicle']
    grid = GroundGrid.around((0.0, 0.0), 1.5, 2.0, 0.1)
    with pytest.raises(ConfigError, match=r'the camera is 1\.4 m high, the ground 1\.5 m'):
        ground_pixels(grid, camera, pose)
    with pytest.raises(ConfigError, match='20001 x 20001 cells, at most 4000000'):
        GroundGrid.around((0.0, 0.0), 0.0, 100.0, 0.01)
