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

import torch
from torch import nn

from uhr_seg_ros.core.patch_grid import WHOLE
from uhr_seg_ros.networks.backbones.normalization import unit_range
from uhr_seg_ros.networks.backbones.vgg import VGG16
from uhr_seg_ros.networks.fctl.context_attention import ContextFusion
from uhr_seg_ros.networks.fctl.decoders import FCN8Head
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.fctl.stages import (
    FCNStage,
    FULL,
    PATCH,
    stage_network,
    WholeImageFCN,
)
from uhr_seg_ros.networks.fctl.vgg_windowed import windowed_copy, WindowedVGG16


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
        return windowed_copy(self)


def fctl_inria(
    classes: int, *, side: int = PATCH, stage: str = FULL
) -> ReleasedFCtL | FCNStage | WholeImageFCN:
    """
    Build the released network of the Inria data set: contexts of 2 and 3 patches.

    Args:
        classes: Number of classes.
        side: Of a patch, px.
        stage: One of ``STAGES``: what is trained, in this order.
    """
    return _released(classes, {'medium': 2, 'large': 3}, side, stage, centered=False)


def fctl_deepglobe(
    classes: int, *, side: int = PATCH, stage: str = FULL
) -> ReleasedFCtL | FCNStage | WholeImageFCN:
    """
    Build the released network of DeepGlobe: contexts of 3 patches and of the whole image.

    Args: as of ``fctl_inria``.
    """
    return _released(classes, {'medium': 3, 'large': WHOLE}, side, stage, centered=True)


def _released(
    classes: int, contexts: Mapping[str, float | str], side: int, stage: str, *, centered: bool
) -> ReleasedFCtL | FCNStage | WholeImageFCN:
    if stage == FULL:
        return ReleasedFCtL(classes, contexts, centered=centered, side=side)
    return stage_network(classes, contexts, stage, centered=centered, side=side)
