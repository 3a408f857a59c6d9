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
The pyramid decoder of the semantic branch, exported with fewer multiply-adds for the same result.

Its last convolution reads coarse maps that were enlarged to the finest one. Convolution and
bilinear enlargement are linear, so each coarse map is multiplied by the kernel, tap by tap, before
it is enlarged: by two in both directions that is a quarter of the products. What is left, to
enlarge, shift and sum the taps, separates into a matrix for the rows and one for the columns.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.export.folded import folded
from uhr_seg_ros.networks.backbones.upernet import UPerHead

#: Below, the products by the matrices cost as much as is saved.
MIN_CHANNELS = 256


class Pyramid(nn.Module):
    """
    ``UPerHead`` for export: maps of the backbone, finest first -> feature at the finest size.

    Args:
        head: In evaluation mode, its channels at least ``MIN_CHANNELS``.
    """

    def __init__(self, head: UPerHead) -> None:
        super().__init__()
        self.head = head
        weight, bias = folded(head.fpn_bottleneck)
        finest, *coarse = weight.split(weight.shape[0], 1)
        self.finest, self.bias = nn.Parameter(finest.contiguous()), nn.Parameter(bias)
        self.coarse = nn.ParameterList(map(tap_kernels, coarse))

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        finest, *coarse = self.head.levels(maps)
        total = functional.conv2d(finest, self.finest, self.bias, padding=1)
        for level, taps in zip(coarse, self.coarse, strict=True):
            total = total + convolve_enlarged(level, taps, total)
        return total.relu()


def tap_kernels(weight: torch.Tensor) -> torch.Tensor:
    """Write a 3x3 kernel (C, inputs, 3, 3) as a matrix (3 C 3, inputs): dx, C, dy."""
    return weight.permute(3, 0, 2, 1).reshape(-1, weight.shape[1]).contiguous()


def convolve_enlarged(x: torch.Tensor, taps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """
    Convolve what ``resize_like`` makes of a map, 3x3, padded with zeros.

    Args:
        x: (1, inputs, h, w).
        taps: The kernel, as ``tap_kernels`` gives it.
        like: (1, C, H, W).

    Returns:
        (1, C, H, W).
    """
    height, width = x.shape[2:]
    rows = shifted_enlargement(height, like.shape[2])
    columns = shifted_enlargement(width, like.shape[3])
    # As a matrix product: ONNX Runtime's 1x1 convolution was measured to be half as fast.
    products = (taps @ x.flatten(2)).reshape(3, -1, 3 * height, width)
    # (3, C, H, w), then for each row the columns of the three taps side by side.
    tall = rows.transpose(0, 1) @ products
    beside = tall.permute(1, 2, 0, 3).reshape(-1, like.shape[2], 3 * width)
    return (beside @ columns)[None]


def shifted_enlargement(length: int, size: int) -> torch.Tensor:
    """
    Enlarge an axis bilinearly and shift it by -1, 0 and 1, zeros beyond the ends.

    Written with integer tensors, so that an exported graph serves every size.

    Returns:
        (3 length, size): row ``tap * length + i`` is what position i gives to every position that
        sees it through this tap.
    """
    position = torch.arange(length)
    single = (position[:, None] == position[None, :]).float()
    enlarged = functional.interpolate(
        single[None, None], size=(length, size), mode='bilinear', align_corners=False
    )
    padded = functional.pad(enlarged, (1, 1))[0, 0]
    return torch.cat([padded[:, tap : tap + size] for tap in range(3)])
