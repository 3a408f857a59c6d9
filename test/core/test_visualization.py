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

"""Colour masks and overlays."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.visualization import (
    colorize,
    draw_density,
    OverlayOptions,
    OverlayPainter,
    series_colors,
)

CLASSES = ClassSet(('a', 'b'), ((10, 20, 30), (200, 100, 50)))


@pytest.fixture
def mask() -> np.ndarray:
    """Left half class 0, right half class 1, one pixel without a class."""
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 1
    mask[0, 0] = UNLABELED
    return mask


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_colorize(mask: np.ndarray, dtype: type) -> None:
    colored = colorize(mask.astype(dtype), CLASSES)
    assert colored.dtype == np.uint8
    assert (colored == CLASSES.palette_bgr()[mask]).all()


@pytest.mark.parametrize(('scale', 'size'), [(0.5, (20, 30)), (0.33, (13, 20)), (0.001, (1, 1))])
def test_colorize_scaled_invents_no_color(
    mask: np.ndarray, scale: float, size: tuple[int, int]
) -> None:
    colored = colorize(mask, CLASSES, scale)
    assert colored.shape == (*size, 3)
    known = {(0, 0, 0), (30, 20, 10), (50, 100, 200)}
    assert {tuple(color) for color in colored.reshape(-1, 3).tolist()} <= known


def test_colorize_many_classes() -> None:
    classes = ClassSet(tuple(map(str, range(300))), tuple((n % 256, 0, 0) for n in range(300)))
    assert colorize(np.array([[299]], np.uint16), classes)[0, 0].tolist() == [0, 0, 43]


def test_overlay_mixes_and_leaves_unlabelled_pixels(mask: np.ndarray) -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    overlay = OverlayPainter(CLASSES, alpha=0.5).paint(image, mask)
    assert overlay[0, 0].tolist() == [100, 100, 100]
    assert overlay[5, 5].tolist() == [65, 60, 55]
    assert overlay[5, 45].tolist() == [75, 100, 150]
    assert (image == 100).all()


def test_overlay_ends_of_alpha(mask: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert (OverlayPainter(CLASSES, alpha=0.0).paint(image, mask) == image).all()
    colors = OverlayPainter(CLASSES, alpha=1.0).paint(image, mask)
    assert (colors[1:] == colorize(mask, CLASSES)[1:]).all()


def test_overlay_is_scaled(mask: np.ndarray) -> None:
    """Frame and mask keep their places: a quarter of the rows and columns, in the same colors."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[20:] = 200
    mask[:] = 0
    mask[:, 32:] = 1
    overlay = OverlayPainter(CLASSES, alpha=0.5, scale=0.25).paint(image, mask)
    expected = np.empty((10, 15, 3), np.uint8)
    expected[:5, :8], expected[:5, 8:] = (15, 10, 5), (25, 50, 100)
    expected[5:, :8], expected[5:, 8:] = (115, 110, 105), (125, 150, 200)
    assert overlay.tolist() == expected.tolist()


def test_pictures_that_are_wanted(mask: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    overlay = OverlayPainter(CLASSES, 0.25, 0.4).paint(image, mask)
    color_mask = colorize(mask, CLASSES, 0.4)
    for wanted in ({'overlay'}, {'color_mask'}, {'overlay', 'color_mask'}):
        pictures = OverlayOptions(**dict.fromkeys(wanted, True), alpha=0.25, scale=0.4)
        assert pictures.any
        painted = pictures.paint(image, mask, CLASSES)
        assert painted.keys() == wanted
        for name, expected in (('overlay', overlay), ('color_mask', color_mask)):
            assert name not in wanted or (painted[name] == expected).all()


def test_no_picture_is_wanted(mask: np.ndarray) -> None:
    pictures = OverlayOptions(alpha=0.25, scale=0.4)
    assert not pictures.any
    assert pictures.paint(np.zeros((40, 60, 3), np.uint8), mask, CLASSES) == {}


def test_refused(mask: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r'alpha 1\.5'):
        OverlayPainter(CLASSES, alpha=1.5)
    with pytest.raises(ImageError, match=r'scale 0\.0'):
        OverlayPainter(CLASSES, scale=0.0)
    with pytest.raises(ImageError, match='scale 2'):
        colorize(mask, CLASSES, 2)
    with pytest.raises(ImageError, match=r'\(41, 60\) and mask size \(40, 60\) differ'):
        OverlayPainter(CLASSES).paint(np.zeros((41, 60, 3), np.uint8), mask)


def test_density_of_sampling() -> None:
    """Four times as many points to the left of the middle as to the right."""
    x = np.concatenate([np.linspace(-1, 0, 200, endpoint=False), np.linspace(0, 1, 50)])
    grid = np.stack(np.meshgrid(x, np.linspace(-1, 1, 250)), -1).astype(np.float32)
    picture = draw_density(np.zeros((120, 200, 3), np.uint8), grid).astype(int)
    assert picture.shape == (120, 200, 3)
    dense, sparse = picture[60, 50], picture[60, 150]
    assert dense[2] > dense[0] and sparse[0] > sparse[2]  # red here, blue there


def test_density_of_uniform_sampling_is_green() -> None:
    places = (np.arange(192) + 0.5) / 96 - 1
    grid = np.stack(np.meshgrid(places, places), -1)
    picture = draw_density(np.zeros((90, 90, 3), np.uint8), grid)
    assert (picture[20:70, 20:70].argmax(2) == 1).all()


@pytest.mark.parametrize('count', [0, 1, 10, 11, 19, 20, 21, 64])
def test_no_two_series_look_alike(count: int) -> None:
    pytest.importorskip('matplotlib', reason='charts need matplotlib')
    colors = series_colors(count)
    assert len({tuple(round(255 * part) for part in color) for color in colors}) == count
