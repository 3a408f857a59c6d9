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
STDC1 as a backbone: blocks that join the outputs of four convolutions of shrinking width.

Source: Fan et al., "Rethinking BiSeNet For Real-time Semantic Segmentation", CVPR 2021,
https://arxiv.org/abs/2104.13188, section 3 and its table of the architecture, which names 8.44 M
parameters and 813 M multiply-adds of an image of 224 px, with the classifier for pretraining. That
the depthwise convolution is there is in the released code, and in these figures.
"""

from __future__ import annotations

import re

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import ConvNorm, Encoder

#: Channels of the two layers in front, which halve the image each.
STEM = (32, 64)
#: Channels of the stages, of two blocks each, the first of which halves the map.
WIDTHS = (256, 512, 1024)


class DenseBlock(nn.Module):
    """
    Join maps of four kernels, one half, a quarter and two eighths of the channels.

    Args:
        inputs: Channels in.
        outputs: Channels out, a multiple of 8.
        stride: 1 or 2: behind the first convolution, by a depthwise one for those that follow it
            and by a mean for its own output.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half, quarter, eighth = outputs // 2, outputs // 4, outputs // 8
        self.stride = stride
        self.first = ConvNorm(inputs, half)
        self.shrink = (
            ConvNorm(half, half, 3, stride=2, groups=half, act='none')
            if stride == 2
            else nn.Identity()
        )
        self.others = nn.ModuleList(
            (ConvNorm(half, quarter, 3), ConvNorm(quarter, eighth, 3), ConvNorm(eighth, eighth, 3))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        maps = [functional.avg_pool2d(first, 3, 2, 1) if self.stride == 2 else first]
        x = self.shrink(first)
        for conv in self.others:
            x = conv(x)
            maps.append(x)
        return torch.cat(maps, 1)


class STDC1(Encoder):
    """Image (N, 3, H, W) -> maps at 1/8, 1/16 and 1/32, finest first."""

    widths = WIDTHS

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(3, STEM[0], 3, stride=2), ConvNorm(STEM[0], STEM[1], 3, stride=2)
        )
        inputs = (STEM[1], *WIDTHS)
        self.stages = nn.ModuleList(
            nn.Sequential(DenseBlock(before, width, 2), DenseBlock(width, width, 1))
            for before, width in zip(inputs, WIDTHS, strict=False)
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        x = self.stem(image)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


#: Our layers of a block -> those of the authors' classifier.
_AUTHORS_LAYERS = {
    'first.conv': 'conv_list.0.conv',
    'first.norm': 'conv_list.0.bn',
    'shrink.conv': 'avd_layer.0',
    'shrink.norm': 'avd_layer.1',
}


def authors_name(name: str) -> str:
    """Translate one of our state-dict names into that of the authors' classifier."""
    if match := re.match(r'stem\.(\d)\.(conv|norm)\.(\w+)$', name):
        return f'features.{match[1]}.{match[2].replace("norm", "bn")}.{match[3]}'
    match = re.match(r'stages\.(\d)\.(\d)\.(.+)\.(\w+)$', name)
    assert match is not None, name
    block = len(STEM) + 2 * int(match[1]) + int(match[2])
    layer = _AUTHORS_LAYERS.get(match[3])
    if layer is None:
        _, index, kind = match[3].split('.')
        layer = f'conv_list.{int(index) + 1}.{kind.replace("norm", "bn")}'
    return f'features.{block}.{layer}.{match[4]}'
