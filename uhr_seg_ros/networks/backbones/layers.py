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

"""Convolution with batch norm and activation, and the bilinear resize used everywhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {
    'relu': nn.ReLU,
    'relu6': nn.ReLU6,
    'hswish': nn.Hardswish,
    'none': nn.Identity,
}


class ConvNorm(nn.Sequential):
    """
    Convolution with 'same' zero padding, batch norm, activation.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Odd kernel size in px.
        stride: Stride in px.
        groups: Convolution groups.
        act: Key of ``ACTIVATIONS``.
        norm: With batch norm; without it the convolution has a bias instead.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        act: str = 'relu',
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=not norm
        )
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.act = ACTIVATIONS[act]()


class Encoder(nn.Module):
    """
    Image (N, 3, H, W) -> maps of several strides, finest first.

    Attributes:
        widths: Channels of the maps.
    """

    widths: tuple[int, ...]

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Compute the maps."""
        raise NotImplementedError


class Residual(nn.Module):
    """``x + block(x)``."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x)


def without_autocast(x: torch.Tensor) -> AbstractContextManager[None]:
    """Leave mixed precision within the block, on the device of ``x``; shapes alone have none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def resize_like(x: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Resize ``x`` (N, C, h, w) bilinearly (align_corners false) to the H, W of ``reference``."""
    if x.shape[2:] == reference.shape[2:] and not torch.jit.is_tracing():
        return x
    return functional.interpolate(
        x, size=reference.shape[2:], mode='bilinear', align_corners=False
    )


def phase_kernels(factor: int) -> torch.Tensor:
    """
    Bilinear upsampling (align_corners false) as 3x3 kernels, one per sub-pixel phase.

    Returns:
        (factor^2, 1, 3, 3) float32, phases in row-major order; borders are to be replicated.
    """
    offset = (torch.arange(factor) + 0.5) / factor - 0.5
    before, after = (-offset).clamp(min=0), offset.clamp(min=0)
    axis = torch.stack([before, 1 - before - after, after], 1)
    return torch.einsum('ia,jb->ijab', axis, axis).reshape(-1, 1, 3, 3)
