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

"""A street of known geometry, seen by rays: a road, boxes, thin poles."""

from __future__ import annotations

import math

import numpy as np

from uhr_seg_ros.core.classes import ClassSet

CLASSES = ClassSet(
    ('road', 'building', 'car', 'pole'), ((128, 64, 128), (70, 70, 70), (0, 0, 142), (153, 153, 0))
)
SKY = 255
ROAD, BUILDING, CAR, POLE = range(4)

# Class, and the corners of a box in a body frame on the ground (REP-103: x forward, y left, z up).
BOXES = np.array(
    [
        (BUILDING, 8, 9, 0, 60, 14, 9),
        (BUILDING, 8, -15, 0, 60, -9, 7),
        (BUILDING, 65, -30, 0, 70, 30, 12),
        (CAR, 10, 1.5, 0, 14.5, 3.3, 1.5),
        (CAR, 16, -4.5, 0, 20.5, -2.7, 1.6),
        (CAR, 30, -1, 0, 34.5, 0.8, 1.5),
        (POLE, 7, -3, 0, 7.15, -2.85, 5),
        (POLE, 12, 5, 0, 12.15, 5.15, 6),
        (POLE, 18, -6, 0, 18.15, -5.85, 6),
        (POLE, 25, 5, 0, 25.15, 5.15, 6),
    ]
)


def cast(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Follow rays to the first surface.

    Args:
        origin: (3,) m.
        directions: (N, 3), of any length.

    Returns:
        (N,) float64, the distance in lengths of the direction, and (N,) uint8, the class;
        infinity and `SKY` where nothing is hit.

    """
    with np.errstate(divide='ignore', invalid='ignore'):
        distance = -origin[2] / directions[:, 2]
        distance = np.where(distance > 0, distance, np.inf)
        label = np.where(distance < np.inf, ROAD, SKY).astype(np.uint8)
        for kind, *corners in BOXES:
            hit = _enter_box(origin, directions, np.array(corners).reshape(2, 3))
            label[hit < distance] = kind
            distance = np.minimum(distance, hit)
    return distance, label


def _enter_box(origin: np.ndarray, directions: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the distance to a box by its three slabs; infinity where a ray misses it."""
    first, second = (corners[:, None] - origin) / directions
    enters = np.minimum(first, second).max(axis=1)
    leaves = np.maximum(first, second).min(axis=1)
    return np.where((enters <= leaves) & (enters > 0), enters, np.inf)


def lidar_directions(beams: int = 128, turns: int = 2400) -> np.ndarray:
    """Return (beams * turns, 3) of a LiDAR that turns, from 25 degrees down to 15 up."""
    up, turn = np.meshgrid(
        np.radians(np.linspace(-25, 15, beams)),
        np.linspace(-math.pi, math.pi, turns, endpoint=False),
        indexing='ij',
    )
    across = np.cos(up)
    parts = (across * np.cos(turn), across * np.sin(turn), np.sin(up))
    return np.stack(parts, axis=-1).reshape(-1, 3)
