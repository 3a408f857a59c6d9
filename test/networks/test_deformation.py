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

"""Deformed sampling and its way back against slow readings, place by place."""

from __future__ import annotations

from itertools import product
import math

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from torch.nn import functional

from uhr_seg_ros.networks.deformation.grid import (
    blend_labels,
    Deformation,
    gaussian_kernel,
    sample_labels,
)
from uhr_seg_ros.networks.deformation.hole_filling import fill_linear, fill_nearest, rim
from uhr_seg_ros.networks.deformation.inverse import (
    inverse_grid,
    reverse,
    whole_inverse_grid,
)
from uhr_seg_ros.networks.deformation.saliency import saliency_map

Place = tuple[int, int]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def holes(height: int, width: int, share: float = 0.6, seed: int = 0) -> np.ndarray:
    """Make a mask of missing pixels."""
    return np.random.default_rng(seed).random((height, width)) < share


def test_kernel_is_as_wide_as_its_radius_at_half_height() -> None:
    kernel = gaussian_kernel(4)
    assert kernel.shape == (9, 9) and kernel[4, 4] == 1
    assert float(kernel[4, 6]) == float(kernel[2, 4]) == pytest.approx(0.5)
    wide = gaussian_kernel(4, 2)
    assert wide.shape == (9, 17) and torch.equal(wide[:, 8], kernel[:, 4])


def test_saliency_adds_up_to_one() -> None:
    found = saliency_map(torch.randn(2, 1, 4, 6))
    assert torch.allclose(found.sum((1, 2, 3)), torch.ones(2))


def test_grid_is_the_weighted_mean_of_the_places_around() -> None:
    height, width, radius, stretch = 4, 8, 2, 2
    deformation = Deformation((height, width), (height, width), radius)
    saliency = saliency_map(torch.randn(1, 1, height, width))
    kernel = deformation.kernel.double()
    grid = deformation(saliency)
    for row, column in product(range(height), range(width)):
        total, x, y = 0.0, 0.0, 0.0
        for i, j in product(
            range(-radius, radius + 1), range(-stretch * radius, stretch * radius + 1)
        ):
            inside = (min(max(row + i, 0), height - 1), min(max(column + j, 0), width - 1))
            mass = float(saliency[0, 0][inside])
            mass *= float(kernel[i + radius, j + stretch * radius])
            total += mass
            x += mass * (column + j) / (width - 1)
            y += mass * (row + i) / (height - 1)
        expected = np.clip([2 * x / total - 1, 2 * y / total - 1], -1, 1)
        np.testing.assert_allclose(grid[0, row, column], expected, atol=1e-5)


def test_without_salient_places_the_grid_is_regular() -> None:
    found = Deformation((6, 6), (6, 6), 3)(torch.full((1, 1, 6, 6), 1 / 36))
    line = torch.linspace(-1, 1, 6)
    assert torch.allclose(found[0, 2, :, 0], line, atol=1e-5)
    assert torch.allclose(found[0, :, 4, 1], line, atol=1e-5)


def test_a_salient_place_draws_the_grid_near() -> None:
    saliency = torch.full((1, 1, 16, 16), 1e-3)
    saliency[..., 4, 11] = 0.1
    found = Deformation((16, 16), (16, 16), 4)(saliency)[0]
    place = torch.tensor([11 / 15, 4 / 15]) * 2 - 1
    regular = Deformation((16, 16), (16, 16), 4)(torch.ones_like(saliency))[0]
    near = [((grid - place).abs().amax(2) < 2 / 15).sum() for grid in (found, regular)]
    assert near[0] > 2 * near[1]


def test_bent_image_of_another_size() -> None:
    saliency = saliency_map(torch.randn(2, 1, 4, 8))
    small, large = (
        Deformation((4, 8), warped_size, 2)(saliency) for warped_size in ((4, 8), (6, 10))
    )
    assert large.shape == (2, 6, 10, 2)
    resized = functional.interpolate(small.permute(0, 3, 1, 2), size=(6, 10), mode='bilinear')
    assert torch.equal(large, resized.permute(0, 2, 3, 1))


def test_grid_survives_half_precision() -> None:
    deformation, saliency = Deformation((4, 8), (4, 8), 2), saliency_map(torch.randn(1, 1, 4, 8))
    with torch.autocast('cpu', torch.bfloat16):
        found = deformation(saliency)
    assert torch.equal(found, deformation(saliency))


def test_labels_at_the_nearest_pixel() -> None:
    labels = torch.arange(12).view(1, 3, 4)
    grid = torch.tensor([[[[-1.0, -1.0], [0.2, 0.1], [0.9, 0.3], [1.0, 1.0]]]])
    assert sample_labels(labels, grid)[0, 0].tolist() == [0, 6, 7, 0]
    for stored in (labels, labels.byte()):
        found = sample_labels(stored, grid, outside=255)
        assert found.dtype == torch.int64 and found[0, 0].tolist() == [0, 6, 7, 255]


def test_labels_along_a_grid_of_half_precision() -> None:
    """PyTorch's nearest sampling of bfloat16 gives ids that are in no label."""
    labels = torch.randint(0, 5, (1, 512, 512), generator=torch.Generator().manual_seed(0))
    labels[0, 100:200] = 255
    grid = torch.rand(1, 256, 256, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    half = grid.bfloat16()
    expected = sample_labels(labels, half.float(), outside=255)
    assert torch.equal(sample_labels(labels, half, outside=255), expected)
    assert expected.unique().tolist() == [0, 1, 2, 3, 4, 255]


def test_blended_labels_are_cut_off() -> None:
    grid = torch.tensor([[[[-0.1, 0.0], [0.1, 0.0]]]])  # between ids 2 and 5, at 0.4 and 0.6
    assert blend_labels(torch.tensor([[[2, 5]]]), grid).tolist() == [[[3, 3]]]


def slow_inverse(grid: np.ndarray, size: tuple[int, int]) -> dict[Place, tuple[float, float]]:
    height, width, _ = grid.shape
    found = {}
    for a, b in product(range(height), range(width)):  # so that the last one wins
        x, y = grid[a, b]
        row, column = (
            math.trunc((float(v) + 1) / 2 * (n - 1)) for v, n in ((y, size[0]), (x, size[1]))
        )
        found[row, column] = (b / width * 2 - 1, a / height * 2 - 1)
    return found


@pytest.mark.parametrize('size', [(3, 4), (8, 9)])
def test_inverse_grid_and_colliding_points(size: tuple[int, int]) -> None:
    grid = (torch.rand(2, 5, 7, 2) * 2 - 1).clamp(-1, 1)
    inverse = inverse_grid(grid, size)
    for sample in range(2):
        expected = slow_inverse(grid[sample].numpy(), size)
        assert len(expected) < 35  # some collide
        for place in product(range(size[0]), range(size[1])):
            found = inverse[sample][place].numpy()
            if place in expected:
                np.testing.assert_allclose(found, expected[place], atol=1e-6)
            else:
                assert np.isnan(found).all()


def test_rim() -> None:
    missing = holes(7, 9)
    expected = np.zeros_like(missing)
    for row, column in product(range(7), range(9)):
        beside = [missing[r, column] for r in (row - 1, row + 1) if 0 <= r < 7]
        expected[row, column] = not missing[row, column] and any(beside)
    assert np.array_equal(rim(missing), expected)


def test_rim_of_a_large_mask_is_found_in_a_reduced_one() -> None:
    missing = holes(1024, 36, 0.3)
    small = torch.from_numpy(missing)[None, None].float()
    small = functional.interpolate(small, size=(512, 18), mode='nearest')
    grown = functional.max_pool2d(small, (3, 1), 1, (1, 0))
    grown = functional.interpolate(grown, size=(1024, 36), mode='nearest')[0, 0].bool().numpy()
    assert np.array_equal(rim(missing), grown & ~missing)


def test_columns_without_a_rim_are_filled_from_all() -> None:
    missing = np.zeros((4, 5), bool)
    missing[:, 2:4] = True
    values = np.arange(5.0) + np.zeros((4, 5))
    assert np.array_equal(rim(missing), ~missing)
    assert fill_nearest(values, missing)[1].tolist() == [0, 1, 1, 4, 4]


def candidates(missing: np.ndarray, place: Place) -> list[Place]:
    """List the pixels of the rim that are nearest to a place."""
    places = [tuple(each) for each in np.argwhere(rim(missing))]
    distances = [math.dist(place, each) for each in places]
    least = min(distances) + 1e-9
    return [each for each, found in zip(places, distances, strict=True) if found <= least]


def test_missing_pixels_come_from_the_nearest_of_the_rim() -> None:
    missing = holes(9, 12)
    values = np.random.default_rng(1).random((3, 9, 12))
    filled = fill_nearest(values, missing)
    assert np.array_equal(filled[:, ~missing], values[:, ~missing])
    for place in map(tuple, np.argwhere(missing)):
        near = candidates(missing, place)
        for channel in range(3):
            assert filled[channel][place] in [values[channel][each] for each in near]
    assert fill_nearest(values, np.zeros_like(missing)) is values


def test_fast_filling_takes_one_of_the_nearest() -> None:
    inverse = inverse_grid(torch.rand(2, 5, 7, 2) * 2 - 1, (9, 12))
    whole = whole_inverse_grid(inverse)
    for sample in range(2):
        missing = inverse[sample].isnan().any(2).numpy()
        assert torch.equal(whole[sample][~missing], inverse[sample][~missing])
        for place in map(tuple, np.argwhere(missing)):
            near = [inverse[sample][each].tolist() for each in candidates(missing, place)]
            assert whole[sample][place].tolist() in near


def test_linear_filling_continues_a_plane() -> None:
    missing = holes(10, 12)
    missing[[0, 0, -1, -1], [0, -1, 0, -1]] = False  # nothing lies outside of all triangles
    rows, columns = np.mgrid[:10, :12]
    planes = np.stack([2 * rows - columns + 1.0, 0.5 * columns])
    filled = fill_linear(np.where(missing, np.nan, planes), missing)
    np.testing.assert_allclose(filled, planes, atol=1e-9)


def test_linear_filling_beyond_the_triangles_takes_the_nearest() -> None:
    missing = np.ones((6, 6), bool)
    missing[1, 1] = missing[1, 4] = missing[4, 1] = False
    values = np.where(missing, np.nan, np.arange(36.0).reshape(6, 6))
    filled = fill_linear(values, missing)
    assert filled[5, 0] == values[4, 1] and filled[0, 5] == values[1, 4]
    assert filled[2, 2] == pytest.approx(values[1, 1] + 7)
    missing[4, 1] = True  # the others lie on one line
    assert np.array_equal(fill_linear(values, missing), fill_nearest(values, missing))


def test_reverse() -> None:
    values = torch.rand(2, 3, 5, 7, requires_grad=True)
    inverse = inverse_grid(torch.rand(2, 5, 7, 2) * 2 - 1, (9, 12))
    missing = inverse.isnan().any(3)
    sampled = functional.grid_sample(values, inverse.nan_to_num(), align_corners=False).detach()
    near, linear = (reverse(values, inverse, fill=fill) for fill in (fill_nearest, fill_linear))
    for found in (near, linear):
        assert found.shape == (2, 3, 9, 12) and found.isfinite().all()
        hit = ~missing[:, None].expand_as(found)
        assert torch.equal(found[hit], sampled[hit])
    assert not torch.equal(near, linear)
