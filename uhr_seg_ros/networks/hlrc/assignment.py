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
Semantic assignment branch (SAB): compact semantic tokens are assigned to the partitioned regions.

With them, the classifier on assigned tokens and local features.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.core.bundle import FUSION_REACH
from uhr_seg_ros.networks.backbones.layers import ConvNorm, Residual
from uhr_seg_ros.networks.hlrc.region import NEIGHBORS, SUBPIXELS


def assign(tokens: torch.Tensor, affinity: torch.Tensor) -> torch.Tensor:
    """
    Assign tokens to quarter-resolution pixels.

    ``R(c, 4h+i, 4w+j) = sum_n A(n, i, j, h, w) F(c, h+dy_n, w+dx_n)``: each pixel is a weighted
    sum of the nine tokens around its cell. The weights are neither normalized nor put through a
    softmax; tokens outside the map are zero.

    Args:
        tokens: (N, C, h, w) semantic tokens.
        affinity: (N, h, w, 144), laid out as ``Experts`` says.

    Returns:
        (N, C, 4 h, 4 w).
    """
    batch, channels, height, width = tokens.shape
    padded = functional.pad(tokens, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    around = [padded[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    weights = affinity.reshape(batch, height, width, SUBPIXELS, NEIGHBORS)
    pixels = weights @ torch.stack(around, 3)
    pixels = pixels.reshape(batch, height, width, 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
    return pixels.reshape(batch, 4 * height, 4 * width, channels).permute(0, 3, 1, 2)


class Mixing(nn.Sequential):
    """5x5 depthwise convolution, then a bottleneck twice as wide: (N, C, h, w) -> same shape."""

    #: Neighbors that it looks at on each side, px.
    reach = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth = ConvNorm(channels, channels, 5, groups=channels, act='none')
        self.widen = ConvNorm(channels, 2 * channels)
        self.point = ConvNorm(2 * channels, channels, act='none')


class Decoder(nn.Module):
    """
    (N, region + local, h, w) -> logits (N, classes, h, w).

    Args:
        region: Channels of the assigned tokens.
        local: Channels of the local features.
        hidden: Channels between the two convolutions.
        classes: Number of classes.
        kernel: Size of the first convolution; 3 as published.
        mixing: Residual blocks between the two, in which a quarter-resolution pixel sees its
            neighbors; none as published.

    Raises:
        ValueError: It would look further than the back ends expect of a fusion.
    """

    def __init__(
        self,
        region: int,
        local: int,
        hidden: int,
        classes: int,
        kernel: int = 3,
        *,
        mixing: int = 0,
    ) -> None:
        super().__init__()
        if (reach := kernel // 2 + Mixing.reach * mixing) > FUSION_REACH:
            msg = f'the decoder looks {reach} px around, at most {FUSION_REACH}: lessen mixing'
            raise ValueError(msg)
        self.region = region
        self.fuse = ConvNorm(region + local, hidden, kernel)
        self.mixing = nn.Sequential(*(Residual(Mixing(hidden)) for _ in range(mixing)))
        self.classify = nn.Conv2d(hidden, classes, 1)
        self.classifiers = ('classify',)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.classify(self.mixing(self.fuse(features)))
