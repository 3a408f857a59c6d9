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

"""A network of one branch, on the whole image or on a reduced one: what HLRC is compared with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.base import SegmentationNetwork


class SingleNetwork(SegmentationNetwork):
    """
    Reduce the image, run one network, enlarge its logits.

    ``forward``: normalized RGB image (N, 3, H, W) -> logits (N, classes, H, W).

    Args:
        body: Reduced image (N, 3, h, w) -> logits (N, classes, h / s, w / s) of any stride s.
        classes: Number of classes.
        factor: The body sees means of blocks of this side, px.
        stride: Height and width of the image are to be multiples of this, px.
    """

    kind = 'single'

    def __init__(self, body: nn.Module, classes: int, *, factor: int, stride: int) -> None:
        super().__init__()
        self.body = body
        self.classes = classes
        self.low_res_factor = factor
        self.stride = stride

    def reduce(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> means of blocks (N, 3, H / factor, W / factor)."""
        factor = self.low_res_factor
        return functional.avg_pool2d(image, factor) if factor > 1 else image

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.body(self.reduce(image))
        return functional.interpolate(logits, size=image.shape[2:], mode='bilinear')

    def forward_train(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Return ``refine``, the logits before they are enlarged: what the losses look at.

        A body with further heads for training has a ``forward_train`` of its own, which returns
        them too.
        """
        train = getattr(self.body, 'forward_train', None)
        reduced = self.reduce(image)
        return {'refine': self.body(reduced)} if train is None else dict(train(reduced))
