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
The edge loss of learned downsampling: saliency is to be where labels change.

Source: Jin et al., "Learning to Downsample for Segmentation of Ultra-High Resolution Images",
ICLR 2022, the regularization of the deformation module, as released. The released code blurs and
finds edges in images of 8 bits with Pillow; the arithmetic here is the same.
"""

from __future__ import annotations

import torch
from torch.nn import functional

#: A Gaussian of standard deviation 1 px is three passes of 1/6, 4/6, 1/6, in units of 2^-24 as
#: Pillow rounds them.
PASSES, SIDE, MIDDLE, UNIT = 3, 2796202, 11184811, 1 << 24
LARGEST = 255


def edge_target(
    labels: torch.Tensor, size: tuple[int, int], *, ignore_image_border: bool
) -> torch.Tensor:
    """
    Draw the edges between labels.

    Class ids are taken for gray levels, stretched to 0..1 per image: an edge is as strong as ids
    differ. Ids of ignored pixels count, so they should lie next to the others.

    Args:
        labels: (N, H, W) class ids.
        size: Height and width of the saliency map.
        ignore_image_border: Set the outermost pixels to zero.

    Returns:
        (N, 1, *size) float32, 0..1, and all zeros for an image of one class, where the released
        code divides by zero.
    """
    gray = labels[:, None].float()
    low, high = gray.amin((2, 3), keepdim=True), gray.amax((2, 3), keepdim=True)
    # As released, and not (high - low) of 1 where both are the same: 0 / 1 is 0.
    gray = (gray - low) / (high - low).clamp(min=1)
    gray = functional.interpolate(gray, size=size, mode='bilinear')
    edges = find_edges(blur((gray * LARGEST).long())).float() / LARGEST
    if ignore_image_border:
        edges = functional.pad(edges[..., 1:-1, 1:-1], (1, 1, 1, 1))
    return edges


def edge_loss(saliency: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """
    Mean squared difference of saliency and edges, each stretched to 0..1 over the whole batch.

    Args:
        saliency: (N, 1, h, w).
        target: (N, 1, h, w) of ``edge_target``.
    """
    return functional.mse_loss(stretched(saliency), stretched(target))


def stretched(values: torch.Tensor) -> torch.Tensor:
    """Stretch to 0..1; values that are all the same become zeros, not NaN as released."""
    low, high = values.amin(), values.amax()
    span = high - low
    return (values - low) / span.where(span > 0, 1)


def blur(gray: torch.Tensor) -> torch.Tensor:
    """
    Blur by a Gaussian of standard deviation 1 px, borders replicated.

    Args:
        gray: (N, 1, H, W) int64, 0..255.

    Returns:
        The same.
    """
    for axis in (3, 2):
        for _ in range(PASSES):
            before, after = _neighbors(gray, axis)
            gray = (gray * MIDDLE + (before + after) * SIDE + UNIT // 2) // UNIT
    return gray


def find_edges(gray: torch.Tensor) -> torch.Tensor:
    """
    Take eight neighbors off eight times each pixel, limited to 0..255.

    Args:
        gray: (N, 1, H, W) int64, 0..255.

    Returns:
        The same; the outermost pixels are those of ``gray``.
    """
    total = gray
    for axis in (3, 2):
        before, after = _neighbors(total, axis)
        total = total + before + after
    found = (9 * gray - total).clamp(0, LARGEST)
    found[..., [0, -1], :] = gray[..., [0, -1], :]
    found[..., [0, -1]] = gray[..., [0, -1]]
    return found


def _neighbors(gray: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return every pixel's neighbors before and after it, the border's being itself."""
    length = gray.shape[axis]
    places = torch.arange(length, device=gray.device)
    before, after = (places - 1).clamp(min=0), (places + 1).clamp(max=length - 1)
    return gray.index_select(axis, before), gray.index_select(axis, after)
