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
PIDNet-S: three branches for details, context and boundaries, for whole frames.

Source: Xu, Xiong and Bhattacharyya, "PIDNet: A Real-time Semantic Segmentation Network Inspired by
PID Controllers", CVPR 2023, https://arxiv.org/abs/2206.02066, section 3 for the modules and the
losses; the blocks of each branch are in its table of instantiations, with (m, n, C) = (2, 3, 32).
Its table of Cityscapes names 7.6 M parameters and 47.6 G multiply-adds of an image of 2048x1024.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import ConvNorm, resize_like

#: Channels of the stem and of the branch of boundaries at first; those of others are multiples.
WIDTH = 32
#: Channels of a branch of the context module, and of everything that is fused in the end.
POOLED, FUSED = 96, 128
#: Means that the context module takes: side and stride of the window, in px of 1/64.
POOLS = ((5, 2), (9, 4), (17, 8))

_linear = partial(ConvNorm, act='none')


class ResidualBlock(nn.Module):
    """
    ``block(x) + shortcut(x)``, without an activation behind it.

    Args:
        inputs: Channels in.
        width: Channels of the convolutions; a bottleneck has twice as many out.
        stride: Of the block.
        bottleneck: 1x1, 3x3 and 1x1 in place of two times 3x3.
    """

    def __init__(
        self, inputs: int, width: int, stride: int = 1, *, bottleneck: bool = False
    ) -> None:
        super().__init__()
        outputs = 2 * width if bottleneck else width
        self.block = (
            nn.Sequential(
                ConvNorm(inputs, width),
                ConvNorm(width, width, 3, stride=stride),
                _linear(width, outputs),
            )
            if bottleneck
            else nn.Sequential(ConvNorm(inputs, width, 3, stride=stride), _linear(width, width, 3))
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _linear(inputs, outputs, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.shortcut(x)


def stage(
    inputs: int, width: int, blocks: int, stride: int = 1, *, bottleneck: bool = False
) -> nn.Sequential:
    """Chain blocks with activations between, not behind them; the first one has the stride."""
    layers: list[nn.Module] = [ResidualBlock(inputs, width, stride, bottleneck=bottleneck)]
    outputs = 2 * width if bottleneck else width
    for _ in range(blocks - 1):
        layers += [nn.ReLU(), ResidualBlock(outputs, width, bottleneck=bottleneck)]
    return nn.Sequential(*layers)


class PreNorm(nn.Sequential):
    """Batch norm and activation in front of a convolution without bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        )


class PixelAttention(nn.Module):
    """
    Let details take from context where both agree (Pag).

    ``sigma context + (1 - sigma) details``; sigma is the sigmoid of the scalar product of both,
    projected to fewer channels.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.details, self.context = (_linear(channels, inner) for _ in range(2))

    def forward(self, details: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        # Projected where it is small, and enlarged then: both are linear.
        alike = self.details(details) * resize_like(self.context(context), details)
        sigma = alike.sum(1, keepdim=True).sigmoid()
        return sigma * resize_like(context, details) + (1 - sigma) * details


class ParallelPooling(nn.Module):
    """Join a map with its means over windows of four sizes (PAPPM)."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        count = len(POOLS) + 1
        self.own = PreNorm(inputs, inner)
        self.scales = nn.ModuleList(PreNorm(inputs, inner) for _ in range(count))
        self.process = PreNorm(count * inner, count * inner, 3, groups=count)
        self.compress = PreNorm((count + 1) * inner, outputs)
        self.shortcut = PreNorm(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own = self.own(x)
        pooled = [functional.avg_pool2d(x, side, step, side // 2) for side, step in POOLS]
        pooled.append(x.mean((2, 3), keepdim=True))
        scales = [
            resize_like(conv(means), own) + own
            for conv, means in zip(self.scales, pooled, strict=True)
        ]
        joined = self.process(torch.cat(scales, 1))
        return self.compress(torch.cat([own, joined], 1)) + self.shortcut(x)


class BoundaryAttention(nn.Module):
    """
    Take details where there are boundaries, else context (Light-Bag).

    ``f((1 - sigma) context + details) + g(sigma details + context)``; sigma is the sigmoid of the
    branch of boundaries.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.details, self.context = (_linear(channels, channels) for _ in range(2))

    def forward(
        self, details: torch.Tensor, context: torch.Tensor, boundaries: torch.Tensor
    ) -> torch.Tensor:
        sigma = boundaries.sigmoid()
        fine = self.details((1 - sigma) * context + details)
        return fine + self.context(sigma * details + context)


class Head(nn.Module):
    """Map (N, inputs, h, w) -> scores (N, outputs, h, w)."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.conv = PreNorm(inputs, inner, 3)
        self.norm = nn.BatchNorm2d(inner)
        self.classify = nn.Conv2d(inner, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.norm(self.conv(x)).relu())


class PIDNet(nn.Module):
    """
    Image (N, 3, H, W) -> logits (N, classes, H / 8, W / 8).

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        width = WIDTH
        self.stem = nn.Sequential(
            ConvNorm(3, width, 3, stride=2),
            ConvNorm(width, width, 3, stride=2),
            stage(width, width, 2),
            nn.ReLU(),
            stage(width, 2 * width, 2, 2),
            nn.ReLU(),
        )
        # I, the context: 1/16, 1/32, 1/64.
        self.context = nn.ModuleList(
            (
                stage(2 * width, 4 * width, 3, 2),
                stage(4 * width, 8 * width, 3, 2),
                stage(8 * width, 8 * width, 2, 2, bottleneck=True),
            )
        )
        self.pool = ParallelPooling(16 * width, POOLED, FUSED)
        # P, the details, and D, the boundaries: at 1/8 throughout.
        self.details = nn.ModuleList(
            (
                stage(2 * width, 2 * width, 2),
                stage(2 * width, 2 * width, 2),
                stage(2 * width, 2 * width, 1, bottleneck=True),
            )
        )
        self.boundaries = nn.ModuleList(
            (
                stage(2 * width, width, 1),
                stage(width, width, 1, bottleneck=True),
                stage(2 * width, 2 * width, 1, bottleneck=True),
            )
        )
        widths = 4 * width, 8 * width
        self.to_details = nn.ModuleList(_linear(each, 2 * width) for each in widths)
        self.attention = nn.ModuleList(PixelAttention(2 * width, width) for _ in widths)
        self.to_boundaries = nn.ModuleList(
            (_linear(widths[0], width, 3), _linear(widths[1], 2 * width, 3))
        )
        self.fuse = BoundaryAttention(FUSED)
        self.head = Head(FUSED, FUSED, classes)
        self.details_head = Head(2 * width, FUSED, classes)
        self.boundary_head = Head(2 * width, width, 1)
        self.classifiers = ('head.classify', 'details_head.classify')

    def _branches(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the fused map, and the details and boundaries that training looks at."""
        context = details = boundaries = self.stem(image)
        early: list[torch.Tensor] = []
        for index, attend in enumerate(self.attention):
            context = self.context[index](context).relu()
            details = attend(self.details[index](details), self.to_details[index](context))
            added = resize_like(self.to_boundaries[index](context), details)
            boundaries = self.boundaries[index](boundaries) + added
            early.append(details)
            seen = boundaries
            details, boundaries = details.relu(), boundaries.relu()
        context = resize_like(self.pool(self.context[-1](context)), details)
        fused = self.fuse(self.details[-1](details), context, self.boundaries[-1](boundaries))
        return fused, early[0], seen

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self._branches(image)[0])

    def forward_train(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Return what the losses look at, all at 1/8.

        Returns:
            ``refine`` logits; ``auxiliary`` logits of the details behind the first attention;
            ``boundary`` (N, 1, H / 8, W / 8), a logit of every boundary.
        """
        fused, details, boundaries = self._branches(image)
        return {
            'refine': self.head(fused),
            'auxiliary': self.details_head(details),
            'boundary': self.boundary_head(boundaries),
        }
