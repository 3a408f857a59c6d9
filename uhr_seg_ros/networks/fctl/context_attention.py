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
Context attention of FCtL as released: what a patch finds in its surroundings, weighed and added.

Source: Li et al., "From Contexts to Locality: Ultra-high Resolution Image Segmentation via
Locality-aware Contextual Correlation", ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

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
