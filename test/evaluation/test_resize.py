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

"""Resizing in parts: the same as whole, and as OpenCV does it."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from uhr_seg_ros.data.sample import ArraySample
from uhr_seg_ros.evaluation import resize as interpolation
from uhr_seg_ros.evaluation.resize import resized_rows, ScaledImage

SIZES = [(40, 50), (57, 81), (100, 70), (13, 31), (41, 50), (1, 1)]


def bands(planes: np.ndarray, heights: list[int]) -> Iterator[np.ndarray]:
    start = 0
    for height in heights:
        yield planes[:, start : start + height]
        start += height
    assert start == planes.shape[1]


@pytest.mark.parametrize('target', SIZES)
@pytest.mark.parametrize('heights', [[41], [1] * 41, [17, 3, 1, 20]])
def test_rows_in_bands(
    target: tuple[int, int], heights: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpolation, 'ROWS', 7)
    planes = np.random.default_rng(0).standard_normal((3, 41, 50)).astype(np.float32)
    parts = list(resized_rows(bands(planes, heights), (41, 50), target))
    resized = np.concatenate(parts, 1)
    assert max(part.shape[1] for part in parts) <= 7
    expected = [
        cv2.resize(plane, target[::-1], interpolation=cv2.INTER_LINEAR) for plane in planes
    ]
    assert resized == pytest.approx(np.stack(expected), abs=2e-6)
    whole = np.concatenate(list(resized_rows([planes], (41, 50), target)), 1)
    assert np.array_equal(resized, whole)


def test_equals_torch() -> None:
    torch = pytest.importorskip('torch', reason='torch is the reference')
    planes = np.random.default_rng(1).standard_normal((2, 64, 48)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(planes)[None], size=(80, 61), mode='bilinear', align_corners=False
    )
    resized = np.concatenate(list(resized_rows([planes], (64, 48), (80, 61))), 1)
    assert resized == pytest.approx(expected[0].numpy(), abs=3e-5)


@pytest.mark.parametrize('scale', [0.8, 0.37, 1.6])
def test_windows_of_a_scaled_image(scale: float) -> None:
    pixels = cv2.GaussianBlur(
        np.random.default_rng(2).integers(0, 256, (90, 125, 3), np.uint8), None, 1.5
    )
    image = ScaledImage(ArraySample('a', pixels, np.zeros((90, 125), np.uint8)), scale)
    height, width = image.size
    assert image.size == (int(90 * scale + 0.5), int(125 * scale + 0.5))
    whole = image.read((0, 0, height, width))
    expected = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    # They differ in how halves are rounded.
    assert np.abs(whole.astype(int) - expected).max() <= 1
    assert (whole != expected).mean() < 0.02
    for window in ((0, 0, 9, 5), (3, 7, 20, 30), (height - 11, width - 13, 11, 13)):
        top, left, rows, columns = window
        part = whole[top : top + rows, left : left + columns]
        assert np.array_equal(image.read(window), part)


def test_scale_1_leaves_the_pixels() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (9, 8, 3), np.uint8)
    image = ScaledImage(ArraySample('a', pixels, np.zeros((9, 8), np.uint8)), 1.0)
    assert np.array_equal(image.read((2, 1, 5, 6)), pixels[2:7, 1:7])
