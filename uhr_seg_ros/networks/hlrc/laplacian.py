# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Laplacian residuals: what the image loses when it is blurred and halved, at two levels.

With ``d`` (Gaussian blur, every second pixel) and ``u`` (zero insertion, 4 x Gaussian blur):
``L1 = x - u(d(x))`` and ``L2 = d(x) - u(d(d(x)))``. Borders are reflected.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

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
    """(N, C, H, W) -> L1 (N, C, H, W) and L2 (N, C, ceil(H/2), ceil(W/2))."""

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
        """``x - u(half)``; for odd sizes ``u`` is resized to x by nearest neighbour."""
        blurred = self.up(half)
        if blurred.shape[2:] != x.shape[2:] and not torch.jit.is_tracing():
            blurred = functional.interpolate(blurred, size=x.shape[2:], mode='nearest')
        return x - blurred

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = self.down(image)
        return self.residual(image, half), self.residual(half, self.down(half))
