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

"""A LiDAR beside a camera, in a street of known geometry."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import pytest
from ray_scene import cast, CLASSES, lidar_directions, SKY

from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.depth import depth_points, pixel_rays
from uhr_seg_ros.geometry.labeling import LabeledPoints, PointLabeler
from uhr_seg_ros.geometry.transform import IDENTITY, OPTICAL_FROM_BODY, Transform
from uhr_seg_ros.geometry.visibility import find_seen, ZBuffer

HEIGHT, WIDTH = 540, 960
CAMERA_AT, LIDAR_AT = np.array([1.5, 0.3, 1.4]), np.array([0.0, 0.0, 2.1])
EDGE_PX = 3

CAMERAS = {
    'pinhole': Camera('plumb_bob', (600.0, 600.0), (480.0, 250.0), (), HEIGHT, WIDTH),
    'plumb_bob': Camera(
        'plumb_bob',
        (600.0, 605.0),
        (470.0, 255.0),
        (-0.28, 0.09, 8e-4, -5e-4, -0.01),
        HEIGHT,
        WIDTH,
    ),
    'rational_polynomial': Camera(
        'rational_polynomial',
        (600.0, 600.0),
        (480.0, 250.0),
        (0.62, -0.21, 4e-4, -3e-4, 0.017, 0.95, -0.16, 0.012),
        HEIGHT,
        WIDTH,
    ),
    'equidistant': Camera(
        'equidistant', (420.0, 420.0), (480.0, 250.0), (0.02, -0.01, 0.003, -0.001), HEIGHT, WIDTH
    ),
}
#: A camera that looks 4 degrees to the left and 2 down, as a mount is never quite straight.
MOUNT = Transform.of_quaternion(CAMERA_AT, (0.0006, 0.0174, 0.0349, 0.9992))
OPTICAL_FROM_GROUND = OPTICAL_FROM_BODY @ MOUNT.inverse()
OPTICAL_FROM_LIDAR = OPTICAL_FROM_GROUND @ Transform(np.eye(3), LIDAR_AT)


class Picture(NamedTuple):
    """What a camera sees: class ids, depth in m, and where ids change."""

    mask: np.ndarray
    depth: np.ndarray
    near_edge: np.ndarray


class Sweep(NamedTuple):
    """What a LiDAR sees, in its own frame, and what is known about it."""

    points: np.ndarray
    label: np.ndarray
    hidden_by_m: np.ndarray


@pytest.fixture(scope='module', params=CAMERAS)
def camera(request: pytest.FixtureRequest) -> Camera:
    return CAMERAS[request.param]


@pytest.fixture(scope='module')
def picture(camera: Camera) -> Picture:
    rays = pixel_rays(camera).reshape(2, -1).astype(np.float64)
    optical = np.stack((*rays, np.ones(rays.shape[1])), axis=-1)
    depth, mask = cast(CAMERA_AT, optical @ OPTICAL_FROM_GROUND.rotation)
    mask[np.isnan(rays[0])] = SKY
    mask = mask.reshape(HEIGHT, WIDTH)
    around = np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1), np.uint8)
    near_edge = cv2.dilate(mask, around) != cv2.erode(mask, around)
    return Picture(mask, depth.reshape(HEIGHT, WIDTH).astype(np.float32), near_edge)


@pytest.fixture(scope='module')
def sweep() -> Sweep:
    directions = lidar_directions()
    distance, label = cast(LIDAR_AT, directions)
    hit = distance < 80
    points = directions[hit] * distance[hit, None]
    from_camera = points + LIDAR_AT - CAMERA_AT
    free, _ = cast(CAMERA_AT, from_camera)
    hidden_by = (1 - np.minimum(free, 1)) * np.linalg.norm(from_camera, axis=1)
    return Sweep(points.astype(np.float32), label[hit], hidden_by)


@pytest.fixture(scope='module')
def labeled(camera: Camera, picture: Picture, sweep: Sweep) -> LabeledPoints:
    labeler = PointLabeler(CLASSES, ZBuffer())
    return labeler.label(sweep.points, camera, OPTICAL_FROM_LIDAR, picture.mask)


@pytest.fixture(scope='module')
def away_from_edges(camera: Camera, picture: Picture, sweep: Sweep) -> np.ndarray:
    """Return which points fall into the image, but not near an edge of the mask."""
    seen = find_seen(sweep.points, camera, OPTICAL_FROM_LIDAR)
    away = np.zeros(len(sweep.points), bool)
    away[seen.indices] = ~picture.near_edge[seen.row, seen.column]
    return away


def test_labels_agree(labeled: LabeledPoints, sweep: Sweep, away_from_edges: np.ndarray) -> None:
    chosen = away_from_edges & (labeled.label != 255)
    assert chosen.sum() > 10_000
    assert set(np.unique(labeled.label[chosen])) == {0, 1, 2, 3}
    assert (labeled.label[chosen] == sweep.label[chosen]).mean() >= 0.995


def test_hidden_points_have_no_label(
    labeled: LabeledPoints, sweep: Sweep, away_from_edges: np.ndarray
) -> None:
    hidden = away_from_edges & (sweep.hidden_by_m > 1.5)
    assert hidden.sum() > 200
    assert (labeled.label[hidden] == 255).mean() > 0.99


def test_visible_points_have_one(
    labeled: LabeledPoints, sweep: Sweep, away_from_edges: np.ndarray
) -> None:
    visible = away_from_edges & (sweep.hidden_by_m < 0.01)
    assert (labeled.label[visible] != 255).mean() > 0.985


def test_without_z_buffer_hidden_points_get_the_label_of_what_hides_them(
    camera: Camera, picture: Picture, sweep: Sweep, away_from_edges: np.ndarray
) -> None:
    result = PointLabeler(CLASSES, None).label(
        sweep.points, camera, OPTICAL_FROM_LIDAR, picture.mask
    )
    hidden = away_from_edges & (sweep.hidden_by_m > 1.5)
    assert (result.label[hidden] != 255).mean() > 0.99
    assert (result.label[hidden] != sweep.label[hidden]).mean() > 0.3


def test_depth_image_gets_the_labels_of_its_own_pixels(camera: Camera, picture: Picture) -> None:
    points = depth_points(picture.depth, camera)
    labeler = PointLabeler(CLASSES, None, keep_unseen=False)
    result = labeler.label(points, camera, IDENTITY, picture.mask)
    np.testing.assert_array_equal(result.label, picture.mask[np.isfinite(picture.depth)])


def test_a_depth_image_does_not_hide_itself(camera: Camera, picture: Picture) -> None:
    points = depth_points(picture.depth, camera)
    result = PointLabeler(CLASSES, ZBuffer()).label(points, camera, IDENTITY, picture.mask)
    assert (result.label != 255).mean() > 0.97
