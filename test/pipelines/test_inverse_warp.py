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

"""Grids taken back fast: equal to the exact form except between points equally near."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch has the exact form')

from torch.nn import functional

from uhr_seg_ros.networks.deformation.grid import Deformation, sample_image
from uhr_seg_ros.networks.deformation.inverse import (
    inverse_grid,
    whole_inverse_grid,
)
from uhr_seg_ros.pipelines import inverse_warp
from uhr_seg_ros.pipelines.inverse_warp import at_points, PointMap


def bent_grid(bent: tuple[int, int], strength: float) -> torch.Tensor:
    """Return a grid that is pulled to a few places."""
    torch.manual_seed(0)
    logits = functional.interpolate(strength * torch.randn(1, 1, 6, 6), (32, 32), mode='bicubic')
    return Deformation((32, 32), bent, 4)(logits.flatten(1).softmax(1).view_as(logits))


def exact_points(grid: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Return the point of each pixel, (H, W), in the exact form."""
    height, width = grid.shape[1:3]
    inverse = whole_inverse_grid(inverse_grid(grid, size))[0]
    places = ((inverse + 1) / 2 * torch.tensor([width, height])).round().long().numpy()
    return places[..., 1] * width + places[..., 0]


def farther(grid: torch.Tensor, found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return which pixels took a point that is farther than the exact one."""
    height, width = found.shape
    spans = torch.tensor([width - 1, height - 1])
    x, y = ((grid + 1) / 2 * spans).long().numpy()[0].reshape(-1, 2).T
    rows, columns = np.indices(found.shape)

    def squares(points: np.ndarray) -> np.ndarray:
        return (y[points] - rows) ** 2 + (x[points] - columns) ** 2

    return squares(found) > squares(exact)


@pytest.mark.parametrize('strength', [0.0, 1.0, 3.0])
@pytest.mark.parametrize(
    ('bent', 'size'),
    [
        ((64, 96), (540, 960)),
        ((32, 64), (1200, 900)),
        ((96, 96), (180, 250)),
        ((96, 96), (40, 60)),
    ],
)
def test_masks_agree_away_from_ties(
    bent: tuple[int, int], size: tuple[int, int], strength: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inverse_warp, 'BAND_ROWS', 100)
    grid = bent_grid(bent, strength)
    scene = functional.interpolate(torch.randn(1, 4, 8, 8), size=size, mode='bicubic')
    values = (8 * sample_image(scene, grid)).softmax(1)[0].numpy()
    classes = at_points(values).argmax(0).ravel().astype(np.uint8)
    points = np.arange(len(classes), dtype=np.int32)
    mask, found = np.empty(size, np.uint8), np.empty(size, np.int32)
    PointMap(grid[0].numpy(), size, 2).fill([(classes, mask), (points, found)])
    exact = exact_points(grid, size)
    np.testing.assert_array_equal(mask, classes[found])
    wrong = (classes[exact] != mask) & farther(grid, found, exact)
    assert wrong.mean() <= 1e-3
    # Without ties and with them: few pixels in all, where points are not as close as pixels.
    if bent[0] * bent[1] < size[0] * size[1] / 10:
        assert (classes[exact] == mask).mean() > 0.98


def test_values_at_points_are_those_of_the_exact_form() -> None:
    grid = bent_grid((32, 48), 1.0)
    values = torch.rand(1, 3, 32, 48)
    inverse = inverse_grid(grid, (300, 500))
    hit = ~inverse[0].isnan().any(2).numpy()
    expected = sample_image(values, inverse.nan_to_num())[0].numpy()
    maps = np.empty((3, 300, 500), np.float32)
    points = at_points(values[0].numpy()).reshape(3, -1)
    PointMap(grid[0].numpy(), (300, 500), 1).fill(list(zip(points, maps, strict=True)))
    np.testing.assert_allclose(maps[:, hit], expected[:, hit], atol=1e-5)


@pytest.mark.parametrize('threads', [1, 3])
def test_points_far_from_a_band(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All points lie in a corner: the bands below have to look far."""
    monkeypatch.setattr(inverse_warp, 'BAND_ROWS', 10)
    grid = bent_grid((16, 16), 0.0) * 0.1 - 0.9
    found = np.empty((150, 90), np.int32)
    points = np.arange(256, dtype=np.int32)
    PointMap(grid[0].numpy(), (150, 90), threads).fill([(points, found)])
    exact = exact_points(grid, (150, 90))
    assert farther(grid, found, exact).mean() < 0.02
