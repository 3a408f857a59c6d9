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

"""The picture of a cloud: what is near hides what is behind, and the camera is there."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.benchmark.cloud_picture import draw_cloud

GREEN, RED = (60, 200, 60), (50, 50, 220)
SIZE = (270, 480)


def plane(half: float, height: float, step: float = 0.5) -> np.ndarray:
    side = np.arange(-half, half + step, step)
    x, y = np.meshgrid(side, side)
    return np.stack((x, y, np.full_like(x, height)), axis=-1).reshape(-1, 3)


def draw(*parts: tuple[np.ndarray, tuple[int, int, int]]) -> np.ndarray:
    points = np.concatenate([points for points, _ in parts])
    colors = np.concatenate([np.full(points.shape, color, np.uint8) for points, color in parts])
    return draw_cloud(points, colors, np.zeros(3), {'land': GREEN}, SIZE)


def count(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    # The legend lies in the bottom of the picture.
    return int(is_like(picture[:240], color).sum())


def is_like(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return which pixels have a colour, or one that is a little darker."""
    return (np.abs(picture.astype(int) - color) < 40).all(-1)


def test_the_ground_is_one_surface_over_a_dark_background() -> None:
    picture = draw((plane(20.0, -30.0), GREEN))
    assert picture.shape == (*SIZE, 3)
    assert picture[0, 0].max() < 60
    assert count(picture, GREEN) > 0.15 * picture[..., 0].size
    # No gaps between the points: the row through the middle of the ground is all green inside.
    green = is_like(picture[:240], GREEN)
    row = green[np.flatnonzero(green.any(1)).mean().astype(int)]
    inside = np.flatnonzero(row)
    # Two lines lead from the camera to the corners in front.
    assert row[inside[0] : inside[-1]].mean() > 0.9


@pytest.mark.parametrize('roof_first', [True, False])
def test_what_is_near_hides_what_is_behind(roof_first: bool) -> None:
    ground, roof = (plane(20.0, -30.0), GREEN), (plane(8.0, -20.0), RED)
    picture = draw(roof, ground) if roof_first else draw(ground, roof)
    alone = draw(ground)
    assert count(picture, RED) > 1000
    assert count(picture, GREEN) < count(alone, GREEN) - 500


def test_the_camera_and_the_legend_are_drawn() -> None:
    picture = draw((plane(20.0, -30.0), GREEN))
    bright = np.argwhere((picture > 200).all(-1))
    assert (bright[:, 0] < 30).any()  # the camera, at the top
    assert (picture[250:] == GREEN).all(-1).sum() > 20


@pytest.mark.parametrize('count_of_points', [1, 2, 5])
def test_few_points(count_of_points: int) -> None:
    corners = [(x, y, -30.0) for x in (-5.0, 5.0) for y in (-5.0, 5.0)]
    points = np.array([*corners, (0.0, 0.0, -30.0)])[-count_of_points:]
    picture = draw((points, RED))
    assert picture.shape == (*SIZE, 3)
    if count_of_points == 5:  # lines from the camera end in the others
        assert count(picture, RED) > 0
