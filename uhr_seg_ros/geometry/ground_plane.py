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

"""The ground as a camera sees it: a grid on a plane, each cell with what its pixels say."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.geometry.visibility import find_seen

FREE, OCCUPIED, UNKNOWN = 0, 100, -1
"""Values of nav_msgs/OccupancyGrid."""

MAX_CELLS = 4_000_000

_SAMPLES = (-1 / 3, 0.0, 1 / 3)
"""Where a cell is looked at, along both axes, in cells from its center: nine places."""


@dataclass(frozen=True)
class GroundGrid:
    """
    Square cells on a plane z = const.

    Attributes:
        x: of the lower left corner, m.
        y: of the lower left corner, m.
        z: of the plane, m.
        resolution: side of a cell, m.
        cells: along each side.

    """

    x: float
    y: float
    z: float
    resolution: float
    cells: int

    @classmethod
    def around(
        cls, center: tuple[float, float], z: float, reach: float, resolution: float
    ) -> GroundGrid:
        """
        Make the grid around a point; its cells lie at multiples of the resolution.

        Args:
            center: x and y, m.
            z: of the plane, m.
            reach: from the center to each side at least, m.
            resolution: side of a cell, m.

        Raises:
            ConfigError: more than `MAX_CELLS` cells.

        """
        cells = 2 * math.ceil(reach / resolution) + 1
        if cells**2 > MAX_CELLS:
            msg = (
                f'a grid of {reach:g} m around with cells of {resolution:g} m has {cells} x '
                f'{cells} cells, at most {MAX_CELLS} are made: larger cells, or less range'
            )
            raise ConfigError(msg)
        # So a cell is the same piece of ground in every grid of a frame that stands still.
        x, y = ((math.floor(each / resolution) - (cells - 1) // 2) * resolution for each in center)
        return cls(x, y, z, resolution, cells)

    def centers(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x of the columns and y of the rows, (cells,) float64 each, m."""
        steps = (np.arange(self.cells) + 0.5) * self.resolution
        return self.x + steps, self.y + steps


def ground_pixels(
    grid: GroundGrid, camera: Camera, pose: Transform, reach: float = math.inf
) -> np.ndarray:
    """
    Return which pixel every cell falls on, at nine places of it.

    Args:
        grid: on the ground.
        camera: of the mask.
        pose: from the grid's frame to the camera's optical frame.
        reach: so far from the point below the camera cells are looked at, m.

    Returns:
        (9, cells * cells) int32, row by row from the lowest y on: row * width + column of the
        mask, -1 where the camera does not see it.

    Raises:
        ConfigError: the camera is not above the plane.

    """
    eye = pose.inverse().translation
    if not eye[2] > grid.z:
        msg = (
            f'the camera is {eye[2]:.3g} m high, the ground {grid.z:.3g} m: the frame of the '
            'grid has to have z up, and its ground below the camera'
        )
        raise ConfigError(msg)
    x, y = grid.centers()
    far = np.hypot(x[None, :] - eye[0], y[:, None] - eye[1]).reshape(-1) > reach
    pixels = np.full((len(_SAMPLES) ** 2, grid.cells**2), -1, np.int32)
    points = np.empty((grid.cells, grid.cells, 3))
    points[..., 2] = grid.z
    places = [(dx, dy) for dy in _SAMPLES for dx in _SAMPLES]
    for row, (dx, dy) in zip(pixels, places, strict=True):
        points[..., 0] = (x + dx * grid.resolution)[None, :]
        points[..., 1] = (y + dy * grid.resolution)[:, None]
        seen = find_seen(points.reshape(-1, 3), camera, pose)
        row[seen.indices] = seen.row * np.int32(camera.width) + seen.column
        row[far] = -1
    return pixels


def occupancy(pixels: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """
    Return what the cells hold.

    A cell is occupied if one of its places is, else free if one is: what is small is not missed.

    Args:
        pixels: of `ground_pixels`.
        mask: (H, W) uint8 or uint16.
        values: `FREE`, `OCCUPIED` or `UNKNOWN` of every id that the mask's type can hold, int8.

    Returns:
        (cells, cells) int8.

    """
    ids = mask.reshape(-1)
    cells = np.full(pixels.shape[1], UNKNOWN, np.int8)
    for row in pixels:
        found = values.take(ids.take(row, mode='clip'))
        np.maximum(cells, np.where(row < 0, np.int8(UNKNOWN), found), out=cells)
    side = math.isqrt(len(cells))
    return cells.reshape(side, side)
