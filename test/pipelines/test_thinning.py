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

"""Thinning against a slow reading of its definition, and what it must never do."""

from __future__ import annotations

import cv2
import numpy as np
from pictures import regions
import pytest
from scipy import ndimage

pytest.importorskip('hypothesis', reason='hypothesis makes the input')
from hypothesis import given
from hypothesis import strategies as some

from uhr_seg_ros.pipelines.refinement.thinning import thinned_band

#: 1: of the class, 0: not, -1: either.
FIRST = np.array([[0, 0, 0], [-1, 1, -1], [1, 1, 1]])
#: Ends of lines: upright, and askew.
ENDS = np.array([[-1, 1, -1], [0, 1, 0], [0, 0, 0]]), np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0]])
RING = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]


def turned(element: np.ndarray, turn: int) -> np.ndarray:
    """Turn a structuring element clockwise by `turn` times 45 degrees."""
    result = element.copy()
    for index, place in enumerate(RING):
        result[RING[(index + turn) % 8]] = element[place]
    return result


def elements(passes: int) -> list[np.ndarray]:
    """Return the elements in the order in which they come."""
    thinning = [turned(FIRST, turn) for turn in range(8)]
    pruning = [turned(ENDS[turn % 2], turn) for turn in range(8)]
    return thinning * passes + pruning * passes


def fits(region: np.ndarray, element: np.ndarray, row: int, column: int) -> bool:
    """Return whether an element fits at a pixel; beyond the frame it goes on as at its edge."""
    for (i, j), wanted in np.ndenumerate(element):
        there = (
            np.clip(row + i - 1, 0, region.shape[0] - 1),
            np.clip(column + j - 1, 0, region.shape[1] - 1),
        )
        itself = there == (row, column) and (i, j) != (1, 1)
        if wanted == 1 and (itself or not region[there]):
            return False
        if wanted == 0 and region[there]:
            return False
    return True


def slow_band(mask: np.ndarray, passes: int) -> np.ndarray:
    """Thin class by class, pixel by pixel."""
    left = np.zeros(mask.shape, bool)
    for each in np.unique(mask):
        region = mask == each
        for element in elements(passes):
            hits = [place for place in np.argwhere(region) if fits(region, element, *place)]
            for row, column in hits:
                region[row, column] = False
        left |= region
    return ~left


def test_inside_it_is_the_hit_or_miss_transform() -> None:
    region = np.zeros((60, 80), bool)
    region[20:40, 20:60] = regions(20, 40) < 2
    found = thinned_band(region.astype(np.uint8), 2) & region
    thinned = region.copy()
    for element in elements(2):
        thinned &= ~ndimage.binary_hit_or_miss(thinned, element == 1, element == 0)
    assert (found == (region & ~thinned)).all()


@pytest.mark.parametrize('passes', [1, 3])
@pytest.mark.parametrize('size', [(9, 66), (7, 64), (5, 127), (1, 70), (50, 3)])
def test_definition(size: tuple[int, int], passes: int) -> None:
    mask = regions(*size)
    assert (thinned_band(mask, passes) == slow_band(mask, passes)).all()


masks = some.tuples(some.integers(1, 9), some.integers(1, 9), some.integers(0, 2**32 - 1)).map(
    lambda of: np.random.default_rng(of[2]).integers(0, 3, of[:2], np.uint8)
)


@given(masks, some.integers(1, 4))
def test_no_piece_of_a_class_vanishes(mask: np.ndarray, passes: int) -> None:
    band = thinned_band(mask, passes)
    for each in np.unique(mask):
        pieces, count = ndimage.label(mask == each, np.ones((3, 3)))
        assert set(pieces[(mask == each) & ~band]) == set(range(1, count + 1))


@pytest.mark.parametrize('passes', [1, 2, 3])
def test_straight_edge_up_to_the_border(passes: int) -> None:
    mask = np.zeros((20, 40), np.uint16)
    mask[:, 20:] = 700
    wanted = np.zeros(mask.shape, bool)
    wanted[:, 20 - passes : 20 + passes] = True
    assert (thinned_band(mask, passes) == wanted).all()
    assert (thinned_band(mask.T, passes) == wanted.T).all()


def test_what_is_one_pixel_wide_stays() -> None:
    mask = np.zeros((40, 40), np.uint8)
    cv2.line(mask, (5, 5), (30, 25), 1)
    mask[35, 10] = 2
    band = thinned_band(mask, 3)
    assert 0 < band[mask == 1].sum() <= 8  # at its ends
    assert not band[12:19][mask[12:19] == 1].any()
    assert not band[35, 10]


def test_corners_leave_no_lines() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[20:40, 20:40] = 1
    seeds = ~thinned_band(mask, 3)
    assert seeds[23:37, 23:37].all()
    ring = np.zeros_like(seeds)
    ring[20:40, 20:40] = True
    ring[22:38, 22:38] = False
    assert not seeds[ring].any()


def test_one_class_has_no_band() -> None:
    assert not thinned_band(np.full((33, 65), 4, np.uint8), 3).any()
