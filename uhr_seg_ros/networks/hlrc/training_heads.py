# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Parts that exist while training: auxiliary classifiers and the reconstruction of residuals."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import ConvNorm


class AuxiliaryHead(nn.Module):
    """3x3 convolution and dropout before a classifier, on a map of the semantic backbone."""

    def __init__(self, inputs: int, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvNorm(inputs, channels, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(channels, classes, 1)

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
