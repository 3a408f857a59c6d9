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

"""
What a LiDAR beside the camera of a flight measures.

Every point is cast from a pixel: it lies on the ray of its pixel, as deep as the ground is there,
so which class it must get is known without measuring.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.synthetic.canvas import BUILDING, VEGETATION
from uhr_seg_ros.synthetic.flight import frame_to_mosaic, Pose

CAMERA_FRAME = 'camera_optical_frame'
LIDAR_FRAME = 'lidar'

INFO_TOPIC = '/camera_info'
POINTS_TOPIC = '/points'

ALTITUDE = 60.0
"""Of the camera above the mean ground, m."""

LINES, COLUMNS = 270, 480
"""Most lines of a scan, and most points of a line."""

_ACROSS = math.radians(77)

# The camera looks straight down, the top of its image ahead; the LiDAR's frame is level, x ahead
# and y to the left (REP-103). It hangs 0.35 m before the camera, 0.12 m to the right and 0.2 m up.
TRANSLATION = (0.12, -0.35, -0.2)
QUATERNION = (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0)
OPTICAL_FROM_LIDAR = Transform.of_quaternion(TRANSLATION, QUATERNION)

# Waves of the ground: height, m, length in widths of a frame, and direction, rad.
_WAVES = ((1.8, 0.71, 0.4), (1.1, 0.43, 1.9), (0.5, 0.23, 2.8))

# Generated scenes are drawn at 0.3 m per px, houses of 8 m and trees of 4 m, but a frame of a low
# flight shows few metres: so what stands on the ground is as many px high as it would be there.
_RISES = {BUILDING: 8 / 0.3, VEGETATION: 4 / 0.3}

# A cloud comes later than its frame, as no two sensors measure at once, ns.
_DELAY = 10_000_000


class Ground:
    """
    The height of the ground.

    Args:
        frame_width: of the frames of a flight, px.
        labels: (H, W) uint8 of a generated scene, whose houses and trees stand on it.

    """

    def __init__(self, frame_width: int, labels: np.ndarray | None = None) -> None:
        self._frame_width = frame_width
        self._labels = labels
        self._rises = np.zeros(256)
        for label, rise in _RISES.items():
            self._rises[label] = rise * ALTITUDE / _focal(frame_width)

    def heights(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the heights above the mean ground, m, at places of the mosaic, px."""
        height = np.zeros(x.shape)
        for top, length, direction in _WAVES:
            along = (x * math.cos(direction) + y * math.sin(direction)) / self._frame_width
            height += top * np.sin(2 * math.pi * along / length)
        if self._labels is not None:
            rows, columns = self._labels.shape
            row = np.rint(y).astype(int).clip(0, rows - 1)
            column = np.rint(x).astype(int).clip(0, columns - 1)
            height += self._rises[self._labels[row, column]]
        return height


def flight_camera(size: tuple[int, int]) -> Camera:
    """Return the camera of frames of a height and width: a pinhole of 77 degrees across."""
    height, width = size
    focal = _focal(width)
    return Camera(
        model='plumb_bob',
        focal=(focal, focal),
        center=((width - 1) / 2, (height - 1) / 2),
        distortion=(),
        height=height,
        width=width,
    )


def scan_pixels(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the pixels that the points of a scan are cast from.

    Args:
        size: height and width of the frame.

    Returns:
        Rows and columns, each (lines, points of a line) int.

    """
    rows, columns = (
        np.linspace(0, side - 1, min(side, most)).round().astype(int)
        for side, most in zip(size, (LINES, COLUMNS), strict=True)
    )
    return tuple(np.meshgrid(rows, columns, indexing='ij'))


def scan(size: tuple[int, int], pose: Pose, ground: Ground) -> np.ndarray:
    """
    Measure the ground under a frame.

    Args:
        size: height and width of the frame.
        pose: of the frame over the mosaic.
        ground: under it.

    Returns:
        (lines, points of a line, 3) float32 in `LIDAR_FRAME`, m, in the order of `scan_pixels`.

    """
    rows, columns = scan_pixels(size)
    pixels = np.stack((columns, rows, np.ones_like(rows))).reshape(3, -1)
    depth = ALTITUDE - ground.heights(*frame_to_mosaic(pose, size) @ pixels)
    camera = flight_camera(size)
    rays = (pixels[:2].T - camera.center) / camera.focal
    seen = np.column_stack((rays, np.ones(len(rays)))) * depth[:, None]
    return OPTICAL_FROM_LIDAR.inverse().apply(seen).T.reshape(*rows.shape, 3)


def cloud_delay_ns(rate_hz: float) -> int:
    """Return how much later than its frame a cloud is stamped, ns; it stays the nearest."""
    return min(_DELAY, round(0.25e9 / rate_hz))


def node_parameters() -> dict[str, Any]:
    """Return the parameters by which the node learns where the LiDAR is."""
    return {
        'cloud.enabled': True,
        'cloud.camera_frame': CAMERA_FRAME,
        'cloud.points_frame': LIDAR_FRAME,
        'cloud.translation': list(TRANSLATION),
        'cloud.quaternion': list(QUATERNION),
    }


def _focal(width: int) -> float:
    return width / 2 / math.tan(_ACROSS / 2)
