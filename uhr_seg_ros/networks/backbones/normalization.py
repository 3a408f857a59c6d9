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

"""Images as the networks take them, in torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from uhr_seg_ros.core.bundle import IMAGENET_MEAN, IMAGENET_STD


def normalized(
    images: np.ndarray,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> torch.Tensor:
    """
    Turn images into network input.

    Args:
        images: (N, H, W, 3) uint8 BGR.
        mean: RGB, in 0..255.
        std: RGB, in 0..255.

    Returns:
        (N, 3, H, W) float32 RGB, in memory channels last.
    """
    rgb = torch.from_numpy(images).flip(-1).permute(0, 3, 1, 2).float()
    return normalized_planes(rgb, mean, std)


def normalized_planes(
    planes: torch.Tensor,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> torch.Tensor:
    """Normalize planes (..., 3, H, W), RGB in 0..255."""
    center, spread = (planes.new_tensor(values)[:, None, None] for values in (mean, std))
    return (planes - center) / spread


def unit_range(image: torch.Tensor) -> torch.Tensor:
    """Take the normalization of ImageNet back: (N, 3, H, W) -> the same in 0..1."""
    mean, std = (image.new_tensor(v)[:, None, None] / 255 for v in (IMAGENET_MEAN, IMAGENET_STD))
    return image * std + mean
