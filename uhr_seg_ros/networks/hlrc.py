# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
HLRC assembled: a low-resolution branch for semantics, a high-resolution branch for detail.

Presets: ``hlrc_cityscapes``, ``hlrc_inria``, ``hlrc_deepglobe`` (as published) and ``hlrc_s``,
the same design scaled for CPUs and small Jetsons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.classes import CLASS_SETS
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.networks.assignment import assign
from uhr_seg_ros.networks.decoder import Decoder
from uhr_seg_ros.networks.efficientvit import EfficientViTTrunk
from uhr_seg_ros.networks.experts import Experts
from uhr_seg_ros.networks.haar import HaarLowPass
from uhr_seg_ros.networks.laplacian import LaplacianResiduals
from uhr_seg_ros.networks.layers import resize_like
from uhr_seg_ros.networks.local_perception import LocalPerception
from uhr_seg_ros.networks.region import RegionPartition, ResidualStem
from uhr_seg_ros.networks.swin import Swin
from uhr_seg_ros.networks.training_heads import AuxiliaryHead, Reconstruction
from uhr_seg_ros.networks.upernet import UPerHead


class NetworkError(UhrSegError):
    """An unknown network or an input that it cannot take."""


class SemanticBranch(nn.Module):
    """
    Low-resolution image (N, 3, h, w) -> the maps of the backbone and the semantic feature F.

    Args:
        backbone: Module that returns maps, finest (1/16 of the full image) first.
        channels: Channels of F.
        classes: Classes of the branch's own classifier, which training and ``semantic_logits``
            use.
    """

    def __init__(self, backbone: Swin | EfficientViTTrunk, channels: int, classes: int) -> None:
        super().__init__()
        widths = backbone.widths if isinstance(backbone, Swin) else backbone.widths[1:]
        self.backbone = backbone
        self.decoder = UPerHead(widths, channels)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, low_res: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        maps = self.backbone(low_res)
        return maps, self.decoder(maps)

    def logits(self, feature: torch.Tensor) -> torch.Tensor:
        """Classify F alone: (N, channels, h, w) -> (N, classes, h, w)."""
        return self.classify(self.dropout(feature))


class HLRC(nn.Module):
    """
    The whole network.

    ``forward``: normalised RGB image (N, 3, H, W) -> logits (N, classes, H, W). Any size works
    whose remainder by 16 is not 1, 2 or 3.
    """

    stride = 16

    def __init__(
        self,
        semantic: SemanticBranch,
        region: RegionPartition,
        local: LocalPerception,
        decoder: Decoder,
        auxiliary: AuxiliaryHead,
        reconstruction: Reconstruction | None = None,
    ) -> None:
        super().__init__()
        self.low_pass = HaarLowPass()
        self.semantic = semantic
        self.region = region
        self.local = local
        self.decoder = decoder
        self.auxiliary = auxiliary
        self.reconstruction = reconstruction
        nn.init.normal_(self.decoder.classify.weight, std=0.01)
        nn.init.zeros_(self.decoder.classify.bias)

    @property
    def classes(self) -> int:
        """Number of classes of the logits."""
        return self.decoder.classify.out_channels

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
            ``refine`` logits at 1/4, ``decode`` logits of F at 1/16, ``auxiliary`` logits,
            ``gate_probabilities`` (tokens, E), and where the network reconstructs: ``reduced``,
            ``rebuilt_feature``, ``reconstruction``, ``residual_target`` (N, 3, H, W).
        """
        self.check_size(image)
        maps, feature = self.semantic(self.low_pass(image))
        affinity, gate_logits, trunk_maps = self.region(image)
        outputs = {
            'refine': self.fuse(feature, affinity, self.local(image, trunk_maps)),
            'decode': self.semantic.logits(feature),
            'auxiliary': self.auxiliary(maps[-2]),
            'gate_probabilities': gate_logits.float().softmax(-1).flatten(0, 2),
        }
        if self.reconstruction is not None:
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
        """Raise ``NetworkError`` for the sizes at which the two branches do not meet."""
        for name, size in zip(('height', 'width'), image.shape[2:], strict=True):
            if size < self.stride or size % self.stride in (1, 2, 3):
                msg = (
                    f'image {name} {int(size)} does not fit the network: it must be at least 16 '
                    'px and its remainder by 16 not 1, 2 or 3; pad to a multiple of 16'
                )
                raise NetworkError(msg)


def hlrc(num_classes: int, experts: int = 8, *, reconstruct: bool = True) -> HLRC:
    """Build the published network."""
    backbone = Swin()
    trunk = EfficientViTTrunk(9)
    return HLRC(
        SemanticBranch(backbone, 512, num_classes),
        RegionPartition(
            trunk, Experts(trunk.widths[-1], experts, hidden=192), LaplacianResiduals()
        ),
        LocalPerception(trunk.widths[1:], 96, EfficientViTTrunk(3)),
        Decoder(512, 96, 32, num_classes),
        AuxiliaryHead(backbone.widths[-2], 256, num_classes),
        Reconstruction(512) if reconstruct else None,
    )


def hlrc_s(num_classes: int, experts: int = 4) -> HLRC:
    """
    Build the small network.

    Against the published one: a convolutional backbone for the semantics, 64 channels in the
    decoder, a Laplacian pyramid of luminance from half size on, one trunk shared by region
    partition and local perception, which also hands on its quarter-resolution map, and 1x1
    fusion.
    """
    options = {'act': 'relu', 'fused': True}
    backbone = EfficientViTTrunk(3, (32, 48, 96, 160), (0, 2, 3, 3), **options)
    trunk = EfficientViTTrunk(
        ResidualStem((16, 32)), (16, 32, 48, 96), (0, 0, 1, 1), expand=3, **options
    )
    local = LocalPerception(trunk.widths[1:], 32, quarter=True)
    return HLRC(
        SemanticBranch(backbone, 64, num_classes),
        RegionPartition(trunk, Experts(trunk.widths[-1], experts, hidden=64)),
        local,
        Decoder(64, local.channels, 24, num_classes, kernel=1),
        AuxiliaryHead(backbone.widths[-2], 64, num_classes),
    )


@dataclass(frozen=True)
class Preset:
    """How a network is built, and the key of the classes that it is trained for."""

    build: Callable[[int], HLRC]
    classes: str


NETWORKS = {
    'hlrc_cityscapes': Preset(hlrc, 'cityscapes'),
    'hlrc_inria': Preset(partial(hlrc, reconstruct=False), 'inria'),
    'hlrc_deepglobe': Preset(partial(hlrc, experts=16), 'deepglobe'),
    'hlrc_s': Preset(hlrc_s, 'aerial'),
}


def build_network(name: str, num_classes: int | None = None) -> HLRC:
    """
    Build a preset by name, with random weights.

    Args:
        name: Key of ``NETWORKS``.
        num_classes: Number of classes; by default those of the preset's class set.

    Raises:
        NetworkError: The name is unknown; the message lists the known ones.
    """
    if name not in NETWORKS:
        msg = f'unknown network {name!r}: one of {", ".join(NETWORKS)}'
        raise NetworkError(msg)
    preset = NETWORKS[name]
    return preset.build(num_classes or len(CLASS_SETS[preset.classes]))
