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

"""The Laplacian residuals of the luminance by OpenCV are those of the network by torch."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.core.laplacian import luminance_residuals


@pytest.mark.parametrize('size', [(16, 16), (16, 48), (104, 72), (264, 136)])
def test_like_the_network(size: tuple[int, int]) -> None:
    torch = pytest.importorskip('torch', reason='the network is compared with')
    from torch.nn import functional  # noqa: PLC0415

    from uhr_seg_ros.networks.hlrc.region import LaplacianResiduals  # noqa: PLC0415

    planes = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)
    light = functional.avg_pool2d(torch.from_numpy(planes), 2).mean(1, keepdim=True)
    fine, coarse = LaplacianResiduals(1)(light)
    larger = functional.interpolate(coarse, scale_factor=2, mode='bilinear')
    expected = torch.cat([fine, larger], 1).numpy()
    found = luminance_residuals(planes)
    assert found.shape == (1, 2, size[0] // 2, size[1] // 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('channels', [1, 3])
def test_even_light_loses_nothing_and_a_point_does(channels: int) -> None:
    planes = np.full((1, channels, 304, 160), 2.5, np.float32)
    assert np.abs(luminance_residuals(planes)).max() < 1e-6
    planes[0, 0, 160, 80] += 4.0 * channels
    fine = luminance_residuals(planes)[0, 0]
    assert np.unravel_index(fine.argmax(), fine.shape) == (80, 40)
    # By the weights of the middle: six 16ths along each axis, blurred twice at even places.
    row = np.array([1, 4, 6, 4, 1]) / 16
    kept = sum(2 * row[2 * step] ** 2 for step in range(3))
    assert fine.max() == pytest.approx(1 - kept**2, abs=1e-6)
