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
What the released FCtL is trained from: FCN-8s alone, with one context, or on whole images.

``plain`` segments patches alone. ``medium`` and ``large`` have one context, which the encoder of
the patch encodes too; with that training the encoder becomes the extractor of that context in the
full network. Where the large context is the whole image, its extractor is trained to segment whole
images.

Source: Li et al., "From Contexts to Locality: Ultra-high Resolution Image Segmentation via
Locality-aware Contextual Correlation", ICCV 2021, as released.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.core.patch_grid import WHOLE
from uhr_seg_ros.networks.backbones.normalization import unit_range
from uhr_seg_ros.networks.backbones.vgg import VGG16
from uhr_seg_ros.networks.fctl.context_attention import ContextAttention
from uhr_seg_ros.networks.fctl.decoders import FCN8Head
from uhr_seg_ros.networks.fctl.local_enhancement import crop
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.fctl.vgg_windowed import windowed_copy, WindowedVGG16

#: Side of a patch as published, px.
PATCH = 508
#: The network itself, after its stages.
FULL = 'full'
#: In the order in which they are trained.
STAGES = ('plain', 'medium', 'large', FULL)


class FCNStage(PatchNetwork):
    """
    FCN-8s on patches, whose coarsest map is enriched from one context at most.

    Args:
        classes: Number of classes.
        contexts: Factor of ``medium`` or of ``large``, or nothing.
        centered: Of ``ContextAttention``.
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
        self.backbone: VGG16 | WindowedVGG16 = VGG16()
        self.attend = nn.ModuleDict(
            {name: ContextAttention(VGG16.widths[-1], centered=centered) for name in contexts}
        )
        self.head = FCN8Head(VGG16.widths, classes)

    def encode(self, name: str, image: torch.Tensor) -> torch.Tensor:
        return self.backbone(unit_range(image))[-1]

    def segment(
        self, patch: torch.Tensor, maps: Mapping[str, torch.Tensor], place: torch.Tensor
    ) -> torch.Tensor:
        *fine, coarse = self.backbone(unit_range(patch))
        total = coarse
        for name, attend in self.attend.items():
            total = total + attend(coarse, maps[name])
        return self.head([*fine, total], (self.side, self.side))

    def exported(self) -> FCNStage:
        """Return a network with the same weights that saves what borders of zeros cost."""
        return windowed_copy(self)


class WholeImageFCN(PatchNetwork):
    """
    FCN-8s on the whole image, fitted into a patch.

    At run time the patches cut their logits out of those of the image.

    Args:
        classes: Number of classes.
        side: Of a patch, px.
    """

    def __init__(self, classes: int, *, side: int = PATCH) -> None:
        super().__init__(classes, side, {'large': WHOLE})
        self.backbone: VGG16 | WindowedVGG16 = VGG16()
        self.head = FCN8Head(VGG16.widths, classes)

    def encode(self, name: str, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(unit_range(image)), (self.side, self.side))

    def segment(
        self, patch: torch.Tensor, maps: Mapping[str, torch.Tensor], place: torch.Tensor
    ) -> torch.Tensor:
        # A graph keeps only inputs that it uses, and every graph of patches takes the patch.
        return crop(maps['large'], place, (self.side, self.side)) + 0 * patch[:, :1]

    def forward_train(self, image: torch.Tensor) -> dict[str, torch.Tensor | slice]:
        """Segment the image as a whole: ``refine`` (N, classes, side, side)."""
        rows, columns = self.contexts['large'].of_frame(*2 * [(image.shape[2], image.shape[3])])
        return {'refine': self.encode('large', self._reduce(image, (rows, columns)))}

    def visible_labels(
        self, labels: torch.Tensor, outputs: Mapping[str, torch.Tensor | slice]
    ) -> torch.Tensor:
        """Return the labels of the image, (N, side, side), those that lie nearest."""
        small = functional.interpolate(
            labels[:, None].float(), size=(self.side, self.side), mode='nearest-exact'
        )
        return small[:, 0].long()

    def exported(self) -> WholeImageFCN:
        """Return a network with the same weights that saves what borders of zeros cost."""
        return windowed_copy(self)


def stage_network(
    classes: int,
    contexts: Mapping[str, float | str],
    stage: str,
    *,
    centered: bool,
    side: int = PATCH,
) -> FCNStage | WholeImageFCN:
    """
    Build what is trained before the full network.

    Args:
        classes: Number of classes.
        contexts: Of the full network: factors of ``medium`` and ``large``.
        stage: One of ``STAGES`` but the last.
        centered: Of ``ContextAttention``.
        side: Of a patch, px.
    """
    if stage not in STAGES[:-1]:
        msg = f'stage {stage!r} is unknown, known: {", ".join(STAGES)}'
        raise ValueError(msg)
    if contexts.get(stage) == WHOLE:
        return WholeImageFCN(classes, side=side)
    seen = {stage: contexts[stage]} if stage in contexts else {}
    return FCNStage(classes, seen, centered=centered, side=side)
