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

"""Frames of a flight over a mosaic: a smooth path with slight changes of heading."""

from __future__ import annotations

from collections.abc import Iterator
import math
from typing import NamedTuple

import cv2
import numpy as np

FRAME_SIZE = (2160, 3840)

_LARGEST_TURN = math.radians(6.0)


class Pose(NamedTuple):
    """Where the middle of a frame is over the mosaic, px, and its heading, rad."""

    x: float
    y: float
    heading: float


def fly(
    mosaic: np.ndarray, count: int, size: tuple[int, int] = FRAME_SIZE
) -> Iterator[np.ndarray]:
    """
    Cut the frames of a flight.

    Args:
        mosaic: (H, W, 3) uint8 BGR of any size; enlarged if a turned frame does not fit in.
        count: number of frames.
        size: height and width of a frame.

    Yields:
        (height, width, 3) uint8 BGR.

    """
    mosaic = enlarged(mosaic, turned_size(size))
    for pose in flight_path(mosaic.shape[:2], count, size):
        yield cut_frame(mosaic, pose, size)


def flight_path(
    mosaic_size: tuple[int, int], count: int, size: tuple[int, int] = FRAME_SIZE
) -> list[Pose]:
    """
    Plan a path from one corner to the opposite one, with two gentle bends.

    Args:
        mosaic_size: height and width of the mosaic, at least `turned_size(size)`.
        count: number of poses.
        size: height and width of a frame.

    Returns:
        Poses whose frames lie inside the mosaic.

    """
    height, width = mosaic_size
    margin_y, margin_x = (side / 2 for side in turned_size(size))
    poses = []
    for index in range(count):
        way = index / max(count - 1, 1)
        across = way + 0.08 * math.sin(2 * math.pi * way)
        poses.append(
            Pose(
                x=margin_x + way * (width - 2 * margin_x),
                y=margin_y + across * (height - 2 * margin_y),
                heading=_LARGEST_TURN * math.sin(3 * math.pi * way),
            )
        )
    return poses


def cut_frame(
    mosaic: np.ndarray,
    pose: Pose,
    size: tuple[int, int],
    interpolation: int = cv2.INTER_LINEAR,
) -> np.ndarray:
    """
    Cut one frame around a pose, turned by its heading.

    Args:
        mosaic: (H, W, 3) uint8, or labels (H, W) uint8.
        pose: of the frame; the frame lies inside.
        size: height and width of the frame.
        interpolation: of OpenCV; for labels the nearest.

    Returns:
        (height, width, 3) or (height, width) uint8.

    """
    height, width = size
    # Only the surroundings: OpenCV takes no source beyond 32767 px.
    top, bottom = _around(pose.y, turned_size(size)[0], mosaic.shape[0])
    left, right = _around(pose.x, turned_size(size)[1], mosaic.shape[1])
    to_mosaic = frame_to_mosaic(pose, size)
    to_mosaic[:, 2] -= left, top
    return cv2.warpAffine(
        mosaic[top:bottom, left:right],
        to_mosaic,
        (width, height),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def frame_to_mosaic(pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """Return the (2, 3) float64 matrix from column, row and 1 in a frame to x and y, px."""
    height, width = size
    cosine, sine = math.cos(pose.heading), math.sin(pose.heading)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    return np.array(
        [
            [cosine, -sine, pose.x - 0.5 - cosine * middle_x + sine * middle_y],
            [sine, cosine, pose.y - 0.5 - sine * middle_x - cosine * middle_y],
        ]
    )


def _around(middle: float, length: int, limit: int) -> tuple[int, int]:
    """Return start and end, within 0..limit, of a window with a margin of 2 px."""
    start, end = math.floor(middle - length / 2) - 2, math.ceil(middle + length / 2) + 2
    return max(0, start), min(limit, end)


def enlarged(mosaic: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a mosaic up until it has at least a height and width; a large one stays as it is."""
    scale = max(size[0] / mosaic.shape[0], size[1] / mosaic.shape[1])
    if scale <= 1.0:
        return mosaic
    height, width = (math.ceil(scale * side) for side in mosaic.shape[:2])
    return cv2.resize(mosaic, (width, height), interpolation=cv2.INTER_CUBIC)


def turned_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the upright rectangle around a frame at its largest turn."""
    height, width = size
    cosine, sine = math.cos(_LARGEST_TURN), math.sin(_LARGEST_TURN)
    return math.ceil(height * cosine + width * sine), math.ceil(width * cosine + height * sine)
