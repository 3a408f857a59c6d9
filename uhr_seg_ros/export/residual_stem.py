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

"""
The first layer of a trunk on image and Laplacian residuals, exported without full-size residuals.

The published trunk begins with a 3x3 convolution of stride 2 over nine channels: the image x, its
residual ``L1 = x - u(d(x))`` and ``L2`` enlarged by two. All are linear, so x is convolved once,
with the sum of the first two kernels, and what is enlarged stays at half the size: its four
sub-pixel phases are channels there, which a 2x2 convolution sees where the 3x3 one saw pixels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.export.folded import folded
from uhr_seg_ros.networks.backbones.layers import ConvNorm, phase_kernels
from uhr_seg_ros.networks.hlrc.region import LaplacianResiduals


class ResidualStem(nn.Module):
    """
    Image (1, 3, H, W) of even sides -> what the first layer gives, (1, widths, H / 2, W / 2).

    Args:
        residuals: Of three channels.
        layer: 3x3, stride 2, on ``[x, L1, bilinear(L2)]``; in evaluation mode.
    """

    phases: torch.Tensor

    def __init__(self, residuals: LaplacianResiduals, layer: ConvNorm) -> None:
        super().__init__()
        self.residuals, self.act = residuals, layer.act
        weight, bias = folded(layer)
        plain, fine, coarse = weight.split(residuals.channels, 1)
        self.image, self.bias = nn.Parameter(plain + fine), nn.Parameter(bias)
        self.enlarged = nn.Parameter(torch.cat([on_phases(-fine), on_phases(coarse)], 1))
        self.register_buffer('phases', phase_kernels(2).repeat(residuals.channels, 1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        residuals = self.residuals
        half = residuals.down(image)
        coarse = residuals.residual(half, residuals.down(half))
        padded = functional.pad(coarse, (1, 1, 1, 1), 'replicate')
        phases = functional.conv2d(padded, self.phases, groups=residuals.channels)
        enlarged = functional.pad(torch.cat([residuals.up_phases(half), phases], 1), (1, 0, 1, 0))
        seen = functional.conv2d(image, self.image, self.bias, 2, 1)
        return self.act(seen + functional.conv2d(enlarged, self.enlarged))


def on_phases(weight: torch.Tensor) -> torch.Tensor:
    """
    Write a 3x3 kernel of stride 2 for the phases of its input.

    Row ``2 i - 1 + k`` of the input is row ``i - 1`` of the odd phase for k = 0, and row i of the
    even and the odd one for 1 and 2; columns alike.

    Args:
        weight: (outputs, C, 3, 3).

    Returns:
        (outputs, 4 C, 2, 2), over phases in row-major order, channel by channel.
    """
    outputs, channels = weight.shape[:2]
    result = torch.zeros(outputs, channels, 2, 2, 2, 2)
    places = ((1, 0), (0, 1), (1, 1))  # phase, place in the new kernel
    for row, (phase_row, y) in enumerate(places):
        for column, (phase_column, x) in enumerate(places):
            result[:, :, phase_row, phase_column, y, x] = weight[:, :, row, column]
    return result.reshape(outputs, 4 * channels, 2, 2)
