# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The classifier on assigned tokens and local features."""

from __future__ import annotations

import torch
from torch import nn

from uhr_seg_ros.networks.layers import ConvNorm


class Decoder(nn.Module):
    """
    (N, region + local, h, w) -> logits (N, classes, h, w).

    Args:
        region: Channels of the assigned tokens.
        local: Channels of the local features.
        hidden: Channels between the two convolutions.
        classes: Number of classes.
        kernel: Size of the first convolution; 3 as published.
    """

    def __init__(
        self, region: int, local: int, hidden: int, classes: int, kernel: int = 3
    ) -> None:
        super().__init__()
        self.region = region
        self.fuse = ConvNorm(region + local, hidden, kernel)
        self.classify = nn.Conv2d(hidden, classes, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.classify(self.fuse(features))
