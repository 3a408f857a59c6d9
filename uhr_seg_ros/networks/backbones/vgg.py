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
VGG16 as FCN-8s uses it: no batch norm, a wide border of zeros, pools that round up.

Sources: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015, configuration D; Long et al., "Fully Convolutional Networks for Semantic
Segmentation", CVPR 2015.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from uhr_seg_ros.networks.backbones.layers import Encoder

#: Convolutions and channels of each stage; every stage ends with a pool.
STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
#: Zeros around the image, px: the 7x7 classifier of FCN-8s shrinks the map, and this makes up.
BORDER = 100


class VGG16(Encoder):
    """
    Image (N, 3, H, W) -> maps after the third, fourth and fifth pool: about 1/8, 1/16 and 1/32.

    For 508 px: (N, 256, 89, 89), (N, 512, 45, 45) and (N, 512, 23, 23).

    Args:
        border: Zeros around the image, px; 1 keeps maps and image aligned.
    """

    #: Channels of the maps.
    widths = tuple(channels for _, channels in STAGES[2:])

    def __init__(self, border: int = BORDER) -> None:
        super().__init__()
        widths = (3, *(channels for _, channels in STAGES))
        self.stages = nn.ModuleList(
            _stage(*ends, count, border if index == 0 else 1)
            for index, (ends, (count, _)) in enumerate(zip(pairwise(widths), STAGES, strict=True))
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps[2:]


def _stage(inputs: int, outputs: int, count: int, border: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        convolution = nn.Conv2d(
            inputs if index == 0 else outputs, outputs, 3, padding=border if index == 0 else 1
        )
        layers += [convolution, nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))


def published_name(name: str) -> str:
    """Translate one of our state-dict names into that of torchvision's ImageNet checkpoint."""
    _, stage, index, leaf = name.split('.')
    # A convolution and its ReLU, so many times, and a pool.
    before = sum(2 * count + 1 for count, _ in STAGES[: int(stage)])
    return f'features.{before + int(index)}.{leaf}'
