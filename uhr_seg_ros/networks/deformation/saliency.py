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
The saliency network of learned downsampling: where a small copy of the image is worth sampling.

Source: Jin et al., "Learning to Downsample for Segmentation of Ultra-High Resolution Images",
ICLR 2022 (the deformation module), as released.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import ConvNorm

#: Channels of the two wide layers and of the features that are scored.
WIDE, FEATURES = 192, 24


class SaliencyNetwork(nn.Module):
    """Reduced image (N, 3, h, w) -> saliency logits (N, 1, h, w) at the same places."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvNorm(3, WIDE, 3, act='relu6'),
            ConvNorm(WIDE, WIDE, 3, act='relu6'),
            ConvNorm(WIDE, FEATURES, 3, act='none'),
        )
        self.score = nn.Sequential(nn.ReLU(), nn.Conv2d(FEATURES, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.score(self.features(image))


def saliency_map(logits: torch.Tensor) -> torch.Tensor:
    """Turn logits (N, 1, h, w) into a map whose places add up to one: softmax over all places."""
    return logits.flatten(1).softmax(1).view_as(logits)


def reduced(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """
    Reduce an image to what the saliency network looks at, as published: without antialiasing.

    Args:
        image: (N, C, H, W).
        size: Height and width, px.

    Returns:
        (N, C, *size).
    """
    return functional.interpolate(image, size=size, mode='bilinear', align_corners=False)


def coarsened(image: torch.Tensor) -> torch.Tensor:
    """
    Take a random part of the resolution away, as the released training does at first.

    The image is averaged to a square whose side is drawn from a third of the image's short side
    up to all of it, and resized back.

    Args:
        image: (N, C, h, w) of ``reduced``.

    Returns:
        The same shape.
    """
    size = (image.shape[2], image.shape[3])
    side = int(torch.randint(max(min(size) // 3, 1), min(size) + 1, ()))
    return reduced(functional.adaptive_avg_pool2d(image, side), size)
