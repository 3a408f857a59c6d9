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
The decoder of the semantic branch: pyramid pooling on top of a feature pyramid.

Source: Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018,
https://arxiv.org/abs/1807.10221.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import ConvNorm, resize_like

POOL_SIZES = (1, 2, 3, 6)


def pooling_matrix(length: int, bins: int) -> torch.Tensor:
    """
    Rows that average an axis as adaptive average pooling does: (bins, length) float32.

    Bin b covers [floor(b * length / bins), ceil((b + 1) * length / bins)). Written with integer
    tensors so that an exported graph serves every input size; the exporter has no adaptive pool.
    """
    position = torch.arange(length)[None, :]
    bin_index = torch.arange(bins)[:, None]
    start = torch.div(bin_index * length, bins, rounding_mode='floor')
    stop = torch.div((bin_index + 1) * length + bins - 1, bins, rounding_mode='floor')
    inside = ((position >= start) & (position < stop)).float()
    return inside / inside.sum(1, keepdim=True)


def adaptive_mean(x: torch.Tensor, bins: int) -> torch.Tensor:
    """Adaptive average pooling of (N, C, H, W) to (N, C, bins, bins), as two matrix products."""
    rows = pooling_matrix(x.shape[2], bins).to(x)
    columns = pooling_matrix(x.shape[3], bins).to(x)
    return rows @ x @ columns.transpose(0, 1)


class UPerHead(nn.Module):
    """
    UPerNet decoder: maps of the backbone, finest first -> semantic feature at the finest size.

    Args:
        widths: Channels of the maps.
        channels: Channels of the feature (512 as published).
    """

    def __init__(self, widths: Sequence[int], channels: int = 512) -> None:
        super().__init__()
        levels = len(widths)
        self.pools = nn.ModuleList(ConvNorm(widths[-1], channels) for _ in POOL_SIZES)
        self.bottleneck = ConvNorm(widths[-1] + len(POOL_SIZES) * channels, channels, 3)
        self.laterals = nn.ModuleList(ConvNorm(width, channels) for width in widths[:-1])
        self.fpn = nn.ModuleList(ConvNorm(channels, channels, 3) for _ in range(levels - 1))
        self.fpn_bottleneck = ConvNorm(levels * channels, channels, 3)

    def pyramid_pool(self, top: torch.Tensor) -> torch.Tensor:
        """Pool the coarsest map at four scales: (N, width, h, w) -> (N, channels, h, w)."""
        pooled = [
            functional.interpolate(
                conv(adaptive_mean(top, bins)), size=top.shape[2:], mode='bilinear'
            )
            for conv, bins in zip(self.pools, POOL_SIZES, strict=True)
        ]
        return self.bottleneck(torch.cat([top, *pooled], 1))

    def levels(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the maps of the pyramid, finest first, each at its own size."""
        levels = [conv(x) for conv, x in zip(self.laterals, maps[:-1], strict=True)]
        levels.append(self.pyramid_pool(maps[-1]))
        for index in range(len(levels) - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + resize_like(levels[index], levels[index - 1])
        outputs = [conv(x) for conv, x in zip(self.fpn, levels[:-1], strict=True)]
        return [*outputs, levels[-1]]

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        outputs = self.levels(maps)
        outputs = [outputs[0]] + [resize_like(x, outputs[0]) for x in outputs[1:]]
        return self.fpn_bottleneck(torch.cat(outputs, 1))
