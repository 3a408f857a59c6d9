# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The low-resolution image: the low-pass band of a Haar transform, applied twice.

One step with kernel ``[[1, 1], [1, 1]] / 4`` and stride 2 is a 2x2 mean, so two steps are one
4x4 mean with stride 4; odd sizes lose their last row or column at each step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class HaarLowPass(nn.Module):
    """(N, 3, H, W) -> (N, 3, H // 4, W // 4), the input of the semantic branch."""

    factor = 4

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(image, self.factor)
