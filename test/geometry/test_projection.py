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

"""Every camera model against OpenCV, and rays that no pixel sees."""

from __future__ import annotations

import math
import warnings

import cv2
import numpy as np
import pytest

pytest.importorskip('hypothesis', reason='hypothesis makes the input')
from hypothesis import given
from hypothesis import strategies as st

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.camera import Camera, Projection

HEIGHT, WIDTH = 1080, 1920
FOCAL, CENTER = (1000.0, 1010.0), (950.0, 545.0)

LENSES = {
    'pinhole': ('plumb_bob', ()),
    'barrel': ('plumb_bob', (-0.32, 0.12, 1.2e-3, -8e-4, -0.02)),
    'four': ('plumb_bob', (-0.32, 0.12, 1.2e-3, -8e-4)),
    'pincushion': ('plumb_bob', (0.08, -0.02, 0.0, 0.0, 0.001)),
    'rational': ('rational_polynomial', (0.62, -0.21, 4e-4, -3e-4, 0.017, 0.95, -0.16, 0.012)),
    'fisheye': ('equidistant', (0.021, -0.012, 0.004, -0.0011)),
    'ideal fisheye': ('equidistant', ()),
}


def camera_with(model: str, distortion: tuple[float, ...], focal: float = 1.0) -> Camera:
    scaled = (FOCAL[0] * focal, FOCAL[1] * focal)
    return Camera(model, scaled, CENTER, distortion, HEIGHT, WIDTH)


def rays(angle_deg: float, count: int = 20_000) -> np.ndarray:
    """Return (count, 3) float32 points around the optical axis, up to an angle from it."""
    generator = np.random.default_rng(0)
    angle = np.radians(generator.uniform(0, angle_deg, count))
    turn = generator.uniform(-np.pi, np.pi, count)
    across = np.sin(angle)
    points = np.stack((across * np.cos(turn), across * np.sin(turn), np.cos(angle)), axis=-1)
    return (points * generator.uniform(0.5, 150, (count, 1))).astype(np.float32)


def opencv_pixels(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Return (N, 2) float64 of OpenCV, which does not know where a model folds."""
    matrix = np.array(
        [[camera.focal[0], 0, camera.center[0]], [0, camera.focal[1], camera.center[1]], [0, 0, 1]]
    )
    still = np.zeros(3)
    source = points.astype(np.float64)[:, None]
    lens = np.array(camera.distortion or (0.0,) * 4)
    if camera.model == 'equidistant':
        pixels, _ = cv2.fisheye.projectPoints(source, still, still, matrix, lens)
    else:
        pixels, _ = cv2.projectPoints(source, still, still, matrix, lens)
    return pixels[:, 0]


def pixels_of(projected: Projection) -> np.ndarray:
    return np.stack((projected.column, projected.row), axis=-1)


@pytest.mark.parametrize('lens', LENSES)
def test_projection_is_opencvs(lens: str) -> None:
    camera = camera_with(*LENSES[lens])
    points = rays(88 if 'fisheye' in lens else 50)
    projected = camera.project(np.ascontiguousarray(points.T))
    pixels = pixels_of(projected)
    assert pixels.dtype == np.float32
    known = np.isfinite(pixels).all(axis=-1)
    expected = opencv_pixels(camera, points)
    assert np.abs(pixels[known] - expected[known]).max() < 0.02
    inside = ((expected > -0.5) & (expected < (WIDTH - 0.5, HEIGHT - 0.5))).all(axis=-1)
    # What OpenCV puts into the image within its field of view, so does this.
    near = np.hypot(points[:, 0], points[:, 1]) < points[:, 2] * 0.7
    assert known[inside & near].all()
    assert known.mean() > 0.9


@pytest.mark.parametrize('lens', LENSES)
def test_center_is_on_the_axis(lens: str) -> None:
    projected = camera_with(*LENSES[lens]).project(np.float32([[0], [0], [5]]))
    assert pixels_of(projected)[0] == pytest.approx(CENTER)
    assert projected.nearness[0] == pytest.approx(0.2)


def test_nearness_is_of_depth_or_range() -> None:
    point = np.float32([[3], [0], [4]])
    assert camera_with('plumb_bob', ()).project(point).nearness[0] == pytest.approx(1 / 4)
    assert camera_with('equidistant', ()).project(point).nearness[0] == pytest.approx(1 / 5)


FOLDING = {
    # r - 0.3 r^3 grows until r^2 = 1 / 0.9.
    'cubic': ('plumb_bob', (-0.3, 0.0, 0.0, 0.0), math.sqrt(1 / 0.9)),
    # t - 0.2 t^3 grows until t^2 = 1 / 0.6: at 74 degrees.
    'fisheye': ('equidistant', (-0.2, 0.0, 0.0, 0.0), math.tan(math.sqrt(1 / 0.6))),
    # A pole where 1 - 0.5 r^2 = 0.
    'pole': ('rational_polynomial', (0.0,) * 5 + (-0.5, 0.0, 0.0), math.sqrt(2)),
}


@pytest.mark.parametrize('name', FOLDING)
def test_rays_beyond_the_fold_are_refused(name: str) -> None:
    model, distortion, radius = FOLDING[name]
    camera = camera_with(model, distortion)
    radii = np.array([0.1, 0.9, 0.999, 1.001, 1.2, 3, 1e3, 1e6]) * radius
    points = np.stack((radii, 0 * radii, 0 * radii + 1)).astype(np.float32)
    seen = np.isfinite(pixels_of(camera.project(points))).all(axis=-1)
    assert seen.tolist() == [True] * 3 + [False] * 5


@pytest.mark.parametrize('lens', LENSES)
def test_farther_from_the_axis_is_farther_in_the_image(lens: str) -> None:
    """So no ray outside the field of view lands in the image."""
    camera = camera_with(*LENSES[lens])
    radii = np.concatenate((np.linspace(0, 5, 4000), np.geomspace(5, 500, 4000)))
    for turn in np.linspace(-np.pi, np.pi, 17):
        x, y = radii * math.cos(turn), radii * math.sin(turn)
        pixels = pixels_of(camera.project(np.stack((x, y, 0 * x + 1)).astype(np.float32)))
        along = (pixels - CENTER) / FOCAL @ (math.cos(turn), math.sin(turn))
        along = along[np.isfinite(along)]
        assert (np.diff(along) > -1e-4).all()


def test_tangential_terms_alone_fold_too() -> None:
    camera = camera_with('plumb_bob', (0.0, 0.0, 0.0, 1e-3))
    back = np.float32([[-333], [0], [1]])  # OpenCV: near the middle of the image
    assert (np.abs(opencv_pixels(camera, back.T) - CENTER) < 500).all()
    assert np.isnan(camera.project(back).column[0])


@pytest.mark.parametrize('lens', LENSES)
@pytest.mark.parametrize(
    'point',
    [
        (0, 0, -5),
        (1, 1, 0),
        (0, 0, 1e-4),
        (np.nan, 0, 1),
        (0, 0, np.nan),
        (np.inf, 0, 1),
        (1, np.inf, np.inf),
        (0, 0, -np.inf),
    ],
)
def test_points_that_no_camera_sees(lens: str, point: tuple[float, ...]) -> None:
    projected = camera_with(*LENSES[lens]).project(np.float32(point)[:, None])
    assert not np.isfinite(pixels_of(projected)).all()


def test_trailing_zeros_are_no_coefficients() -> None:
    short = camera_with('plumb_bob', (-0.3, 0.1, 0.0, 0.0, 0.0))
    padded = camera_with('plumb_bob', (-0.3, 0.1) + (0.0,) * 12)
    points = np.ascontiguousarray(rays(30).T)
    np.testing.assert_array_equal(short.project(points).column, padded.project(points).column)


@pytest.mark.parametrize(
    ('model', 'distortion', 'focal', 'message'),
    [
        ('omni', (), 1.0, "'omni' is not one of plumb_bob"),
        ('plumb_bob', (0.1, 0.2), 1.0, '4 or 5 coefficients, not 2'),
        ('plumb_bob', (0.1,) * 8, 1.0, '4 or 5 coefficients, not 8'),
        ('rational_polynomial', (0.1,) * 12, 1.0, '4 or 5 or 8 coefficients, not 12'),
        ('equidistant', (0.1,) * 5, 1.0, '4 coefficients, not 5'),
        ('plumb_bob', (), 0.0, 'calibrate the camera'),
        ('plumb_bob', (), math.nan, 'calibrate the camera'),
    ],
)
def test_what_is_no_camera(
    model: str, distortion: tuple[float, ...], focal: float, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        camera_with(model, distortion, focal)


ANY_NUMBER = st.one_of(st.floats(-1, 1), st.floats(-1e9, 1e9))


@given(
    model=st.sampled_from(['plumb_bob', 'rational_polynomial', 'equidistant']),
    numbers=st.tuples(*[ANY_NUMBER] * 8),
    points=st.lists(st.tuples(*[st.floats(width=32)] * 3), min_size=1, max_size=5),
)
def test_any_numbers_are_projected_in_silence(
    model: str, numbers: tuple[float, ...], points: list[tuple[float, ...]]
) -> None:
    count = {'plumb_bob': 5, 'rational_polynomial': 8, 'equidistant': 4}[model]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        projected = camera_with(model, numbers[:count]).project(np.float32(points).T)
    behind = ~(np.float32(points)[:, 2] > 0)
    assert np.isnan(projected.column[behind]).all()
