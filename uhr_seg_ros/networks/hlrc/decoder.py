# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The classifier on assigned tokens and local features."""

from __future__ import annotations

import torch
from torch import nn

from uhr_seg_ros.core.bundle import FUSION_REACH
from uhr_seg_ros.networks.backbones.layers import ConvNorm, Residual


class Mixing(nn.Sequential):
    """5x5 depthwise convolution, then a bottleneck twice as wide: (N, C, h, w) -> same shape."""

    #: Neighbours that it looks at on each side, px.
    reach = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth = ConvNorm(channels, channels, 5, groups=channels, act='none')
        self.widen = ConvNorm(channels, 2 * channels)
        self.point = ConvNorm(2 * channels, channels, act='none')


class Decoder(nn.Module):
    """
    (N, region + local, h, w) -> logits (N, classes, h, w).

    Args:
        region: Channels of the assigned tokens.
        local: Channels of the local features.
        hidden: Channels between the two convolutions.
        classes: Number of classes.
        kernel: Size of the first convolution; 3 as published.
        mixing: Residual blocks between the two, in which a quarter-resolution pixel sees its
            neighbours; none as published.

    Raises:
        ValueError: It would look further than the back ends expect of a fusion.
    """

    def __init__(
        self,
        region: int,
        local: int,
        hidden: int,
        classes: int,
        kernel: int = 3,
        *,
        mixing: int = 0,
    ) -> None:
        super().__init__()
        if (reach := kernel // 2 + Mixing.reach * mixing) > FUSION_REACH:
            msg = f'the decoder looks {reach} px around, at most {FUSION_REACH}: lessen mixing'
            raise ValueError(msg)
        self.region = region
        self.fuse = ConvNorm(region + local, hidden, kernel)
        self.mixing = nn.Sequential(*(Residual(Mixing(hidden)) for _ in range(mixing)))
        self.classify = nn.Conv2d(hidden, classes, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.classify(self.mixing(self.fuse(features)))
