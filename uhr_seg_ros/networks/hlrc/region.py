# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Region partition branch (RPB): the high-resolution image says which cell each pixel belongs to.

Image and Laplacian residuals go through a trunk to 1/16; the affinity head and the experts then
give, for each 4x4 block of quarter-resolution pixels in a cell, its affinity to the nine cells
around it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.efficientvit import EfficientViTTrunk
from uhr_seg_ros.networks.backbones.layers import ConvNorm, phase_kernels, resize_like
from uhr_seg_ros.networks.hlrc.experts import AFFINITY_CHANNELS, Experts
from uhr_seg_ros.networks.hlrc.laplacian import LaplacianResiduals


class AffinityHead(nn.Sequential):
    """3x3 depthwise and 1x1, each with norm and ReLU, then a plain 1x1: same shape in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depth = ConvNorm(channels, channels, 3, groups=channels)
        self.point = ConvNorm(channels, channels)
        self.out = nn.Conv2d(channels, channels, 1)


class ResidualStem(nn.Module):
    """
    First layers of the small network: (N, 3, H, W) -> (N, widths[1], H / 4, W / 4).

    The image itself is convolved at full resolution; the Laplacian pyramid starts one octave
    lower, on the luminance at half size, where it costs a twelfth of the memory traffic.
    """

    def __init__(self, widths: tuple[int, int]) -> None:
        super().__init__()
        self.residuals = LaplacianResiduals(1)
        self.first = ConvNorm(3, widths[0], 3, stride=2)
        self.second = ConvNorm(widths[0], widths[1], 3, stride=2, act='none')
        self.detail = ConvNorm(2, widths[1], 3, stride=2, act='none')

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        # An odd side ends in a block of one, as it does in the convolutions, so that the maps
        # meet. Graphs are only fed multiples of 16 and stay with the plain operator.
        plain = torch.jit.is_tracing()
        halved = functional.avg_pool2d(image, 2, ceil_mode=not plain, count_include_pad=plain)
        luminance = halved.mean(1, keepdim=True)
        fine, coarse = self.residuals(luminance)
        residuals = torch.cat([fine, resize_like(coarse, fine)], 1)
        return (self.second(self.first(image)) + self.detail(residuals)).relu()


class BilinearAffinity(nn.Module):
    """
    The affinity of bilinear enlargement, whatever the image: what experts are compared with.

    Cells (N, h, w, C) -> affinity (N, h, w, 144), laid out as ``Experts`` says, no gate logits.
    """

    def __init__(self) -> None:
        super().__init__()
        weights = phase_kernels(4).reshape(AFFINITY_CHANNELS)
        self.register_buffer('weights', weights, persistent=False)

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.weights + torch.zeros_like(cells[..., :1]), None


class RegionPartition(nn.Module):
    """
    Normalised image (N, 3, H, W) -> affinity, gate logits and the maps of the trunk.

    Args:
        trunk: Features at strides 4, 8, 16.
        experts: The mixture that answers in affinities, or what stands in for it.
        residuals: Given, the trunk sees the 9 channels of image and residuals, as published;
            None where the trunk's first layer sees to the residuals.
    """

    def __init__(
        self,
        trunk: EfficientViTTrunk,
        experts: Experts | BilinearAffinity,
        residuals: LaplacianResiduals | None = None,
    ) -> None:
        super().__init__()
        self.residuals = residuals
        self.trunk = trunk
        self.affinity_head = AffinityHead(trunk.widths[-1])
        self.experts = experts

    def with_residuals(self, image: torch.Tensor) -> torch.Tensor:
        """``[x, L1, bilinear(L2)]``: (N, 9, H, W)."""
        fine, coarse = self.residuals(image)
        return torch.cat([image, fine, resize_like(coarse, fine)], 1)

    def forward(
        self, image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
        maps = self.trunk(image if self.residuals is None else self.with_residuals(image))
        cells = self.affinity_head(maps[-1]).permute(0, 2, 3, 1)
        affinity, gate_logits = self.experts(cells)
        return affinity.relu(), gate_logits, maps
