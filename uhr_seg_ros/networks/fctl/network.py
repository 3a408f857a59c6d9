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
FCtL extended: patches that know their surroundings.

``fctl`` is the network of the paper, ``fctl_s`` the same scaled for CPUs; those that were released
are in ``released``.

Source: Liu et al., "Ultra-high Resolution Image Segmentation via Locality-aware Context Fusion and
Alternating Local Enhancement".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.core.patch_grid import WHOLE
from uhr_seg_ros.networks.backbones.efficientnet_lite import EfficientNetLite
from uhr_seg_ros.networks.backbones.layers import Encoder
from uhr_seg_ros.networks.backbones.mit import DEPTHS, MixTransformer
from uhr_seg_ros.networks.backbones.vgg import VGG16
from uhr_seg_ros.networks.fctl.context_attention import SOURCES
from uhr_seg_ros.networks.fctl.decoders import HIDDEN, SkipDecoder, UPerDecoder
from uhr_seg_ros.networks.fctl.local_enhancement import crop, local_enhancement
from uhr_seg_ros.networks.fctl.locality_aware import LocalityAwareFusion
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.fctl.stages import PATCH

#: The same of the small network: a multiple of its coarsest stride.
SMALL_PATCH = 384


class FCtL(PatchNetwork):
    """
    The extended network: X + LCF + ALE, then a decoder.

    Args:
        classes: Number of classes.
        side: Of a patch, px.
        contexts: Name -> factor, in the order of ``SOURCES``; without ``local`` the local context
            is the patch itself.
        backbone: Makes the encoder of the patch, and another one for every context.
        decoder: Maps' channels and classes -> decoder of the patch's maps.
        sources: What LCF correlates the patch with, of ``SOURCES``; none: no LCF.
        structure: Of ``local_enhancement``; empty: no ALE.
        reference: Of ``local_enhancement``.
        positions: Of LCF.
        fusion: Of LCF.
    """

    def __init__(
        self,
        classes: int,
        side: int,
        contexts: Mapping[str, float | str],
        backbone: Callable[[], Encoder],
        decoder: Callable[[Sequence[int], int], nn.Module],
        *,
        sources: Sequence[str] = SOURCES,
        structure: str = 'd',
        reference: str | None = None,
        positions: bool = True,
        fusion: str = 'adaptive',
    ) -> None:
        super().__init__(classes, side, contexts)
        self.backbone = backbone()
        self.extractors = nn.ModuleDict({name: backbone() for name in contexts})
        channels = self.backbone.widths[-1]
        spacings = {
            # No position is common to all patches of a whole image: its map is taken as it is.
            name: float(factor) if factor != WHOLE else 1.0
            for name, factor in {'local': 1, **contexts}.items()
            if name in sources
        }
        self.lcf = (
            LocalityAwareFusion(channels, spacings, positions=positions, fusion=fusion)
            if spacings
            else None
        )
        wider = [name for name in contexts if name != 'local']
        self.ale = (
            local_enhancement(channels, wider, structure, reference)
            if structure and wider
            else None
        )
        self.decoder = decoder(self.backbone.widths, classes)
        self._check_use(contexts, sources)

    def _check_use(self, contexts: Iterable[str], sources: Sequence[str]) -> None:
        used = {*sources, *(self.ale.contexts if self.ale is not None else ())}
        if idle := [name for name in contexts if name not in used]:
            msg = (
                f'context {idle[0]} is used neither by sources {list(sources)} nor by the '
                f'structure: set {idle[0]} to null, or name it in sources'
            )
            raise ValueError(msg)

    def encode(self, name: str, image: torch.Tensor) -> torch.Tensor:
        return self.extractors[name](image)[-1]

    def segment(
        self, patch: torch.Tensor, maps: Mapping[str, torch.Tensor], place: torch.Tensor
    ) -> torch.Tensor:
        *fine, coarse = self.backbone(patch)
        total = coarse
        if self.lcf is not None:
            total = total + self.lcf(coarse, maps)
        if self.ale is not None:
            cropped = {
                name: crop(found, self._inside(name, place), coarse.shape[2:])
                for name, found in maps.items()
                if name in self.ale.contexts
            }
            total = total + self.ale(coarse, cropped)
        logits = self.decoder([*fine, total])
        # Not the shape of the patch: a graph is to know the size of its logits.
        return functional.interpolate(logits, size=(self.side, self.side), mode='bilinear')

    def _inside(self, name: str, place: torch.Tensor) -> torch.Tensor:
        """Return where the patch lies in a context, as shares of it: (N, 4)."""
        context = self.contexts[name]
        if context.is_whole:
            return place
        length = 1 / float(context.ratio)
        return place.new_tensor([[(1 - length) / 2, (1 - length) / 2, length, length]])


def fctl(
    classes: int,
    *,
    backbone: str = 'vgg16',
    side: int = PATCH,
    local: float = 1,
    medium: float | str | None = 2,
    large: float | str | None = 3,
    sources: Sequence[str] = SOURCES,
    structure: str = 'd',
    reference: str | None = None,
    positions: bool = True,
    fusion: str = 'adaptive',
) -> FCtL:
    """
    Build the extended network of the paper.

    Args:
        classes: Number of classes.
        backbone: ``vgg16``, ``mit_b2`` or ``mit_b5``.
        side: Of a patch, px.
        local: Factor of the local context; 1: it is the patch itself.
        medium: Factor of the medium context; None: there is none. Published: 2 for Inria, 3 for
            DeepGlobe.
        large: The same of the large one; published: 3, and ``whole``.
        sources: Of ``FCtL``.
        structure: Of ``FCtL``.
        reference: Of ``FCtL``.
        positions: Of ``FCtL``.
        fusion: Of ``FCtL``.
    """
    encoders: dict[str, Callable[[], Encoder]] = {
        'vgg16': partial(VGG16, border=1),
        **{name: partial(MixTransformer, name) for name in DEPTHS},
    }
    if backbone not in encoders:
        msg = f'backbone {backbone!r} is unknown, known: {", ".join(encoders)}'
        raise ValueError(msg)
    hidden = HIDDEN if backbone == 'vgg16' else 0
    return FCtL(
        classes,
        side,
        _contexts(local, medium, large),
        encoders[backbone],
        lambda widths, count: SkipDecoder(widths, count, hidden),
        sources=sources,
        structure=structure,
        reference=reference,
        positions=positions,
        fusion=fusion,
    )


def fctl_s(
    classes: int,
    *,
    side: int = SMALL_PATCH,
    local: float = 1,
    medium: float | str | None = 2,
    large: float | str | None = 3,
    sources: Sequence[str] = SOURCES,
    structure: str = 'd',
    reference: str | None = None,
    positions: bool = True,
    fusion: str = 'adaptive',
) -> FCtL:
    """
    Build the small network: EfficientNet-Lite0 as encoders, and the decoder of UPerNet.

    Args: as of ``fctl``.
    """
    return FCtL(
        classes,
        side,
        _contexts(local, medium, large),
        EfficientNetLite,
        UPerDecoder,
        sources=sources,
        structure=structure,
        reference=reference,
        positions=positions,
        fusion=fusion,
    )


def _contexts(
    local: float, medium: float | str | None, large: float | str | None
) -> dict[str, float | str]:
    every = {'local': None if local == 1 else local, 'medium': medium, 'large': large}
    return {name: factor for name, factor in every.items() if factor is not None}
