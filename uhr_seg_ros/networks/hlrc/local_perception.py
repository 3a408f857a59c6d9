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
Local perception branch (LPB) with field-enriched local context (FELC).

Where an object is too small for the semantic branch to see, these features of the full image
correct the assignment.
"""

from __future__ import annotations

import torch
from torch import nn

from uhr_seg_ros.networks.backbones.efficientvit import EfficientViTTrunk
from uhr_seg_ros.networks.backbones.layers import resize_like


class FieldContext(nn.Module):
    """
    FELC: a third of the channels each sees 3x3, 5x5 and 7x7, (N, C, h, w) -> same shape.

    GELU is applied twice, as in the released network.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 3:
            msg = f'FELC splits its channels in three, {channels} are not divisible'
            raise ValueError(msg)
        third = channels // 3
        self.fc1 = nn.Conv2d(channels, channels, 1)
        self.fields = nn.ModuleList(
            nn.Conv2d(third, third, size, padding=size // 2, groups=third) for size in (3, 5, 7)
        )
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.fc1(x).chunk(3, 1)
        x = torch.cat([conv(part) for conv, part in zip(self.fields, parts, strict=True)], 1)
        return self.fc2(self.act(self.act(self.norm(x))))


class LocalPerception(nn.Module):
    """
    Local features at 1/8 and, where ``quarter`` is set, at 1/4 of the image.

    Args:
        widths: Channels of the trunk's maps at strides 4, 8, 16.
        channels: Channels after compression.
        trunk: Own trunk on the image; None shares the maps of the region partition branch.
        quarter: Also hand on the trunk's map at stride 4, which keeps thin objects.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        channels: int,
        trunk: EfficientViTTrunk | None = None,
        *,
        quarter: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.quarter = quarter
        self.felc_16 = FieldContext(widths[2])
        self.felc_8 = FieldContext(widths[1])
        self.compression = nn.Conv2d(widths[1] + widths[2], channels, 1)
        self.channels = channels + (widths[0] if quarter else 0)

    def forward(self, image: torch.Tensor, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """
        Return the features whose resized concatenation is the local feature.

        Args:
            image: (N, 3, H, W) normalized.
            maps: The maps of the region partition branch, used when the trunk is shared.
        """
        quarter, eighth, sixteenth = self.trunk(image) if self.trunk is not None else maps
        eighth = self.felc_8(eighth)
        coarse = resize_like(self.felc_16(sixteenth), eighth)
        compressed = self.compression(torch.cat([eighth, coarse], 1))
        return [compressed, quarter] if self.quarter else [compressed]


class NoLocalPerception(nn.Module):
    """No local features: what the branch is compared with."""

    channels = 0

    def forward(self, image: torch.Tensor, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return nothing to join the assigned tokens with."""
        return []
