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
EfficientNet-Lite0 as a backbone: inverted residuals without squeeze and excitation.

Of the blocks at the coarsest stride the first one is kept: the four others hold more than half of
the weights, and without them a short training came out no worse.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
ICML 2019, https://arxiv.org/abs/1905.11946, in the form for mobile devices. ReLU stands where the
published one clips at 6: fine-tuning does not miss the limit, and every back end fuses a ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
import re

import torch
from torch import nn

from uhr_seg_ros.core.bundle import IMAGENET_MEAN, IMAGENET_STD
from uhr_seg_ros.networks.backbones.layers import ConvNorm, Encoder, Residual

#: Per group of blocks: kernel, stride, channels, number of blocks. All expand by six.
GROUPS = ((3, 2, 24, 2), (5, 2, 40, 2), (3, 2, 80, 3), (5, 1, 112, 3), (5, 2, 192, 1))
EXPAND = 6

#: The groups whose output is a map: the last one of each stride.
MAPS = (0, 1, 3, 4)

#: The published weights expect (value - 127) / 128.
PUBLISHED_MEAN, PUBLISHED_STD = 127.0, 128.0

#: Of batch norm, as the published weights were trained with.
EPSILON = 1e-3


class InvertedResidual(nn.Sequential):
    """1x1 expansion, depthwise convolution, 1x1 projection without activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * EXPAND
        self.inverted = ConvNorm(inputs, hidden)
        self.depth = ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.point = ConvNorm(hidden, outputs, act='none')


class EfficientNetLite(Encoder):
    """
    Features at strides 4, 8, 16 and 32 of the input.

    Strided convolutions pad on both sides, where the published network pads on one: the same
    features, moved by a fraction of their stride.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(3, 32, 3, stride=2),
            nn.Sequential(ConvNorm(32, 32, 3, groups=32), ConvNorm(32, 16, act='none')),
        )
        self.groups = nn.ModuleList()
        width = 16
        for kernel, stride, channels, blocks in GROUPS:
            first = InvertedResidual(width, channels, kernel, stride)
            others = (
                Residual(InvertedResidual(channels, channels, kernel, 1))
                for _ in range(blocks - 1)
            )
            self.groups.append(nn.Sequential(first, *others))
            width = channels
        self.widths = tuple(GROUPS[index][2] for index in MAPS)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = EPSILON

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) normalized RGB -> maps at strides 4, 8, 16, 32, finest first."""
        x = self.stem(image)
        maps = []
        for index, group in enumerate(self.groups):
            x = group(x)
            if index in MAPS:
                maps.append(x)
        return maps


#: Blocks per stage of the whole network, as the package timm counts them.
_TIMM_STAGES = (1, 2, 2, 3, 3, 4, 1)
#: Layers of a block there -> those of the published file; the first block has no expansion.
_TIMM_FIRST = {
    'conv_dw': '_depthwise_conv',
    'bn1': '_bn1',
    'conv_pw': '_project_conv',
    'bn2': '_bn2',
}
_TIMM_BLOCK = {
    'conv_pw': '_expand_conv',
    'bn1': '_bn0',
    'conv_dw': '_depthwise_conv',
    'bn2': '_bn1',
    'conv_pwl': '_project_conv',
    'bn3': '_bn2',
}

_NORMS = {'inverted': '_bn0', 'depth': '_bn1', 'point': '_bn2'}
_CONVOLUTIONS = {'inverted': '_expand_conv', 'depth': '_depthwise_conv', 'point': '_project_conv'}
_FIRST_BLOCK = {'0': 'depth', '1': 'point'}


def published_name(name: str) -> str:
    """Translate one of our state-dict names into that of the PyTorch checkpoints."""
    if match := re.match(r'stem\.0\.(conv|norm)\.(\w+)$', name):
        return f'{"_conv_stem" if match[1] == "conv" else "_bn0"}.{match[2]}'
    if match := re.match(r'stem\.1\.([01])\.(conv|norm)\.(\w+)$', name):
        return _in_block(0, _FIRST_BLOCK[match[1]], match[2], match[3])
    match = re.match(r'groups\.(\d)\.(\d)\.(?:block\.)?(\w+)\.(conv|norm)\.(\w+)$', name)
    assert match is not None, name
    before = 1 + sum(blocks for *_, blocks in GROUPS[: int(match[1])])
    return _in_block(before + int(match[2]), match[3], match[4], match[5])


def _in_block(block: int, layer: str, kind: str, tensor: str) -> str:
    names = _CONVOLUTIONS if kind == 'conv' else _NORMS
    return f'_blocks.{block}.{names[layer]}.{tensor}'


def from_published(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """
    Turn a published ImageNet classification checkpoint into a state dict of the backbone.

    The normalization of the input is folded into the first convolution and its norm; the border
    of one pixel, where zero means another color, differs.

    Raises:
        KeyError: A tensor is missing.
    """
    names = EfficientNetLite().state_dict()
    state = {name: tensors[published_name(name)] for name in names}
    return _with_normalization(state, 'stem.0.conv.weight', 'stem.0.norm.running_mean')


def timm_name(name: str) -> str:
    """Translate a state-dict name of segmentation-models-pytorch, whose encoder is timm's."""
    if match := re.match(r'model\.(conv_stem|bn1)\.(\w+)$', name):
        return f'{"_conv_stem" if match[1] == "conv_stem" else "_bn0"}.{match[2]}'
    match = re.match(r'model\.blocks\.(\d)\.(\d)\.(\w+)\.(\w+)$', name)
    layers = _TIMM_FIRST if match and match[1] == '0' else _TIMM_BLOCK
    if match is None or match[3] not in layers:
        return name  # of another network, of which no file of this kind has it
    block = sum(_TIMM_STAGES[: int(match[1])]) + int(match[2])
    return f'_blocks.{block}.{layers[match[3]]}.{match[4]}'


def to_timm(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a published checkpoint under timm's names, as ``from_published``."""
    names = {name: timm_name(name) for name in module.state_dict()}
    state = {name: tensors[theirs] for name, theirs in names.items() if theirs in tensors}
    return _with_normalization(state, 'model.conv_stem.weight', 'model.bn1.running_mean')


def _with_normalization(
    state: dict[str, torch.Tensor], first: str, first_mean: str
) -> dict[str, torch.Tensor]:
    """Fold the normalization that the published weights expect into the first layer."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    weight = state[first]
    offset = (mean - PUBLISHED_MEAN) / PUBLISHED_STD
    constant = torch.einsum('oihw,i->o', weight, offset)
    state[first_mean] = state[first_mean] - constant
    state[first] = weight * (std / PUBLISHED_STD)[:, None, None]
    return state
