# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The decoder of FCN-8s on maps that are aligned with the image: scores are enlarged and added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from uhr_seg_ros.networks.backbones.layers import resize_like

#: Side of the first convolution of a hidden classifier, as in VGG16.
KERNEL = 7


class SkipDecoder(nn.Module):
    """
    Maps, finest first -> logits (N, classes, h, w) in the size of the finest.

    Args:
        widths: Channels of the maps.
        classes: Number of classes.
        hidden: Channels of the two hidden layers of the coarsest classifier; 0: it has none.
    """

    def __init__(self, widths: Sequence[int], classes: int, hidden: int = 0) -> None:
        super().__init__()
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in widths)
        if hidden:
            self.scores[-1] = nn.Sequential(
                nn.Conv2d(widths[-1], hidden, KERNEL, padding=KERNEL // 2),
                nn.ReLU(),
                nn.Dropout(),
                nn.Conv2d(hidden, hidden, 1),
                nn.ReLU(),
                nn.Dropout(),
                nn.Conv2d(hidden, classes, 1),
            )

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        total = None
        for score, x in zip(reversed(self.scores), reversed(maps), strict=True):
            found = score(x)
            total = found if total is None else found + resize_like(total, found)
        return total
