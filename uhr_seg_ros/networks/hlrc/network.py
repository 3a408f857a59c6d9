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
HLRC assembled: a low-resolution branch for semantics, a high-resolution branch for detail.

Presets: ``hlrc_cityscapes``, ``hlrc_inria``, ``hlrc_deepglobe`` (as published) and ``hlrc_s``,
the same design scaled for CPUs and small Jetsons.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.networks.backbones.base import SegmentationNetwork
from uhr_seg_ros.networks.backbones.efficientnet_lite import EfficientNetLite
from uhr_seg_ros.networks.backbones.efficientvit import EfficientViTTrunk
from uhr_seg_ros.networks.backbones.layers import resize_like
from uhr_seg_ros.networks.backbones.swin import Swin
from uhr_seg_ros.networks.hlrc.assignment import assign, Decoder
from uhr_seg_ros.networks.hlrc.local_perception import LocalPerception, NoLocalPerception
from uhr_seg_ros.networks.hlrc.region import (
    BilinearAffinity,
    Experts,
    LaplacianResiduals,
    RegionPartition,
    ResidualStem,
)
from uhr_seg_ros.networks.hlrc.semantic import (
    AuxiliaryHead,
    HaarLowPass,
    Reconstruction,
    SEMANTIC_CHANNELS,
    SemanticBranch,
)


class HLRC(SegmentationNetwork):
    """
    The whole network.

    ``forward``: normalized RGB image (N, 3, H, W) -> logits (N, classes, H, W). Any size works
    whose remainder by 16 is not 1, 2 or 3.
    """

    kind = 'two_branch'
    stride = 16
    #: The semantic branch sees the image reduced by this factor.
    low_res_factor = HaarLowPass.factor

    def __init__(
        self,
        semantic: SemanticBranch,
        region: RegionPartition,
        local: LocalPerception | NoLocalPerception,
        decoder: Decoder,
        auxiliary: AuxiliaryHead,
        reconstruction: Reconstruction | None = None,
    ) -> None:
        super().__init__()
        if reconstruction is not None and region.residuals is None:
            msg = 'the reconstruction is trained on residuals, which this region partition lacks'
            raise ValueError(msg)
        self.low_pass = HaarLowPass()
        self.semantic = semantic
        self.region = region
        self.local = local
        self.decoder = decoder
        self.classes = decoder.classify.out_channels
        self.auxiliary = auxiliary
        self.reconstruction = reconstruction

    def fuse(
        self, feature: torch.Tensor, affinity: torch.Tensor, local: list[torch.Tensor]
    ) -> torch.Tensor:
        """Assign, join the local features and classify: logits (N, classes, 4 h16, 4 w16)."""
        assigned = assign(feature, affinity)
        return self.decoder(torch.cat([assigned, *(resize_like(x, assigned) for x in local)], 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.check_size(image)
        _, feature = self.semantic(self.low_pass(image))
        affinity, _, maps = self.region(image)
        quarter = self.fuse(feature, affinity, self.local(image, maps))
        return functional.interpolate(quarter, size=image.shape[2:], mode='bilinear')

    def forward_train(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Compute everything that the losses look at.

        Returns:
            ``refine`` logits at 1/4, ``decode`` logits of F at 1/16, ``auxiliary`` logits, where
            there are experts ``gate_probabilities`` (tokens, E), and where the network
            reconstructs: ``reduced``, ``rebuilt_feature``, ``reconstruction``,
            ``residual_target`` (N, 3, H, W).
        """
        self.check_size(image)
        maps, feature = self.semantic(self.low_pass(image))
        affinity, gate_logits, trunk_maps = self.region(image)
        outputs = {
            'refine': self.fuse(feature, affinity, self.local(image, trunk_maps)),
            'decode': self.semantic.logits(feature),
            'auxiliary': self.auxiliary(maps[-2]),
        }
        if gate_logits is not None:
            outputs['gate_probabilities'] = gate_logits.float().softmax(-1).flatten(0, 2)
        if self.reconstruction is not None and self.region.residuals is not None:
            reduced, rebuilt, reconstruction = self.reconstruction(feature)
            fine, coarse = self.region.residuals(image)
            outputs |= {
                'reduced': reduced,
                'rebuilt_feature': rebuilt,
                'reconstruction': reconstruction,
                'residual_target': fine + resize_like(coarse, fine),
            }
        return outputs

    def check_size(self, image: torch.Tensor) -> None:
        """Raise ``ConfigError`` for the sizes at which the two branches do not meet."""
        for name, size in zip(('height', 'width'), image.shape[2:], strict=True):
            if size < self.stride or size % self.stride in (1, 2, 3):
                msg = (
                    f'image {name} {int(size)} does not fit the network: it must be at least 16 '
                    'px and its remainder by 16 not 1, 2 or 3; pad to a multiple of 16'
                )
                raise ConfigError(msg)


def hlrc(num_classes: int, experts: int = 8, *, reconstruct: bool = True) -> HLRC:
    """Build the published network."""
    backbone = Swin()
    trunk = EfficientViTTrunk(9)
    return HLRC(
        SemanticBranch(backbone, 512, num_classes),
        RegionPartition(
            trunk, Experts(trunk.widths[-1], experts, hidden=192), LaplacianResiduals()
        ),
        LocalPerception(trunk.widths, 96, EfficientViTTrunk(3)),
        Decoder(512, 96, 32, num_classes),
        AuxiliaryHead(backbone.widths[-2], 256, num_classes),
        Reconstruction(512) if reconstruct else None,
    )


def hlrc_s(
    num_classes: int,
    experts: int = 4,
    *,
    width: int = 1,
    region: bool = True,
    local: bool = True,
    mixing: int = 2,
) -> HLRC:
    """
    Build the small network.

    Against the published one: EfficientNet-Lite0 for the semantics, 80 channels in its decoder,
    a Laplacian pyramid of luminance from half size on, one trunk shared by region partition and
    local perception, which also hands on its quarter-resolution map, 1x1 fusion, and
    blocks that mix the fused map.

    Args:
        num_classes: Number of classes.
        experts: Experts of the region partition.
        width: Factor of all channels but those of the semantic backbone.
        region: With the region partition; without it tokens are enlarged bilinearly.
        local: With local perception.
        mixing: Residual blocks in the decoder.
    """
    widths = (16 * width, 32 * width, 48 * width, 96 * width)
    trunk = EfficientViTTrunk(
        ResidualStem(widths[:2]),
        widths,
        (0, 0, 1, 2),
        expand=3,
        act='relu',
        fused=True,
    )
    mixture = (
        Experts(trunk.widths[-1], experts, 64 * width, offset=True)
        if region
        else BilinearAffinity()
    )
    perception = (
        LocalPerception(trunk.widths, 32 * width, quarter=True) if local else NoLocalPerception()
    )
    channels, hidden = SEMANTIC_CHANNELS * width, 32 * width
    semantic = SemanticBranch(EfficientNetLite(), channels, num_classes)
    return HLRC(
        semantic,
        RegionPartition(trunk, mixture),
        perception,
        Decoder(channels, perception.channels, hidden, num_classes, kernel=1, mixing=mixing),
        AuxiliaryHead(semantic.backbone.widths[-2], 64, num_classes),
    )
