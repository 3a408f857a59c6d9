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

"""A labeled cloud, seen from the side."""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import NamedTuple

import cv2
import numpy as np

SIZE = (1080, 1920)

# Drawn larger by this, then reduced: points have smooth edges.
_OVERSAMPLING = 2

_BACKGROUND = (34, 28, 26)
_LINE = (150, 150, 150)
_TEXT = (235, 235, 235)

# Where the viewer stands: behind and to the right, m of the way are those of the cloud's size.
_TURN, _UP, _AWAY = math.radians(200), math.radians(38), 1.5

# Free border of the picture, and height of the legend, share of the height.
_MARGIN, _LEGEND = 0.035, 0.06

# How dark edges of surfaces become, and how far around a pixel they are looked for, px.
_EDGE_STRENGTH, _EDGE_REACH = 40.0, 3


class _View(NamedTuple):
    """
    A viewer.

    Attributes:
        rotation: (3, 3), rows are right, down and ahead.
        eye: (3,) m.
        scale: px of a length as far away as it is long.
        middle: (2,) px, where the line of sight meets the picture.

    """

    rotation: np.ndarray
    eye: np.ndarray
    scale: float
    middle: np.ndarray

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y, (N, 2) px, and the depth, (N,) m, of points (N, 3)."""
        seen = (points - self.eye) @ self.rotation.T
        return seen[:, :2] / seen[:, 2:] * self.scale + self.middle, seen[:, 2]


def draw_cloud(
    points: np.ndarray,
    colors: np.ndarray,
    camera: np.ndarray,
    legend: Mapping[str, tuple[int, int, int]],
    size: tuple[int, int] = SIZE,
) -> np.ndarray:
    """
    Draw a cloud in perspective.

    Args:
        points: (N, 3), m, z up; at least one.
        colors: (N, 3) uint8 BGR.
        camera: (3,) where the camera was, m.
        legend: name -> BGR, in the order to write.
        size: height and width of the picture.

    Returns:
        (H, W, 3) uint8 BGR.

    """
    points, camera = np.asarray(points, np.float64), np.asarray(camera, np.float64)
    height, width = (side * _OVERSAMPLING for side in size)
    view = _look_at(points, camera, (height, width))
    picture = _splat(points, colors, view, (height, width))
    _draw_camera(picture, points, camera, view)
    picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    _draw_legend(picture, legend)
    return picture


def _look_at(points: np.ndarray, camera: np.ndarray, size: tuple[int, int]) -> _View:
    """Choose a view in which cloud and camera fill the picture."""
    everything = np.vstack((points, camera))
    low, high = everything.min(0), everything.max(0)
    middle, reach = (low + high) / 2, max(float(np.linalg.norm(high - low)), 1e-3)
    away = np.array(
        [math.cos(_UP) * math.cos(_TURN), math.cos(_UP) * math.sin(_TURN), math.sin(_UP)]
    )
    right = np.cross(-away, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(-away, right), -away))
    view = _View(rotation, middle + away * reach * _AWAY, 1.0, np.zeros(2))
    flat, _ = view.project(everything)
    low, high = flat.min(0), flat.max(0)
    free = np.array([size[1] * (1 - 2 * _MARGIN), size[0] * (1 - 2 * _MARGIN - _LEGEND)])
    scale = float((free / np.maximum(high - low, 1e-9)).min())
    center = np.array([size[1] / 2, size[0] * (1 - _LEGEND) / 2])
    return view._replace(scale=scale, middle=center - scale * (low + high) / 2)


def _splat(
    points: np.ndarray, colors: np.ndarray, view: _View, size: tuple[int, int]
) -> np.ndarray:
    """Draw every point as a square, the nearest last, and darken what lies behind an edge."""
    where, depth = view.project(points)
    order = np.argsort(-depth)
    where, depth, colors = where[order], depth[order], colors[order]
    height, width = size
    picture = np.full((height, width, 3), _BACKGROUND, np.uint8)
    depths = np.full((height, width), np.inf, np.float32)
    # A point's share of the rectangle around the cloud, which is more than its own: squares meet.
    extent = np.ptp(where, axis=0).prod() / len(points)
    sides = np.sqrt(extent) * np.median(depth) / depth
    sides = np.clip(sides.round().astype(int), 2 * _OVERSAMPLING, max(size) // 20)
    for side in np.unique(sides):  # the farther, the smaller: in the order of depth
        chosen = sides == side
        for offset in np.ndindex(side, side):
            row, column = (
                where[chosen, axis].astype(int) + offset[1 - axis] - side // 2 for axis in (1, 0)
            )
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = row[inside], column[inside]
            picture[place] = colors[chosen][inside]
            depths[place] = depth[chosen][inside]
    return _darken_edges(picture, depths)


def _darken_edges(picture: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Darken pixels by how far they lie behind their neighbors, as eye-dome lighting does."""
    reach = _EDGE_REACH * _OVERSAMPLING
    far = np.log2(np.where(np.isfinite(depths), depths, np.nan))
    behind = np.zeros_like(far)
    for axis in (0, 1):
        # Both sides together: a slope is not an edge.
        around = (np.roll(far, reach, axis) + np.roll(far, -reach, axis)) / 2
        behind += np.nan_to_num(np.maximum(far - around, 0))
    light = np.exp(-_EDGE_STRENGTH * behind)
    return (picture * light[..., None]).astype(np.uint8)


def _draw_camera(picture: np.ndarray, points: np.ndarray, camera: np.ndarray, view: _View) -> None:
    """Draw where the camera was, and lines from there to the corners of what it saw."""
    corners = [
        points[np.argmax(points[:, :2] @ sign)] for sign in ((1, 1), (1, -1), (-1, -1), (-1, 1))
    ]
    pixels, _ = view.project(np.vstack((camera, corners)))
    top, *ends = (tuple(map(int, pixel)) for pixel in pixels)
    for end in ends:
        cv2.line(picture, top, end, _LINE, _OVERSAMPLING, cv2.LINE_AA)
    cv2.circle(picture, top, 7 * _OVERSAMPLING, _TEXT, -1, cv2.LINE_AA)
    _write(
        picture,
        'camera',
        (top[0] + 16 * _OVERSAMPLING, top[1] + 7 * _OVERSAMPLING),
        0.8 * _OVERSAMPLING,
    )


def _draw_legend(picture: np.ndarray, legend: Mapping[str, tuple[int, int, int]]) -> None:
    height = picture.shape[0]
    unit = height / 1080
    side, x, y = int(24 * unit), int(40 * unit), int(height - 28 * unit)
    for name, color in legend.items():
        cv2.rectangle(picture, (x, y - side), (x + side, y), color, -1)
        cv2.rectangle(picture, (x, y - side), (x + side, y), _LINE, 1)
        x += side + int(12 * unit)
        x += _write(picture, name, (x, y - int(3 * unit)), 0.8 * unit) + int(40 * unit)


def _write(picture: np.ndarray, text: str, place: tuple[int, int], scale: float) -> int:
    """Write a word; return its width, px."""
    thickness = max(1, round(scale * 2))
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, place, font, scale, _TEXT, thickness, cv2.LINE_AA)
    return cv2.getTextSize(text, font, scale, thickness)[0][0]
