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
HRNetV2: branches of several resolutions side by side that exchange what they found.

Source: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI
2021; without the two strides of the stem, as learned downsampling uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
import re

import torch
from torch import nn

from uhr_seg_ros.networks.backbones.layers import ConvNorm, resize_like

#: Channels of the stem, and of the first stage's output.
STEM, FIRST = 64, 256
#: Residual units per branch and exchange, and in the first stage.
UNITS = 4
#: Exchanges of the stages of two, three and four branches.
EXCHANGES = (1, 4, 3)
#: Channels of the classifier as a share of its input's.
HIDDEN_SHARE = 4
#: Of the batch norm of the classifier.
MOMENTUM = 0.001


class HRNet(nn.Module):
    """
    Image (N, 3, H, W) -> the maps of all branches together, (N, sum of widths, H, W).

    Args:
        width: Channels of the branch at full resolution; every next one has twice as many.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.widths = tuple(width << branch for branch in range(len(EXCHANGES) + 1))
        self.stem = nn.Sequential(ConvNorm(3, STEM, 3), ConvNorm(STEM, STEM, 3))
        self.first = nn.Sequential(*(_bottleneck(i) for i in range(UNITS)))
        self.stages = nn.ModuleList(
            Stage([FIRST] if index == 0 else self.widths[: index + 1], self.widths[: index + 2], n)
            for index, n in enumerate(EXCHANGES)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = [self.first(self.stem(image))]
        for stage in self.stages:
            maps = stage(maps)
        return torch.cat([resize_like(each, maps[0]) for each in maps], 1)


class Stage(nn.Module):
    """
    Maps of n - 1 resolutions -> maps of n, each from the same or, the last, the coarsest one.

    Args:
        inputs: Channels of the maps.
        outputs: Channels of the maps after it.
        exchanges: How many times they exchange.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], exchanges: int) -> None:
        super().__init__()
        self.enter = nn.ModuleList(
            nn.Identity() if before == after else ConvNorm(before, after, 3)
            for before, after in zip(inputs, outputs[:-1], strict=True)
        )
        self.add = ConvNorm(inputs[-1], outputs[-1], 3, stride=2)
        self.exchanges = nn.Sequential(*(Exchange(outputs) for _ in range(exchanges)))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        entered = [enter(each) for enter, each in zip(self.enter, maps, strict=True)]
        return self.exchanges([*entered, self.add(maps[-1])])


class Exchange(nn.Module):
    """
    Maps, finest first -> the same after residual units, each with the sum of all the others.

    Args:
        widths: Channels of the maps.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(_basic(width) for _ in range(UNITS))) for width in widths
        )
        self.paths = nn.ModuleList(
            nn.ModuleList(_path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        maps = [branch(each) for branch, each in zip(self.branches, maps, strict=True)]
        return [self._sum(target, maps).relu() for target in range(len(maps))]

    def _sum(self, target: int, maps: list[torch.Tensor]) -> torch.Tensor:
        paths = self.paths[target]
        assert isinstance(paths, nn.ModuleList)
        first, *others = (
            resize_like(path(each), maps[target]) for path, each in zip(paths, maps, strict=True)
        )
        return sum(others, first)


class ResidualUnit(nn.Module):
    """``relu(shortcut(x) + body(x))``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.shortcut(x) + self.body(x)).relu()


class ConvHead(nn.Module):
    """
    Feature (N, C, H, W) -> logits (N, classes, H, W): one hidden convolution (decoder C1).

    Args:
        inputs: C.
        classes: Number of classes.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.hidden = ConvNorm(inputs, inputs // HIDDEN_SHARE, 3)
        self.hidden.norm.momentum = MOMENTUM
        self.classify = nn.Conv2d(inputs // HIDDEN_SHARE, classes, 1)
        self.classifiers = ('classify',)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        return self.classify(self.hidden(feature))


def hrnet_segmenter(classes: int, width: int = 48) -> nn.Sequential:
    """Build image (N, 3, H, W) -> logits (N, classes, H, W)."""
    encoder = HRNet(width)
    return nn.Sequential(encoder, ConvHead(sum(encoder.widths), classes))


def _bottleneck(index: int) -> ResidualUnit:
    inputs = STEM if index == 0 else FIRST
    body = nn.Sequential(
        ConvNorm(inputs, STEM), ConvNorm(STEM, STEM, 3), ConvNorm(STEM, FIRST, act='none')
    )
    shortcut = ConvNorm(inputs, FIRST, act='none') if inputs != FIRST else nn.Identity()
    return ResidualUnit(body, shortcut)


def _basic(width: int) -> ResidualUnit:
    body = nn.Sequential(ConvNorm(width, width, 3), ConvNorm(width, width, 3, act='none'))
    return ResidualUnit(body, nn.Identity())


def _path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Build what brings a map to the channels and, if that is coarser, the size of another."""
    if source == target:
        return nn.Identity()
    if source > target:
        return ConvNorm(widths[source], widths[target], act='none')
    width, steps = widths[source], target - source
    return nn.Sequential(
        *(ConvNorm(width, width, 3, stride=2) for _ in range(steps - 1)),
        ConvNorm(width, widths[target], 3, stride=2, act='none'),
    )


#: Our name -> published name, first match of each rule in turn.
_RULES = (
    (r'^first\.', 'layer1.'),
    (r'^stages\.0\.enter\.0\.', 'transition1.0.'),
    # What a stage adds is listed after what it takes over, and is nested once more.
    (r'^stages\.0\.add\.', 'transition1.1.0.'),
    (r'^stages\.1\.add\.', 'transition2.2.0.'),
    (r'^stages\.2\.add\.', 'transition3.3.0.'),
    (r'^stages\.0\.exchanges\.', 'stage2.'),
    (r'^stages\.1\.exchanges\.', 'stage3.'),
    (r'^stages\.2\.exchanges\.', 'stage4.'),
    (r'\.paths\.', '.fuse_layers.'),
    # Layers in a row are numbered from zero, those of a residual unit from one.
    (r'\.shortcut\.', '.downsample.'),
    (r'(stem|body)\.0\.conv\.', 'conv1.'),
    (r'(stem|body)\.1\.conv\.', 'conv2.'),
    (r'(stem|body)\.2\.conv\.', 'conv3.'),
    (r'(stem|body)\.0\.norm\.', 'bn1.'),
    (r'(stem|body)\.1\.norm\.', 'bn2.'),
    (r'(stem|body)\.2\.norm\.', 'bn3.'),
    (r'\.conv\.', '.0.'),
    (r'\.norm\.', '.1.'),
)


def published_name(name: str) -> str:
    """Translate one of ``HRNet``'s state-dict names into that of its authors' checkpoints."""
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name, count=1)
    return name
