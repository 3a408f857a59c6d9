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
Deformed sampling: a grid that is pulled towards salient places, and sampling along it.

Every grid point is the mean of the places around it, weighted by saliency and by a Gaussian of
their distance, so that places of high saliency attract grid points and are sampled densely.

Sources: Jin et al., "Learning to Downsample for Segmentation of Ultra-High Resolution Images",
ICLR 2022; the form of the grid is that of Recasens et al., "Learning to Zoom: a Saliency-Based
Sampling Layer for Neural Networks", ECCV 2018, equations 3 and 4.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import without_autocast


class Deformation(nn.Module):
    """
    Saliency map (N, 1, h, w) -> sampling grid (N, H, W, 2), x first, in -1..1 over the image.

    Args:
        size: h and w of the saliency map.
        warped_size: H and W of the warped image, px.
        radius: Radius of the Gaussian in rows of the saliency map, which is also its width at
            half of its height; in columns it is as many times larger as the map is wider than
            high.
    """

    kernel: torch.Tensor
    places: torch.Tensor

    def __init__(self, size: tuple[int, int], warped_size: tuple[int, int], radius: int) -> None:
        super().__init__()
        self.size, self.warped_size = size, warped_size
        stretch = max(size[1] // size[0], 1)
        self.padding = (radius, radius * stretch)
        # Constants, of which a checkpoint need not know.
        self.register_buffer('kernel', gaussian_kernel(radius, stretch), persistent=False)
        self.register_buffer('places', padded_places(size, self.padding), persistent=False)

    def padded(self, saliency: torch.Tensor) -> torch.Tensor:
        """Continue the border by a radius: grid points near it are pulled from all sides."""
        rows, columns = self.padding
        return functional.pad(saliency, (columns, columns, rows, rows), mode='replicate')

    def forward(self, saliency: torch.Tensor) -> torch.Tensor:
        # Half precision has not enough digits for quotients of saliencies around 1 / (h w).
        with without_autocast(saliency):
            mass = self.padded(saliency.float())
            terms = torch.cat([mass * self.places, mass], 1)
            sums = functional.conv2d(terms.flatten(0, 1)[:, None], self.kernel[None, None])
            sums = sums.view(-1, 3, *self.size)
            grid = (sums[:, :2] / sums[:, 2:] * 2 - 1).clamp(-1, 1)
            if self.warped_size != self.size:
                grid = functional.interpolate(grid, size=self.warped_size, mode='bilinear')
        return grid.permute(0, 2, 3, 1)


def gaussian_kernel(radius: int, stretch: int = 1) -> torch.Tensor:
    """
    Return exp(-4 ln 2 d^2 / radius^2), resized bilinearly to be wider than high.

    Args:
        radius: Of the rows; half of the kernel's height.
        stretch: How many times larger the radius of the columns is.

    Returns:
        (2 radius + 1, 2 stretch radius + 1) float32, 1 at the center.
    """
    offsets = np.arange(-radius, radius + 1)
    squares = offsets[:, None] ** 2 + offsets**2
    round_one = np.exp(-4 * math.log(2) * squares / radius**2).astype(np.float32)
    return functional.interpolate(
        torch.from_numpy(round_one)[None, None],
        size=(2 * radius + 1, 2 * stretch * radius + 1),
        mode='bilinear',
    )[0, 0]


def padded_places(size: tuple[int, int], padding: tuple[int, int]) -> torch.Tensor:
    """
    Return the coordinates of a padded map, 0..1 inside, continued linearly over the padding.

    Args:
        size: h and w of the map.
        padding: Rows and columns that are added on each side.

    Returns:
        (1, 2, h + 2 rows, w + 2 columns) float32: x, then y.
    """
    y, x = (
        torch.arange(-border, length + border) / (length - 1)
        for length, border in zip(size, padding, strict=True)
    )
    return torch.stack(torch.meshgrid(x, y, indexing='xy'))[None]


def sample_image(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """
    Sample an image bilinearly along a grid.

    As published the corners of a grid are the outer corners of the image (align_corners false),
    and beyond its outermost pixels there are zeros, which a border point takes half of.

    Args:
        image: (N, C, H, W).
        grid: (N, h, w, 2), x first, in -1..1.

    Returns:
        (N, C, h, w).
    """
    return functional.grid_sample(image, grid, align_corners=False)


def sample_labels(labels: torch.Tensor, grid: torch.Tensor, outside: int = 0) -> torch.Tensor:
    """
    Return the label that lies nearest to each point of a grid.

    Args:
        labels: (N, H, W) class ids.
        grid: (N, h, w, 2), as of ``sample_image``.
        outside: Class id of points at the very right and bottom, which round to a pixel outside
            the image; 0 is the published one.

    Returns:
        (N, h, w) int64.
    """
    # Zeros are what lies outside: let zero mean ``outside``. Half precision has too few digits for
    # ids and places, and on the CPU PyTorch's nearest sampling of bfloat16 reads other memory.
    shifted = labels[:, None].float() - outside
    found = functional.grid_sample(shifted, grid.float(), mode='nearest', align_corners=False)
    return found[:, 0].long() + outside


def blend_labels(labels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """
    Sample class ids bilinearly and cut their fractions off, as the released training does.

    Between two classes this gives the id of a third one, and inside of one the rounding of the
    weights may give the id below: an image is to be trained with ``sample_labels``. It is here
    because the released figures were made with it.

    Args:
        labels: (N, H, W) class ids.
        grid: (N, h, w, 2), as of ``sample_image``.

    Returns:
        (N, h, w) int64.
    """
    return sample_image(labels[:, None].to(grid.dtype), grid)[:, 0].long()
