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
Locality-aware context fusion (LCF): what a patch finds in its contexts, by content and position.

Source: Liu et al., "Ultra-high Resolution Image Segmentation via Locality-aware Context Fusion and
Alternating Local Enhancement", section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

#: How the features that contexts gave are joined (table 6).
FUSIONS = ('adaptive', 'weighted', 'average')
#: Gate and position weights before training: as much by content as by position, and positions
#: that look at what is near.
GATE, NEARNESS = 0.0, 0.5


class LocalityAwareCorrelation(nn.Module):
    """
    Locality-aware contextual correlation (LCC), equation 2.

    Patch map (N, C, h, w) and context map (N or 1, C, h, w) -> locality-aware feature, the same
    shape as the patch map. Both attention maps have rows that add up to one, and so has their
    mixture: the norm of the equation is that already. Queries, keys and values are 1x1
    convolutions, as in the released networks.

    Args:
        channels: C.
        spacing: Distance of two places of the context over that of two places of the patch.
        positions: With the gated positional embedding; without it, equation 1.
    """

    def __init__(self, channels: int, spacing: float, *, positions: bool = True) -> None:
        super().__init__()
        self.spacing = spacing
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        self.gate = nn.Parameter(torch.tensor(GATE)) if positions else None
        self.position = nn.Linear(3, 1, bias=False) if positions else None
        if self.position is not None:
            nn.init.zeros_(self.position.weight)
            self.position.weight.data[0, 2] = -NEARNESS

    def forward(self, patch: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        attention = self.attention(patch, context)
        found = self.value(context).flatten(2) @ attention.transpose(1, 2)
        return found.reshape(patch.shape)

    def attention(self, patch: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return M of equation 2, (N, places of the patch, places of the context)."""
        query = self.query(patch).flatten(2)
        key = self.key(context).flatten(2)
        content = (query.transpose(1, 2) @ key).softmax(2)
        if self.gate is None or self.position is None:
            return content
        relative = relative_positions(patch.shape[2:], context.shape[2:], self.spacing)
        position = self.position(relative.to(patch)).squeeze(2).softmax(1)
        share = self.gate.sigmoid()
        return share * content + (1 - share) * position


def relative_positions(
    patch: Sequence[int], context: Sequence[int], spacing: float
) -> torch.Tensor:
    """
    Return where the places of a context lie, as seen from the places of its patch.

    Args:
        patch: Height and width of the patch map.
        context: Those of the context map; both have the same center.
        spacing: As of ``LocalityAwareCorrelation``.

    Returns:
        (places of the patch, places of the context, 3): rows, columns and squared distance, in
        places of the patch.
    """
    rows, columns = (
        spacing * _centered(there)[None, :] - _centered(here)[:, None]
        for here, there in zip(patch, context, strict=True)
    )
    rows = rows[:, None, :, None].expand(patch[0], patch[1], context[0], context[1])
    columns = columns[None, :, None, :].expand_as(rows)
    both = torch.stack([rows, columns, rows**2 + columns**2], -1)
    return both.reshape(patch[0] * patch[1], context[0] * context[1], 3)


def _centered(count: int) -> torch.Tensor:
    return torch.arange(count) - (count - 1) / 2


class MultiContextFusion(nn.Module):
    """
    Multi-context fusion (MCF), equations 3 and 4: squeeze and split.

    Locality-aware features (N, C, h, w), one per source -> their weighted sum; the weights of all
    sources add up to one in every channel and place.

    Args:
        channels: C.
        sources: How many features.
        scheme: ``adaptive``: weights from the features; ``weighted``: trained, the same for all
            images; ``average``.
    """

    def __init__(self, channels: int, sources: int, scheme: str = 'adaptive') -> None:
        super().__init__()
        if scheme not in FUSIONS:
            msg = f'fusion {scheme!r} is unknown, known: {", ".join(FUSIONS)}'
            raise ValueError(msg)
        self.sources = sources
        self.estimate = None
        self.constant = None
        if scheme == 'adaptive':
            self.estimate = nn.Sequential(
                nn.Conv2d(sources * channels, channels, 1),
                nn.ReLU(),
                nn.Conv2d(channels, sources * channels, 1),
            )
        elif scheme == 'weighted':
            # Four dimensions: a network in channels_last has no other.
            self.constant = nn.Parameter(torch.zeros(sources, channels, 1, 1))

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        stacked = torch.stack(list(features))
        weights = self.weights(features)
        return stacked.mean(0) if weights is None else (weights * stacked).sum(0)

    def weights(self, features: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """Return the weights H of equation 3: (sources, N, C, h, w), or constants; None: equal."""
        if self.constant is not None:
            return self.constant.softmax(0)[:, None]
        if self.estimate is None:
            return None
        estimated = self.estimate(torch.cat(list(features), 1))
        return torch.stack(estimated.chunk(self.sources, 1)).softmax(0)


class LocalityAwareFusion(nn.Module):
    """
    LCF: patch map (N, C, h, w) and the maps of its contexts -> one locality-aware feature.

    Args:
        channels: C.
        spacings: Source -> ``spacing`` of its ``LocalityAwareCorrelation``; ``local`` is the
            patch itself.
        positions: With gated positional embeddings.
        fusion: ``scheme`` of ``MultiContextFusion``.
    """

    def __init__(
        self,
        channels: int,
        spacings: Mapping[str, float],
        *,
        positions: bool = True,
        fusion: str = 'adaptive',
    ) -> None:
        super().__init__()
        self.correlate = nn.ModuleDict(
            {
                name: LocalityAwareCorrelation(channels, spacing, positions=positions)
                for name, spacing in spacings.items()
            }
        )
        self.fuse = MultiContextFusion(channels, len(spacings), fusion)

    def forward(self, patch: torch.Tensor, contexts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        sources = {'local': patch, **contexts}
        return self.fuse(
            [correlate(patch, sources[name]) for name, correlate in self.correlate.items()]
        )
