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
PP-LiteSeg-T: a light decoder with spatial attention on STDC1, for whole frames.

Source: Peng et al., "PP-LiteSeg: A Superior Real-Time Semantic Segmentation Model", 2022,
https://arxiv.org/abs/2204.02681, section 3; headings of the paper are named at each part.
"""

from __future__ import annotations

import torch
from torch import nn

from uhr_seg_ros.networks.backbones.layers import ConvNorm, resize_like
from uhr_seg_ros.networks.backbones.stdc import STDC1
from uhr_seg_ros.networks.backbones.upernet import adaptive_mean

#: Channels of the decoder at 1/32, 1/16 and 1/8: those of PP-LiteSeg-T.
CHANNELS = (128, 64, 32)
#: Parts per side that the coarsest map is pooled to.
POOL_SIZES = (1, 2, 4)


class SimplePooling(nn.Module):
    """
    Sum means over 1, 4 and 16 parts of a map: (N, inputs, h, w) -> (N, outputs, h, w).

    SPPM: unlike pyramid pooling it adds in place of joining, and leaves the map itself out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pools = nn.ModuleList(ConvNorm(inputs, outputs) for _ in POOL_SIZES)
        self.out = ConvNorm(outputs, outputs, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [
            resize_like(conv(adaptive_mean(x, bins)), x)
            for conv, bins in zip(self.pools, POOL_SIZES, strict=True)
        ]
        return self.out(torch.stack(pooled).sum(0))


class AttentionFusion(nn.Module):
    """
    Weigh a coarse map against a fine one at every position: UAFM with spatial attention.

    ``alpha high + (1 - alpha) low``, where alpha is the sigmoid of a convolution over the means
    and maxima of both over their channels.

    Args:
        low: Channels of the fine map.
        high: Channels of the coarse map, which is enlarged.
        outputs: Channels out.
    """

    def __init__(self, low: int, high: int, outputs: int) -> None:
        super().__init__()
        self.low = ConvNorm(low, high, 3)
        self.attention = ConvNorm(4, 1, 3, act='none')
        self.out = ConvNorm(high, outputs, 3)

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        low = self.low(low)
        high = resize_like(high, low)
        seen = [found for x in (high, low) for found in (x.mean(1, keepdim=True), x.amax(1, True))]
        alpha = self.attention(torch.cat(seen, 1)).sigmoid()
        return self.out(alpha * high + (1 - alpha) * low)


class Head(nn.Sequential):
    """Map (N, inputs, h, w) -> logits (N, classes, h, w)."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvNorm(inputs, inputs, 3)
        self.classify = nn.Conv2d(inputs, classes, 1)
        self.classifiers = ('classify',)


class PPLiteSeg(nn.Module):
    """
    Image (N, 3, H, W) -> logits (N, classes, H / 8, W / 8).

    Training looks at the two coarser maps of the decoder too, as the released code does and the
    paper leaves out; the heads for that are not exported.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = STDC1()
        fine, middle, coarse = self.encoder.widths
        self.pool = SimplePooling(coarse, CHANNELS[0])
        self.fuse_middle = AttentionFusion(middle, CHANNELS[0], CHANNELS[1])
        self.fuse_fine = AttentionFusion(fine, CHANNELS[1], CHANNELS[2])
        self.head = Head(CHANNELS[2], classes)
        self.training_heads = nn.ModuleList(Head(width, classes) for width in CHANNELS[:2])

    def _decoded(self, image: torch.Tensor) -> list[torch.Tensor]:
        fine, middle, coarse = self.encoder(image)
        maps = [self.pool(coarse)]
        maps.append(self.fuse_middle(middle, maps[-1]))
        maps.append(self.fuse_fine(fine, maps[-1]))
        return maps

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self._decoded(image)[-1])

    def forward_train(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return logits at 1/8, ``refine``, at 1/16, ``decode``, and at 1/32, ``auxiliary``."""
        coarse, middle, fine = self._decoded(image)
        auxiliary, decode = self.training_heads
        return {
            'refine': self.head(fine),
            'decode': decode(middle),
            'auxiliary': auxiliary(coarse),
        }
