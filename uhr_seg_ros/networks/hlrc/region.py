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
Region partition branch (RPB): the high-resolution image says which cell each pixel belongs to.

Image and Laplacian residuals go through a trunk to 1/16; the affinity head and the region-pixel
association experts (RPAE) then give, for each 4x4 block of quarter-resolution pixels in a cell,
its affinity to the nine cells around it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.efficientvit import EfficientViTTrunk
from uhr_seg_ros.networks.backbones.layers import ConvNorm, phase_kernels, resize_like

#: Quarter-resolution pixels of a cell, and the cells that each of them looks at.
SUBPIXELS = 16
NEIGHBORS = 9
AFFINITY_CHANNELS = SUBPIXELS * NEIGHBORS
#: Taps of the Gaussian along an axis, in sixteenths.
BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)


def _gaussian() -> torch.Tensor:
    taps = torch.tensor(BINOMIAL)
    return torch.outer(taps, taps) / 256.0


def _phases() -> torch.Tensor:
    """
    Return the four 3x3 kernels that ``4 G`` becomes on the pixels that are not inserted zeros.

    Output pixel (2p + a, 2q + b) only meets the taps whose source is a real pixel: along one
    axis an even pixel sees (p-1, p, p+1) with weights (1, 6, 1) / 8, an odd one sees (p, p+1)
    with (4, 4) / 8.
    """
    even = torch.tensor([1.0, 6.0, 1.0]) / 8.0
    odd = torch.tensor([0.0, 4.0, 4.0]) / 8.0
    kernels = [torch.outer(row, column) for row in (even, odd) for column in (even, odd)]
    return torch.stack(kernels)[:, None]


class LaplacianResiduals(nn.Module):
    """
    (N, C, H, W) -> L1 (N, C, H, W) and L2 (N, C, ceil(H/2), ceil(W/2)).

    What the image loses when it is blurred and halved, at two levels: with ``d`` (Gaussian blur,
    every second pixel) and ``u`` (zero insertion, 4 x Gaussian blur) ``L1 = x - u(d(x))`` and
    ``L2 = d(x) - u(d(d(x)))``. Borders are reflected.
    """

    gaussian: torch.Tensor
    phases: torch.Tensor

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer('gaussian', _gaussian().repeat(channels, 1, 1, 1), False)
        self.register_buffer('phases', _phases().repeat(channels, 1, 1, 1), False)

    def down(self, x: torch.Tensor) -> torch.Tensor:
        """Blur and keep even pixels."""
        x = functional.pad(x, (2, 2, 2, 2), 'reflect')
        return functional.conv2d(x, self.gaussian, stride=2, groups=self.channels)

    def up(self, x: torch.Tensor) -> torch.Tensor:
        """Double the size: four 3x3 phases instead of a blur of inserted zeros, bit for bit."""
        # The reflection of the zero-inserted map mirrors at the top and left and, its last row
        # and column being zeros, repeats the last real pixel at the bottom and right.
        x = functional.pad(functional.pad(x, (1, 0, 1, 0), 'reflect'), (0, 1, 0, 1), 'replicate')
        x = functional.conv2d(x, self.phases, groups=self.channels)
        return functional.pixel_shuffle(x, 2)

    def residual(self, x: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """``x - u(half)``; for odd sizes ``u`` is resized to x by nearest neighbor."""
        blurred = self.up(half)
        if blurred.shape[2:] != x.shape[2:] and not torch.jit.is_tracing():
            blurred = functional.interpolate(blurred, size=x.shape[2:], mode='nearest')
        return x - blurred

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = self.down(image)
        return self.residual(image, half), self.residual(half, self.down(half))


class Experts(nn.Module):
    """
    Cells (N, h, w, C) -> affinity (N, h, w, 144) before ReLU, and gate logits (N, h, w, E).

    A sparse mixture (RPAE): every 1/16 cell is answered by the ``top_k`` experts that its gate
    prefers. All experts are computed and the others weighted with zero: the graph has no
    data-dependent control flow, and the result equals routing each cell to its experts.

    The 144 channels are ``(4 i + j) * 9 + 3 (dy + 1) + (dx + 1)``: sub-row i and sub-column j of
    the cell's 4x4 block, then the neighbor at (dy, dx).

    Args:
        channels: Channels of a cell.
        experts: Number of experts.
        hidden: Width inside an expert.
        top_k: Experts that answer a cell.
        offset: Add a learned offset to every answer, which starts as bilinear enlargement: the
            tokens are of use from the first step on.
    """

    def __init__(
        self, channels: int, experts: int, hidden: int, top_k: int = 2, *, offset: bool = False
    ) -> None:
        super().__init__()
        self.top_k = min(top_k, experts)
        self.gate = nn.Linear(channels, experts, bias=False)
        self.first = nn.Parameter(torch.empty(experts, hidden, channels))
        self.second = nn.Parameter(torch.empty(experts, hidden, hidden))
        self.last = nn.Parameter(torch.empty(experts, AFFINITY_CHANNELS, hidden))
        kernels = phase_kernels(4).reshape(AFFINITY_CHANNELS)
        self.offset = nn.Parameter(kernels) if offset else None
        for weight in (self.gate.weight, self.first, self.second, self.last):
            nn.init.trunc_normal_(weight, std=0.02)

    def route(self, logits: torch.Tensor) -> torch.Tensor:
        """Gate logits (..., E) -> weights (..., E): softmax over the top k, zero elsewhere."""
        chosen = logits.topk(self.top_k, -1).indices
        ids = torch.arange(logits.shape[-1], device=logits.device)
        keep = (chosen[..., None] == ids).any(-2)
        return logits.float().masked_fill(~keep, float('-inf')).softmax(-1)

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.gate(cells)
        weights = self.route(logits).to(cells.dtype)
        hidden = functional.linear(cells, self.first.flatten(0, 1)).relu()
        answers = [
            functional.linear(part, weight).relu() * weights[..., index : index + 1]
            for index, (part, weight) in enumerate(
                zip(hidden.chunk(len(self.second), -1), self.second, strict=True)
            )
        ]
        last = torch.cat(list(self.last), 1)
        return functional.linear(torch.cat(answers, -1), last, self.offset), logits


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

    weights: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        weights = phase_kernels(4).reshape(AFFINITY_CHANNELS)
        self.register_buffer('weights', weights, persistent=False)

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.weights + torch.zeros_like(cells[..., :1]), None


class RegionPartition(nn.Module):
    """
    Normalized image (N, 3, H, W) -> affinity, gate logits and the maps of the trunk.

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

    def trunk_input(self, image: torch.Tensor) -> torch.Tensor:
        """Return what the trunk sees: the image, or ``[x, L1, bilinear(L2)]`` (N, 9, H, W)."""
        if self.residuals is None:
            return image
        fine, coarse = self.residuals(image)
        return torch.cat([image, fine, resize_like(coarse, fine)], 1)

    def forward(
        self, image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
        maps = self.trunk(self.trunk_input(image))
        cells = self.affinity_head(maps[-1]).permute(0, 2, 3, 1)
        affinity, gate_logits = self.experts(cells)
        return affinity.relu(), gate_logits, maps
