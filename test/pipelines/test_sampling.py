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

"""Sampling from bytes: equal to what torch does with whole normalized images."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch is what it is compared with')

from uhr_seg_ros.core.bundle import IMAGENET_MEAN, IMAGENET_STD
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.deformation.grid import sample_image
from uhr_seg_ros.networks.deformation.saliency import reduced
from uhr_seg_ros.pipelines.sampling import Sampler

SAMPLER = Sampler(IMAGENET_MEAN, IMAGENET_STD)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize('size', [(90, 121), (1080, 1920), (7, 5), (24, 40), (1, 1)])
def test_resizing(size: tuple[int, int]) -> None:
    image = picture(*size)
    expected = reduced(normalized(image[None]), (24, 40)).numpy()
    found = SAMPLER.resized(image, (24, 40))
    np.testing.assert_allclose(found, expected, atol=2e-3)  # float32 places in 1920 columns
    assert found.dtype == np.float32 and found.flags.c_contiguous


@pytest.mark.parametrize('size', [(90, 121), (1080, 1920)])
def test_along_a_grid(size: tuple[int, int]) -> None:
    """Up to the corners, where a point takes zeros from outside."""
    image = picture(*size)
    grid = np.random.default_rng(1).uniform(-1, 1, (30, 50, 2)).astype(np.float32)
    grid[0], grid[-1], grid[:, 0, 0], grid[:, -1, 0] = -1, 1, -1, 1
    expected = sample_image(normalized(image[None]), torch.from_numpy(grid)[None]).numpy()
    np.testing.assert_allclose(SAMPLER.along(image, grid), expected, atol=2e-3)


def test_rows_that_lie_apart() -> None:
    image = picture(90, 240)
    grid = np.random.default_rng(1).uniform(-1, 1, (30, 50, 2)).astype(np.float32)
    part = image[::2, 10:200]
    np.testing.assert_array_equal(SAMPLER.along(part, grid), SAMPLER.along(part.copy(), grid))
