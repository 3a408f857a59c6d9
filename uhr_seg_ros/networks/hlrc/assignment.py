# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Semantic assignment branch (SAB): compact semantic tokens are assigned to the partitioned regions.

``R(c, 4h+i, 4w+j) = sum_n A(n, i, j, h, w) F(c, h+dy_n, w+dx_n)``: each quarter-resolution pixel
is a weighted sum of the nine tokens around its cell. The weights are neither normalised nor put
through a softmax; tokens outside the map are zero.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from uhr_seg_ros.networks.hlrc.experts import NEIGHBORS, SUBPIXELS


def assign(tokens: torch.Tensor, affinity: torch.Tensor) -> torch.Tensor:
    """
    Assign tokens to quarter-resolution pixels.

    Args:
        tokens: (N, C, h, w) semantic tokens.
        affinity: (N, h, w, 144), laid out as ``Experts`` says.

    Returns:
        (N, C, 4 h, 4 w).
    """
    batch, channels, height, width = tokens.shape
    padded = functional.pad(tokens, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    around = [padded[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    weights = affinity.reshape(batch, height, width, SUBPIXELS, NEIGHBORS)
    pixels = weights @ torch.stack(around, 3)
    pixels = pixels.reshape(batch, height, width, 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
    return pixels.reshape(batch, 4 * height, 4 * width, channels).permute(0, 3, 1, 2)
