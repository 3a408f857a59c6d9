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

"""The arg max of upsampled logits, against interpolating all of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from uhr_seg_ros.pipelines import upsampling
from uhr_seg_ros.pipelines.masks import enlarged_arg_max
from uhr_seg_ros.pipelines.upsampling import MaskUpsampler, upsampled_arg_max


def regions(classes: int, size: tuple[int, int], noise: float) -> np.ndarray:
    """Make logits (C, h, w) of regions a few px wide, and noise."""
    rng = np.random.default_rng(classes)
    coarse = rng.normal(size=(classes, size[0] // 6 + 2, size[1] // 6 + 2))
    smooth = [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_CUBIC) for plane in coarse]
    return (np.stack(smooth) + noise * rng.normal(size=(classes, *size))).astype(np.float32)


def upsampled(logits: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge (C, h, w) bilinearly, half-pixel centers, in float64."""
    logits = logits.astype(np.float64)
    for axis in (1, 2):
        size = logits.shape[axis]
        place = np.clip((np.arange(factor * size) + 0.5) / factor - 0.5, 0, size - 1)
        lower = np.floor(place).astype(int)
        weight = (place - lower).reshape((-1, 1) if axis == 1 else -1)
        upper = np.minimum(lower + 1, size - 1)
        logits = logits.take(lower, axis) * (1 - weight) + logits.take(upper, axis) * weight
    return logits


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small maps take several bands and chunks."""
    monkeypatch.setattr(upsampling, 'BAND_CELLS', 600)
    monkeypatch.setattr(upsampling, 'CHUNK_VALUES', 2000)


@pytest.mark.parametrize('noise', [0.0, 0.3, 5.0])
@pytest.mark.parametrize(
    ('classes', 'factor'),
    [(1, 4), (2, 4), (5, 1), (5, 2), (5, 3), (5, 4), (19, 4), (5, 16), (300, 2)],
)
def test_every_px(classes: int, factor: int, noise: float) -> None:
    logits = regions(classes, (23, 31), noise)
    mask = upsampled_arg_max(logits, factor, (23 * factor, 31 * factor))
    assert np.array_equal(mask, upsampled(logits, factor).argmax(0))
    assert mask.dtype == (np.uint8 if classes < 256 else np.uint16)


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (6, 1), (2, 2)])
def test_few_logits(size: tuple[int, int]) -> None:
    logits = regions(4, size, 1.0)
    mask = upsampled_arg_max(logits, 4, (4 * size[0], 4 * size[1]))
    assert np.array_equal(mask, upsampled(logits, 4).argmax(0))


def test_padding_is_left_out() -> None:
    logits = regions(5, (20, 30), 0.3)
    assert np.array_equal(
        upsampled_arg_max(logits, 4, (67, 105)), upsampled_arg_max(logits, 4, (80, 120))[:67, :105]
    )


@pytest.mark.parametrize('classes', [2, 6])
def test_the_first_of_equal_classes(classes: int) -> None:
    """Weights are multiples of an eighth, so that equal sums are exactly equal."""
    logits = np.random.default_rng(0).integers(0, 3, (classes, 40, 40)).astype(np.float32)
    expected = upsampled(logits, 4)
    two = np.partition(expected, -2, axis=0)[-2:]
    assert (two[0] == two[1]).mean() > 0.02
    assert np.array_equal(upsampled_arg_max(logits, 4, (160, 160)), expected.argmax(0))


def test_a_third_class_between_two() -> None:
    """It wins at no corner, and in the middle by a little."""
    logits = np.array([[[4, 0]] * 2, [[0, 4]] * 2, [[2.75, 2.75]] * 2], np.float32)
    mask = upsampled_arg_max(logits, 4, (8, 8))
    assert np.array_equal(mask[0], [0, 0, 0, 2, 2, 1, 1, 1])
    logits[2] = 1.75
    assert set(upsampled_arg_max(logits, 4, (8, 8)).flat) == {0, 1}


@pytest.mark.parametrize('strip', [1, 7, 40])
def test_strips(strip: int) -> None:
    logits = regions(5, (40, 25), 0.3)
    upsampler = MaskUpsampler(logits.shape, 4, (155, 100))
    for top in range(0, 40, strip):
        upsampler.add(logits[:, top : top + strip])
    assert np.array_equal(upsampler.mask, upsampled_arg_max(logits, 4, (155, 100)))


@pytest.mark.parametrize('size', [(96, 160), (90, 150), (23, 31), (16, 16)])
def test_masks_of_frames_of_any_size(size: tuple[int, int]) -> None:
    """Where logits are not enlarged by a whole number, or made smaller, too."""
    logits = regions(5, (24, 40), 0.3)
    padded = -(-size[0] // 16) * 16, -(-size[1] // 16) * 16
    expected = np.stack([cv2.resize(plane, padded[::-1]) for plane in logits]).argmax(0)
    mask = enlarged_arg_max(logits, size, 16)
    assert mask.shape == size
    assert (mask == expected[: size[0], : size[1]]).mean() > 0.9999
