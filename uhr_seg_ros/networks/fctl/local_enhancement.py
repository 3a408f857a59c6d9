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
Alternating local enhancement (ALE): the patch in its own and its contexts' resolutions.

Source: Liu et al., "Ultra-high Resolution Image Segmentation via Locality-aware Context Fusion and
Alternating Local Enhancement", section 3.4 and figure 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

#: Windows of the groups of channels of an attention map.
WINDOWS = (3, 5, 7, 9)
#: Structures of figure 13 -> how often everything is enhanced before the patch is once more.
ROUNDS = {'a': 0, 'b': 1, 'c': 0, 'd': 1, 'e': 2}
#: Those with one reference in place of two.
ONE_REFERENCE = ('a', 'b')
#: What stands in its place for comparison, in table 7.
CONCAT = 'concat'


class LocalFeatureInteraction(nn.Module):
    """
    Local feature interaction (LFI), equations 6 and 7.

    Target (N, C, h, w) and references of the same shape -> the enhanced target. What the
    references show around a place weighs the channels of the target there.

    Args:
        channels: C, a multiple of the number of windows and of references.
        references: How many.
        windows: Sides of the depthwise kernels, one per group of channels.
    """

    def __init__(self, channels: int, references: int, windows: Sequence[int] = WINDOWS) -> None:
        super().__init__()
        if channels % len(windows) or channels % references:
            msg = (
                f'{channels} channels do not divide into {len(windows)} windows and '
                f'{references} references'
            )
            raise ValueError(msg)
        self.target = nn.Conv2d(channels, channels, 1)
        self.references = nn.ModuleList(
            nn.Conv2d(channels, channels // references, 1) for _ in range(references)
        )
        group = channels // len(windows)
        self.groups = nn.ModuleList(
            nn.Conv2d(group, group, side, padding=side // 2, groups=group) for side in windows
        )

    def forward(self, target: torch.Tensor, references: Sequence[torch.Tensor]) -> torch.Tensor:
        target = self.target(target)
        return target + self.attention(references) * target

    def attention(self, references: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return E of equation 6, (N, C, h, w)."""
        tokens = [conv(x) for conv, x in zip(self.references, references, strict=True)]
        groups = torch.cat(tokens, 1).chunk(len(self.groups), 1)
        return torch.cat([conv(x) for conv, x in zip(self.groups, groups, strict=True)], 1)


class AlternatingLocalEnhancement(nn.Module):
    """
    ALE, algorithm 1: the patch map and the cropped context maps enhance each other.

    Args:
        channels: C.
        contexts: Names of the contexts.
        structure: Of figure 13: ``a`` and ``b`` use one of the contexts alone, the others all;
            they enhance everything 0, 1, 0, 1 and 2 times before the patch is enhanced once
            more. ``d`` is algorithm 1.
        reference: The one context of ``a`` and ``b``; None: the first.
    """

    def __init__(
        self,
        channels: int,
        contexts: Sequence[str],
        structure: str = 'd',
        reference: str | None = None,
    ) -> None:
        super().__init__()
        if structure not in ROUNDS:
            msg = f'structure {structure!r} is unknown, known: {", ".join((*ROUNDS, CONCAT))}'
            raise ValueError(msg)
        self.contexts = _references(contexts, structure, reference)
        names = ('local', *self.contexts)
        others = len(names) - 1
        self.rounds = nn.ModuleList(
            nn.ModuleDict({name: LocalFeatureInteraction(channels, others) for name in names})
            for _ in range(ROUNDS[structure])
        )
        self.last = LocalFeatureInteraction(channels, others)

    def forward(self, patch: torch.Tensor, cropped: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """
        Enhance the patch map.

        Args:
            patch: (N, C, h, w).
            cropped: Context -> the part of its map that shows the patch, enlarged to (N, C, h, w).
        """
        maps = {'local': patch, **{name: cropped[name] for name in self.contexts}}
        for blocks in self.rounds:
            assert isinstance(blocks, nn.ModuleDict)
            maps = {
                name: block(maps[name], [maps[other] for other in maps if other != name])
                for name, block in blocks.items()
            }
        return self.last(maps['local'], [maps[name] for name in self.contexts])


class Concatenation(nn.Module):
    """
    The patch map beside the cropped context maps, mixed by a 1x1 convolution: "Concat" of table 7.

    Args:
        channels: C.
        contexts: Names of the contexts.
    """

    def __init__(self, channels: int, contexts: Sequence[str]) -> None:
        super().__init__()
        self.contexts = tuple(contexts)
        self.mix = nn.Conv2d((1 + len(contexts)) * channels, channels, 1)

    def forward(self, patch: torch.Tensor, cropped: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Mix maps, as ``AlternatingLocalEnhancement``."""
        return self.mix(torch.cat([patch, *(cropped[name] for name in self.contexts)], 1))


def local_enhancement(
    channels: int, contexts: Sequence[str], structure: str, reference: str | None = None
) -> AlternatingLocalEnhancement | Concatenation:
    """
    Build ALE, or what it is compared with.

    Args:
        channels: C.
        contexts: Names of the contexts.
        structure: Of ``AlternatingLocalEnhancement``, or ``CONCAT``.
        reference: Of ``AlternatingLocalEnhancement``.
    """
    if structure == CONCAT:
        _references(contexts, structure, reference)
        return Concatenation(channels, contexts)
    return AlternatingLocalEnhancement(channels, contexts, structure, reference)


def _references(contexts: Sequence[str], structure: str, reference: str | None) -> tuple[str, ...]:
    if reference is None:
        return tuple(contexts[:1] if structure in ONE_REFERENCE else contexts)
    if structure not in ONE_REFERENCE or reference not in contexts:
        msg = (
            f'reference {reference!r} with structure {structure!r}: only '
            f'{" and ".join(ONE_REFERENCE)} have one, which is one of the contexts: '
            f'{", ".join(contexts)}'
        )
        raise ValueError(msg)
    return (reference,)


def crop(context: torch.Tensor, place: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """
    Cut a window out of maps and resize it bilinearly, both in one.

    Args:
        context: (N or 1, C, H, W).
        place: (N, 4) top, left, height and width of the windows, as shares of the map.
        size: Height and width of the result.

    Returns:
        (N, C, *size); beyond a map, its border goes on.
    """
    top, left, height, width = place.unbind(1)
    rows = _interpolation(top, height, size[0], context.shape[2])
    columns = _interpolation(left, width, size[1], context.shape[3])
    return rows[:, None] @ context @ columns[:, None].transpose(2, 3)


def _interpolation(
    start: torch.Tensor, length: torch.Tensor, count: int, size: int
) -> torch.Tensor:
    """Return the matrices (N, count, size) that interpolate windows of an axis linearly."""
    share = (torch.arange(count).to(start) + 0.5) / count
    centers = (start[:, None] + share * length[:, None]) * size - 0.5
    centers = centers.clamp(0, size - 1)
    distance = (centers[..., None] - torch.arange(size).to(start)).abs()
    return (1 - distance).clamp(min=0)
