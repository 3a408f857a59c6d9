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

"""Light, colour and sharpness."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from written import picture

from uhr_seg_ros.data.augmentation import Augmentation, AUGMENTATIONS
from uhr_seg_ros.data.photometric import distort

IMAGE = picture(0, 40, 50)
OFF = Augmentation(brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0)
PUBLISHED = AUGMENTATIONS['cityscapes']


def _draws(ranges: Augmentation, count: int = 60, image: np.ndarray = IMAGE) -> list[np.ndarray]:
    return [distort(image, ranges, np.random.default_rng(seed)) for seed in range(count)]


def test_off_leaves_the_values() -> None:
    """But for the way to HSV and back, which rounds."""
    for ranges in (OFF, replace(OFF, published_order=True)):
        for image in _draws(ranges):
            assert np.abs(image.astype(int) - IMAGE).max() <= 6


def test_what_comes_back_is_no_view() -> None:
    for image in _draws(PUBLISHED):
        assert not np.shares_memory(image, IMAGE)


@pytest.mark.parametrize('order', [False, True])
@pytest.mark.parametrize(
    ('change', 'low', 'high'),
    [
        ({'brightness': 32.0}, 128 - 32, 128 + 32),
        ({'contrast': (0.5, 1.5)}, 64, 192),
        ({'gamma': (0.5, 2.0)}, 64, 181),
        ({'shade': 0.5}, 64, 128),
    ],
)
def test_ranges(order: bool, change: dict, low: float, high: float) -> None:
    gray = np.full((16, 16, 3), 128, np.uint8)
    ranges = replace(OFF, published_order=order, **change)
    values = [image[..., 0].astype(float) for image in _draws(ranges, 300, gray)]
    changed = np.mean([np.abs(value - 128).max() > 1 for value in values])
    assert 0.35 < changed < 0.6
    lowest, highest = np.min(values), np.max(values)
    assert lowest >= low - 1 and highest <= high + 1
    # Most of the range is used.
    assert lowest < low + 0.25 * (128 - low) or low == 128
    assert highest > high - 0.25 * (high - 128) - 1


def _one(seed: int, ranges: Augmentation, image: np.ndarray) -> np.ndarray:
    """Change an image as published, step by step as the paper's framework names them."""
    rng = np.random.default_rng(seed)

    def clipped(values: np.ndarray) -> np.ndarray:
        return np.clip(values, 0, 255).astype(np.uint8)

    def coin() -> bool:
        return rng.random() < 0.5

    if coin():
        image = clipped(image + np.float32(rng.uniform(-ranges.brightness, ranges.brightness)))
    contrast_last = coin()
    for last in (False, True):
        if last:
            if coin():
                hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
                factor = np.float32(rng.uniform(*ranges.saturation))
                hsv[..., 1] = clipped(hsv[..., 1] * factor)
                image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
            if coin():
                hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
                turn = int(rng.integers(-ranges.hue, ranges.hue))  # without its upper end
                hsv[..., 0] = (hsv[..., 0].astype(int) + turn) % 180
                image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        if last == contrast_last and coin():
            image = clipped(image * np.float32(rng.uniform(*ranges.contrast)))
    return image


def test_published_order_step_by_step() -> None:
    for seed in range(60):
        expected = _one(seed, PUBLISHED, IMAGE)
        assert np.array_equal(distort(IMAGE, PUBLISHED, np.random.default_rng(seed)), expected)


def test_hue_and_saturation() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2], red[..., :2] = 200, 100
    turned = [
        cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[0, 0]
        for image in _draws(replace(OFF, hue=18), 200, red)
    ]
    hues = sorted({(int(hue) + 90) % 180 - 90 for hue, _, _ in turned})
    assert hues[0] >= -19 and hues[-1] <= 19 and hues[0] < -10 and hues[-1] > 10
    faded = [
        cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[0, 0, 1]
        for image in _draws(replace(OFF, saturation=(0.5, 1.5)), 200, red)
    ]
    assert min(faded) < 80 and max(faded) > 170


def test_blur_and_noise() -> None:
    def roughness(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image.astype(float), axis=1)).mean())

    plain = roughness(IMAGE)
    blurred = [roughness(image) for image in _draws(replace(OFF, blur=2.0))]
    noisy = [roughness(image) for image in _draws(replace(OFF, noise=20.0))]
    assert min(blurred) < 0.7 * plain and max(blurred) < 1.1 * plain
    assert max(noisy) > 1.1 * plain and min(noisy) > 0.9 * plain


def test_shade_is_soft() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    shaded = [image for image in _draws(replace(OFF, shade=0.6), 40, white) if image.min() < 255]
    assert shaded
    for image in shaded:
        assert np.abs(np.diff(image[..., 0].astype(int), axis=0)).max() <= 12
        assert image.std() > 0
