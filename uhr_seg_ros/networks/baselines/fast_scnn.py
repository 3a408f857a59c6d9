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
Fast-SCNN: a convolutional network for whole frames at full resolution on small computers.

Source: Poudel et al., "Fast-SCNN: Fast Semantic Segmentation Network", BMVC 2019,
https://arxiv.org/abs/1902.04502, table 1.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.efficientvit import MBConv
from uhr_seg_ros.networks.backbones.layers import ConvNorm, Residual, resize_like
from uhr_seg_ros.networks.backbones.upernet import adaptive_mean, POOL_SIZES

#: Of the bottlenecks: channels, blocks and stride of the first.
BOTTLENECKS = ((64, 3, 2), (96, 3, 2), (128, 3, 1))
EXPAND = 6
CHANNELS = 128


class Separable(nn.Sequential):
    """Depthwise 3x3, then 1x1, each with norm; activation after the second only."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depth = ConvNorm(inputs, inputs, 3, stride=stride, groups=inputs, act='none')
        self.point = ConvNorm(inputs, outputs)


class PyramidPooling(nn.Module):
    """Join a map with its means over 1, 2, 3 and 6 parts: (N, C, h, w) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = channels // len(POOL_SIZES)
        self.pools = nn.ModuleList(ConvNorm(channels, part) for _ in POOL_SIZES)
        self.out = ConvNorm(2 * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [
            functional.interpolate(conv(adaptive_mean(x, bins)), x.shape[2:], mode='bilinear')
            for conv, bins in zip(self.pools, POOL_SIZES, strict=True)
        ]
        return self.out(torch.cat([x, *pooled], 1))


class FastSCNN(nn.Module):
    """
    Image (N, 3, H, W) -> logits (N, classes, H / 8, W / 8).

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.downsample = nn.Sequential(
            ConvNorm(3, 32, 3, stride=2), Separable(32, 48, 2), Separable(48, 64, 2)
        )
        blocks: list[nn.Module] = []
        width = 64
        for channels, count, stride in BOTTLENECKS:
            block = partial(MBConv, outputs=channels, expand=EXPAND, act='relu')
            blocks.append(block(width, stride=stride))
            blocks += [Residual(block(channels)) for _ in range(count - 1)]
            width = channels
        self.context = nn.Sequential(*blocks, PyramidPooling(CHANNELS))
        self.high = ConvNorm(64, CHANNELS, act='none')
        self.low = nn.Sequential(
            ConvNorm(CHANNELS, CHANNELS, 3, groups=CHANNELS),
            ConvNorm(CHANNELS, CHANNELS, act='none'),
        )
        self.classify = nn.Sequential(
            Separable(CHANNELS, CHANNELS),
            Separable(CHANNELS, CHANNELS),
            nn.Dropout2d(0.1),
            nn.Conv2d(CHANNELS, classes, 1),
        )
        self.classifiers = ('classify.3',)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        fine = self.downsample(image)
        coarse = resize_like(self.context(fine), fine)
        return self.classify((self.high(fine) + self.low(coarse)).relu())
