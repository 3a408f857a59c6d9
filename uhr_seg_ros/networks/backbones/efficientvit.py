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
EfficientViT trunk: inverted residuals, then linear attention at the coarsest level.

Source: Cai et al., "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense
Prediction", ICCV 2023, https://arxiv.org/abs/2205.14756. The defaults are the first four levels
of B2.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from uhr_seg_ros.networks.backbones.layers import ConvNorm, Residual, without_autocast

EPSILON = 1e-15


class MBConv(nn.Sequential):
    """Inverted bottleneck: 1x1 expansion, 3x3 depthwise, 1x1 projection without activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        expand: int = 4,
        act: str = 'hswish',
        inner_norm: bool = True,
    ) -> None:
        super().__init__()
        hidden = inputs * expand
        self.inverted = ConvNorm(inputs, hidden, act=act, norm=inner_norm)
        self.depth = ConvNorm(
            hidden, hidden, 3, stride=stride, groups=hidden, act=act, norm=inner_norm
        )
        self.point = ConvNorm(hidden, outputs, act='none')


class SeparableConv(nn.Sequential):
    """3x3 depthwise, then 1x1 without activation."""

    def __init__(self, channels: int, act: str) -> None:
        super().__init__()
        self.depth = ConvNorm(channels, channels, 3, groups=channels, act=act)
        self.point = ConvNorm(channels, channels, act='none')


class LinearAttention(nn.Module):
    """
    Multi-scale linear attention (LiteMLA) over all positions.

    Each head sees q, k, v consecutively; a 5x5 aggregate of them makes as many heads again.
    ``out = q (k^T v) / (q (k^T 1))`` with q, k after ReLU, so the cost is linear in positions.
    """

    def __init__(self, channels: int, head_dim: int = 32) -> None:
        super().__init__()
        self.head_dim = head_dim
        triple = 3 * channels
        self.qkv = nn.Conv2d(channels, triple, 1, bias=False)
        self.aggregate = nn.Sequential(
            nn.Conv2d(triple, triple, 5, padding=2, groups=triple, bias=False),
            nn.Conv2d(triple, triple, 1, groups=triple // head_dim, bias=False),
        )
        self.proj = ConvNorm(2 * channels, channels, act='none')

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = x.shape
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, self.aggregate(qkv)], 1)
        # The sums run over every position of a map: they need float32 under mixed precision.
        with without_autocast(x):
            heads = qkv.float().reshape(batch, -1, 3 * self.head_dim, height * width)
            attended = self.attend(heads)
        return self.proj(attended.reshape(batch, -1, height, width).to(x.dtype))

    def attend(self, qkv: torch.Tensor) -> torch.Tensor:
        """(N, heads, 3 * head_dim, positions) -> (N, heads, head_dim, positions)."""
        query, key, value = qkv.split(self.head_dim, 2)
        query, key = query.relu(), key.relu()
        # Dividing k by the number of positions cancels in the quotient and keeps the sums small.
        key = key / key.shape[-1]
        context = value @ key.transpose(-2, -1)
        total = key.sum(-1, keepdim=True).transpose(-2, -1)
        return (context @ query) / (total @ query + EPSILON / qkv.shape[-1])


class EfficientViTTrunk(nn.Module):
    """
    Features at strides 4, 8 and 16 of the input.

    Args:
        inputs: Channels of the input, or the module that turns it into the map at stride 4.
        widths: Channels at strides 2, 4, 8, 16.
        depths: Residual blocks at strides 2, 4, 8, 16; at 16 they are attention blocks.
        expand: Expansion of the inverted bottlenecks.
        act: Activation.
        fused: Halve with one dense 3x3 convolution at strides 4 and 8 instead of an inverted
            bottleneck: more multiply-adds but far less memory traffic, which is what a CPU lacks.
        head_dim: Channels of one attention head.
    """

    def __init__(
        self,
        inputs: int | nn.Module,
        widths: tuple[int, int, int, int] = (24, 48, 96, 192),
        depths: tuple[int, int, int, int] = (1, 2, 3, 4),
        *,
        expand: int = 4,
        act: str = 'hswish',
        fused: bool = False,
        head_dim: int = 32,
    ) -> None:
        super().__init__()
        self.widths = widths[1:]
        self.stem = nn.Sequential()
        if isinstance(inputs, int):
            self.stem.append(ConvNorm(inputs, widths[0], 3, stride=2, act=act))
            self.stem.extend(Residual(SeparableConv(widths[0], act)) for _ in range(depths[0]))
        self.stages = nn.ModuleList()
        for level in (1, 2):
            down: nn.Module
            if level == 1 and isinstance(inputs, nn.Module):
                down = inputs
            elif fused:
                down = ConvNorm(widths[level - 1], widths[level], 3, stride=2, act=act)
            else:
                down = MBConv(widths[level - 1], widths[level], stride=2, expand=expand, act=act)
            residuals = (
                Residual(MBConv(widths[level], widths[level], expand=expand, act=act))
                for _ in range(depths[level])
            )
            self.stages.append(nn.Sequential(down, *residuals))
        block = partial(MBConv, outputs=widths[3], expand=expand, act=act, inner_norm=False)
        blocks: list[nn.Module] = [block(widths[2], stride=2)]
        for _ in range(depths[3]):
            blocks.append(Residual(LinearAttention(widths[3], head_dim)))
            blocks.append(Residual(block(widths[3])))
        self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(N, channels, H, W) -> maps at strides 4, 8, 16, finest first."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
