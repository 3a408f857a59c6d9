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
The semantic branch: from the low-resolution image to the semantic feature F.

With it, what looks at its maps while training: an auxiliary classifier and the reconstruction of
the Laplacian residuals.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.efficientnet_lite import EfficientNetLite
from uhr_seg_ros.networks.backbones.layers import ConvNorm, Encoder
from uhr_seg_ros.networks.backbones.upernet import UPerHead

#: Channels of the semantic feature of the small network.
SEMANTIC_CHANNELS = 80


class HaarLowPass(nn.Module):
    """
    (N, 3, H, W) -> (N, 3, H // 4, W // 4): the low-pass band of a Haar transform, applied twice.

    One step with kernel ``[[1, 1], [1, 1]] / 4`` and stride 2 is a 2x2 mean, so two steps are one
    4x4 mean with stride 4; odd sizes lose their last row or column at each step.
    """

    factor = 4

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(image, self.factor)


class SemanticBranch(nn.Module):
    """
    Low-resolution image (N, 3, h, w) -> the maps of the backbone and the semantic feature F.

    Args:
        backbone: Module that returns maps, finest (1/16 of the full image) first, and has their
            ``widths``.
        channels: Channels of F.
        classes: Classes of the branch's own classifier, which training and ``semantic_logits``
            use.
    """

    def __init__(self, backbone: Encoder, channels: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = UPerHead(backbone.widths, channels)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(channels, classes, 1)
        self.classifiers = ('classify',)

    def forward(self, low_res: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        maps = self.backbone(low_res)
        return maps, self.decoder(maps)

    def logits(self, feature: torch.Tensor) -> torch.Tensor:
        """Classify F alone: (N, channels, h, w) -> (N, classes, h, w)."""
        return self.classify(self.dropout(feature))


class SemanticLogits(nn.Module):
    """The semantic branch as a network of its own: (N, 3, h, w) -> (N, classes, h / 4, w / 4)."""

    def __init__(self, branch: SemanticBranch) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, low_res: torch.Tensor) -> torch.Tensor:
        return self.branch.logits(self.branch(low_res)[1])


class AuxiliaryHead(nn.Module):
    """3x3 convolution and dropout before a classifier, on a map of the semantic backbone."""

    def __init__(self, inputs: int, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvNorm(inputs, channels, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(channels, classes, 1)
        self.classifiers = ('classify',)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.dropout(self.conv(x)))


class Reconstruction(nn.Module):
    """
    Rebuild the Laplacian residuals from the semantic feature, a target for training only.

    ``forward`` takes F (N, C, h, w) and returns the reduced feature S (N, 128, h, w), the
    decoder's feature (N, 128, 16 h, 16 w) and the reconstruction (N, 3, 16 h, 16 w).
    """

    def __init__(self, inputs: int, channels: int = 128) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = ConvNorm(inputs, channels)
        self.ups = nn.ModuleList(
            (ConvNorm(channels, half, 3), ConvNorm(half, half, 3), ConvNorm(half, channels, 3))
        )
        self.fuse = ConvNorm(channels, half, 3)
        self.out = nn.Conv2d(half, 3, 1)

    def forward(self, feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        reduced = self.reduce(feature)
        x = reduced
        for factor, conv in zip((4, 2, 2), self.ups, strict=True):
            x = conv(functional.interpolate(x, scale_factor=factor, mode='nearest'))
        return reduced, x, self.out(self.fuse(x))


def semantic_s(num_classes: int) -> SemanticLogits:
    """Build the semantic branch of the small network, to measure what the other one adds."""
    return SemanticLogits(SemanticBranch(EfficientNetLite(), SEMANTIC_CHANNELS, num_classes))
