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
FCtL as released for Inria and DeepGlobe: FCN-8s on patches with context attention.

What a patch finds in its surroundings is weighed and added.

Source: Li et al., "From Contexts to Locality: Ultra-high Resolution Image Segmentation via
Locality-aware Contextual Correlation", ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

import torch
from torch import nn

from uhr_seg_ros.core.patch_grid import WHOLE
from uhr_seg_ros.networks.backbones.normalization import unit_range
from uhr_seg_ros.networks.backbones.vgg import VGG16
from uhr_seg_ros.networks.fctl.decoders import FCN8Head
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.fctl.vgg_windowed import WindowedVGG16

#: Side of a patch as published, px.
PATCH = 508
#: What a patch looks at: itself and two contexts; all fusions are in this order.
SOURCES = ('local', 'medium', 'large')


class ContextAttention(nn.Module):
    """
    Patch map (N, C, h, w), source map (N or 1, C, h, w) -> what the patch finds there.

    Args:
        channels: C.
        centered: Take the mean over places off queries and keys, so that what all places have in
            common does not decide.
    """

    def __init__(self, channels: int, *, centered: bool = False) -> None:
        super().__init__()
        self.centered = centered
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, patch: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        query = self.query(patch).flatten(2)
        key = self.key(source).flatten(2)
        if self.centered:
            query, key = (each - each.mean(2, keepdim=True) for each in (query, key))
        attention = (query.transpose(1, 2) @ key).softmax(2)
        found = self.value(source).flatten(2) @ attention.transpose(1, 2)
        return self.gamma * found.reshape(patch.shape)


class ContextFusion(nn.Module):
    """
    Patch map (N, C, h, w) and the maps of its contexts -> the patch map with what it found.

    What is found in every source is weighed per channel and place; the weights add up to one.

    Args:
        channels: C.
        centered: Of ``ContextAttention``.
    """

    def __init__(self, channels: int, *, centered: bool = False) -> None:
        super().__init__()
        self.attend = nn.ModuleDict(
            {name: ContextAttention(channels, centered=centered) for name in SOURCES}
        )
        self.enter = nn.ModuleDict({name: nn.Conv2d(channels, channels, 1) for name in SOURCES})
        self.mix = nn.Conv2d(len(SOURCES) * channels, len(SOURCES) * channels, 1)
        self.leave = nn.ModuleDict({name: nn.Conv2d(channels, channels, 1) for name in SOURCES})

    def forward(self, patch: torch.Tensor, contexts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        sources = {'local': patch, **contexts}
        found = {name: self.attend[name](patch, sources[name]) for name in SOURCES}
        mixed = self.mix(torch.cat([self.enter[name](found[name]) for name in SOURCES], 1))
        parts = zip(SOURCES, mixed.chunk(len(SOURCES), 1), strict=True)
        weights = torch.stack([self.leave[name](part).sigmoid() for name, part in parts])
        return patch + (weights.softmax(0) * torch.stack([*found.values()])).sum(0)


class ReleasedFCtL(PatchNetwork):
    """
    FCN-8s on patches, whose coarsest map is enriched from two contexts.

    The extractors of the contexts are trained before and stay as they are.

    Args:
        classes: Number of classes.
        contexts: Factors of ``medium`` and ``large``.
        centered: Of ``ContextFusion``.
        side: Of a patch, px.
    """

    def __init__(
        self,
        classes: int,
        contexts: Mapping[str, float | str],
        *,
        centered: bool,
        side: int = PATCH,
    ) -> None:
        super().__init__(classes, side, contexts)
        self.centered = centered
        self.backbone: VGG16 | WindowedVGG16 = VGG16()
        self.extractors = nn.ModuleDict({name: VGG16() for name in contexts})
        self.fusion = ContextFusion(VGG16.widths[-1], centered=centered)
        self.head = FCN8Head(VGG16.widths, classes)
        self.extractors.requires_grad_(requires_grad=False)

    def encode(self, name: str, image: torch.Tensor) -> torch.Tensor:
        return self.extractors[name](unit_range(image))[-1]

    def segment(
        self, patch: torch.Tensor, maps: Mapping[str, torch.Tensor], place: torch.Tensor
    ) -> torch.Tensor:
        *fine, coarse = self.backbone(unit_range(patch))
        return self.head([*fine, self.fusion(coarse, maps)], (self.side, self.side))

    def exported(self) -> ReleasedFCtL:
        """Return a network with the same weights that saves what borders of zeros cost."""
        network = copy(self)
        network._modules = dict(self._modules)
        network.backbone = self._windowed(self.backbone)
        network.extractors = nn.ModuleDict(
            {name: self._windowed(each) for name, each in self.extractors.items()}
        )
        return network

    def _windowed(self, encoder: nn.Module) -> WindowedVGG16:
        if isinstance(encoder, WindowedVGG16):
            return encoder
        assert isinstance(encoder, VGG16)
        return WindowedVGG16(encoder, self.side)


def fctl_inria(classes: int, *, side: int = PATCH) -> ReleasedFCtL:
    """Build the released network of the Inria data set: contexts of 2 and 3 patches."""
    return ReleasedFCtL(classes, {'medium': 2, 'large': 3}, centered=False, side=side)


def fctl_deepglobe(classes: int, *, side: int = PATCH) -> ReleasedFCtL:
    """Build the released network of DeepGlobe: contexts of 3 patches and of the whole image."""
    return ReleasedFCtL(classes, {'medium': 3, 'large': WHOLE}, centered=True, side=side)
