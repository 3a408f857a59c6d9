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
Swin-T on the low-resolution image: windowed attention with shifted windows.

Source: Liu et al., "Swin Transformer", ICCV 2021, https://arxiv.org/abs/2103.14030. Padding
tokens are not masked and a shifted block always applies its mask, as in mmsegmentation, whose
checkpoints this module reads.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import Encoder

MASKED = -100.0


class DropPath(nn.Module):
    """Drop a residual branch per sample while training (stochastic depth)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.empty(shape, device=x.device, dtype=x.dtype).bernoulli_(keep) / keep


def relative_position_index(window: int) -> torch.Tensor:
    """Row of the bias table for each (query, key) of a window: (window^2, window^2) int64."""
    axis = torch.arange(window)
    rows, columns = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing='ij'))
    delta_row = rows[:, None] - rows[None, :] + window - 1
    delta_column = columns[:, None] - columns[None, :] + window - 1
    return delta_row * (2 * window - 1) + delta_column


def axis_labels(size: int, window: int, shift: int) -> torch.Tensor:
    """Label along one axis after the shift: 0, then 1 from size-window, then 2 from size-shift."""
    position = torch.arange(size)
    return (position >= size - window).long() + (position >= size - shift).long()


def windows_of(x: torch.Tensor, window: int) -> torch.Tensor:
    """(N, H, W, C) with H and W multiples of ``window`` -> (N * windows, window^2, C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, channels)


def windows_back(x: torch.Tensor, window: int, shape: torch.Size) -> torch.Tensor:
    """Undo ``windows_of`` for a map of ``shape`` (N, H, W, C)."""
    batch, height, width, channels = shape
    x = x.reshape(batch, height // window, width // window, window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels)


def shift_mask(height: int, width: int, window: int, shift: int) -> torch.Tensor:
    """Additive attention mask of a shifted block: (windows, window^2, window^2) float32."""
    rows = axis_labels(height, window, shift)
    columns = axis_labels(width, window, shift)
    regions = (rows[:, None] * 3 + columns[None, :])[None, :, :, None]
    labels = windows_of(regions, window)[:, :, 0]
    differs = labels[:, :, None] != labels[:, None, :]
    return differs.float() * MASKED


class WindowAttention(nn.Module):
    """Multi-head attention inside windows with a learned relative position bias."""

    position_index: torch.Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.position_bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer('position_index', relative_position_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attend inside windows: x (B * windows, L, C), mask (windows, L, L) or None."""
        count, length, channels = x.shape
        qkv = self.qkv(x).reshape(count, length, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.position_bias[self.position_index.flatten()]
        bias = bias.reshape(length, length, self.heads).permute(2, 0, 1)
        scores = (query * self.scale) @ key.transpose(-2, -1) + bias
        if mask is not None:
            scores = scores.reshape(-1, mask.shape[0], self.heads, length, length)
            scores = (scores + mask[:, None]).reshape(-1, self.heads, length, length)
        attended = scores.softmax(-1) @ value
        return self.proj(attended.transpose(1, 2).reshape(count, length, channels))


class SwinBlock(nn.Module):
    """Window attention and a feed-forward network, each with a residual and drop path."""

    def __init__(self, dim: int, heads: int, window: int, shift: int, drop: float) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.drop_path = DropPath(drop)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Pad to whole windows, shift, attend, shift back, crop: (N, H, W, C) -> same shape."""
        height, width = x.shape[1:3]
        # The padding follows the norm, so a padded token's q, k and v are the biases alone.
        x = functional.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded, mask = x.shape, None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
            mask = shift_mask(padded[1], padded[2], self.window, self.shift).to(x)
        x = windows_back(self.attention(windows_of(x, self.window), mask), self.window, padded)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :height, :width]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class PatchMerging(nn.Module):
    """Halve the map: 2x2 neighbors, channel-major, to one token of twice the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[1:3]
        x = functional.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        x = functional.pixel_unshuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        return self.reduction(self.norm(x))


class PatchEmbed(nn.Module):
    """4x4 patches to tokens: (N, 3, H, W) -> (N, ceil(H/4), ceil(W/4), dim)."""

    def __init__(self, dim: int, patch: int = 4) -> None:
        super().__init__()
        self.patch = patch
        self.projection = nn.Conv2d(3, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[2:]
        image = functional.pad(image, (0, -width % self.patch, 0, -height % self.patch))
        return self.norm(self.projection(image).permute(0, 2, 3, 1))


class Swin(Encoder):
    """
    Swin Transformer; the defaults are Swin-T.

    ``forward`` takes the low-resolution image (N, 3, h, w) and returns one map per stage,
    (N, dim * 2^s, ~h / 4 / 2^s, ~w / 4 / 2^s), each through its own norm.
    """

    def __init__(
        self,
        dim: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 7,
        drop_path: float = 0.3,
    ) -> None:
        super().__init__()
        self.widths = tuple(dim * 2**stage for stage in range(len(depths)))
        drops = iter(torch.linspace(0, drop_path, sum(depths), device='cpu').tolist())
        self.patch_embed = PatchEmbed(dim)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                SwinBlock(width, head, window, window // 2 * (block % 2), next(drops))
                for block in range(depth)
            )
            for width, depth, head in zip(self.widths, depths, heads, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.widths)
        self.merges = nn.ModuleList(PatchMerging(width) for width in self.widths[:-1])

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        x = self.patch_embed(image)
        maps = []
        for index, (blocks, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            if index:
                x = self.merges[index - 1](x)
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
        return maps
