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
Deformed sampling taken back: from a map of a warped image to one of the image.

Every grid point is written to the pixel that it was sampled at; pixels that none was sampled at
are missing and are filled from the others.

Source: Jin et al., "Learning to Downsample for Segmentation of Ultra-High Resolution Images",
ICLR 2022, as released.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import distance_transform_edt
import torch
from torch.nn import functional

from uhr_seg_ros.networks.deformation.hole_filling import fill_nearest, rim

#: Values (..., H, W) and what of them is missing (H, W) -> the same without a missing one.
Filling = Callable[[np.ndarray, np.ndarray], np.ndarray]


def inverse_grid(grid: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """
    Tell for every pixel of the image where in the warped image it is.

    Where several grid points hit one pixel the released code leaves open which of them wins.
    Here it is always the last one in row-major order, as there with one thread.

    Args:
        grid: (N, h, w, 2) sampling grid, x first, in -1..1 over the image.
        size: H and W of the image, px.

    Returns:
        (N, H, W, 2) of the grid's type, x first, in -1..1 over the warped image; NaN where no grid
        point hits. As published a point of row a stands for 2 a / h - 1, which lies half a row
        above its center.
    """
    count, height, width, _ = grid.shape
    spans = grid.new_tensor([size[1] - 1, size[0] - 1])
    columns, rows = ((grid + 1) / 2 * spans).long().flatten(1, 2).unbind(2)
    order = torch.arange(height * width, device=grid.device).expand(count, -1)
    hit = order.new_full((count, size[0] * size[1]), -1)
    hit = hit.scatter_reduce(1, rows * size[1] + columns, order, 'amax')
    x, y = hit % width / width * 2 - 1, hit // width / height * 2 - 1
    inverse = torch.stack([x, y], 2).to(grid.dtype)
    return inverse.masked_fill((hit < 0)[..., None], torch.nan).view(count, *size, 2)


def reverse(
    values: torch.Tensor,
    inverse: torch.Tensor,
    mode: str = 'bilinear',
    fill: Filling = fill_nearest,
) -> torch.Tensor:
    """
    Bring a map of the warped image back, exactly as released.

    Args:
        values: (N, C, h, w), such as probabilities.
        inverse: (N, H, W, 2) of ``inverse_grid``.
        mode: ``bilinear`` or ``nearest``, how the map is sampled.
        fill: Gives missing pixels their values.

    Returns:
        (N, C, H, W) on the device of ``values``.
    """
    missing = inverse.isnan().any(3).cpu().numpy()
    sampled = functional.grid_sample(values, inverse.nan_to_num(), mode, align_corners=False)
    filled = [fill(*each) for each in zip(sampled.detach().cpu().numpy(), missing, strict=True)]
    return torch.from_numpy(np.stack(filled)).to(values.device)


def whole_inverse_grid(inverse: torch.Tensor) -> torch.Tensor:
    """
    Fill the missing pixels of an inverse grid from the nearest ones, in linear time.

    Sampling along it is ``reverse`` with ``fill_nearest``, except that of equally near pixels
    another one may be chosen; there the published choice is an accident of its search tree.

    Args:
        inverse: (N, H, W, 2) of ``inverse_grid``.

    Returns:
        (N, H, W, 2) without NaN.
    """
    filled = [_from_nearest(each) for each in inverse.detach().cpu().numpy()]
    return torch.from_numpy(np.stack(filled)).to(inverse.device)


def _from_nearest(inverse: np.ndarray) -> np.ndarray:
    missing = np.isnan(inverse[..., 0])
    rows, columns = distance_transform_edt(
        ~rim(missing), return_distances=False, return_indices=True
    )
    return np.where(missing[..., None], inverse[rows, columns], inverse)
