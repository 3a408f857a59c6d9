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

"""The first layer on image and residuals, exported at half the size, computes the same."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from uhr_seg_ros.export.residual_stem import ResidualStem
from uhr_seg_ros.networks.backbones.layers import ConvNorm, resize_like
from uhr_seg_ros.networks.hlrc.region import LaplacianResiduals


@pytest.mark.parametrize('size', [(16, 32), (48, 16)])
@torch.no_grad()
def test_same_map(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = ConvNorm(9, 8, 3, stride=2, act='hswish').eval()
    for values in (layer.norm.running_mean, layer.norm.running_var, layer.norm.bias):
        torch.nn.init.uniform_(values, 0.5, 1.5)
    image, residuals = torch.randn(1, 3, *size), LaplacianResiduals()
    fine, coarse = residuals(image)
    expected = layer(torch.cat([image, fine, resize_like(coarse, fine)], 1))
    found = ResidualStem(residuals, layer)(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
