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

"""The decoders of FCtL: that of FCN-8s, the same on aligned maps, and that of UPerNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import resize_like
from uhr_seg_ros.networks.backbones.upernet import UPerHead

#: Channels between the two hidden layers of the classifier.
HIDDEN = 4096
#: What the finer maps are scaled by before they are scored, so that they start small.
SCALES = {'pool3': 1e-4, 'pool4': 1e-2}
#: Where the coarser scores lie in the finer ones, which the border of the image made larger, px.
OFFSETS = {'pool3': 9, 'pool4': 5, 'image': 31}
#: Side of the first convolution of a hidden classifier, as in VGG16.
KERNEL = 7
#: Channels of the decoder of the small network, ``UPerDecoder``.
SMALL_CHANNELS = 64


class FCN8Head(nn.Module):
    """
    Maps of ``VGG16`` -> logits (N, classes, H, W).

    Scores at three scales, enlarged by fixed bilinear kernels and added up. Source: Long et al.,
    "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015.

    Args:
        widths: Channels of the three maps.
        classes: Number of classes.
    """

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.classify = nn.Sequential(
            nn.Conv2d(widths[2], HIDDEN, 7),
            nn.ReLU(),
            nn.Dropout(),
            nn.Conv2d(HIDDEN, HIDDEN, 1),
            nn.ReLU(),
            nn.Dropout(),
            nn.Conv2d(HIDDEN, classes, 1),
        )
        self.score_pool4 = nn.Conv2d(widths[1], classes, 1)
        self.score_pool3 = nn.Conv2d(widths[0], classes, 1)
        self.classifiers = ('classify.6', 'score_pool4', 'score_pool3')

    def forward(self, maps: Sequence[torch.Tensor], size: Sequence[int]) -> torch.Tensor:
        """
        Score the maps.

        Args:
            maps: After the third, fourth and fifth pool.
            size: Height and width of the image.
        """
        pool3, pool4, pool5 = maps
        total = enlarge(self.classify(pool5), 2)
        fine = self.score_pool4(SCALES['pool4'] * pool4)
        total = enlarge(total + _cut(fine, OFFSETS['pool4'], total.shape[2:]), 2)
        fine = self.score_pool3(SCALES['pool3'] * pool3)
        total = enlarge(total + _cut(fine, OFFSETS['pool3'], total.shape[2:]), 8)
        return _cut(total, OFFSETS['image'], size)


def enlarge(scores: torch.Tensor, factor: int) -> torch.Tensor:
    """
    Enlarge by a transposed convolution with the bilinear kernel of FCN.

    Args:
        scores: (N, C, h, w).
        factor: Stride of the convolution; its kernel is twice as wide.

    Returns:
        (N, C, factor (h + 1), factor (w + 1)).
    """
    channels = int(scores.shape[1])  # a number in graphs too
    kernel = bilinear_kernel(2 * factor).to(scores)
    weight = kernel.expand(channels, 1, *kernel.shape)
    return functional.conv_transpose2d(scores, weight, stride=factor, groups=channels)


def bilinear_kernel(side: int) -> torch.Tensor:
    """Return the (side, side) kernel that enlarges bilinearly by side / 2; side is even."""
    middle = (side + 1) // 2
    line = 1 - (torch.arange(side) - (middle - 0.5)).abs() / middle
    return line[:, None] * line


def _cut(values: torch.Tensor, offset: int, size: Sequence[int]) -> torch.Tensor:
    return values[..., offset : offset + size[0], offset : offset + size[1]]


class SkipDecoder(nn.Module):
    """
    Maps, finest first -> logits (N, classes, h, w) in the size of the finest.

    ``FCN8Head`` on maps that are aligned with the image: scores are enlarged and added.

    Args:
        widths: Channels of the maps.
        classes: Number of classes.
        hidden: Channels of the two hidden layers of the coarsest classifier; 0: it has none.
    """

    def __init__(self, widths: Sequence[int], classes: int, hidden: int = 0) -> None:
        super().__init__()
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in widths)
        if hidden:
            self.scores[-1] = nn.Sequential(
                nn.Conv2d(widths[-1], hidden, KERNEL, padding=KERNEL // 2),
                nn.ReLU(),
                nn.Dropout(),
                nn.Conv2d(hidden, hidden, 1),
                nn.ReLU(),
                nn.Dropout(),
                nn.Conv2d(hidden, classes, 1),
            )
        last = f'{len(widths) - 1}.6' if hidden else f'{len(widths) - 1}'
        finer = (str(index) for index in range(len(widths) - 1))
        self.classifiers = tuple(f'scores.{name}' for name in (*finer, last))

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        *finer, (score, x) = zip(self.scores, maps, strict=True)
        total = score(x)
        for score, x in reversed(finer):
            found = score(x)
            total = found + resize_like(total, found)
        return total


class UPerDecoder(nn.Module):
    """``UPerHead`` with a classifier: maps, finest first -> logits in the size of the finest."""

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.join = UPerHead(widths, SMALL_CHANNELS)
        self.classify = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(SMALL_CHANNELS, classes, 1))
        self.classifiers = ('classify.1',)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.classify(self.join(maps))
