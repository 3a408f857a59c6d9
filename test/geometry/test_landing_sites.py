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

"""Landing sites: discs of free ground alone, and steady."""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.geometry.ground_plane import FREE, GroundGrid, OCCUPIED, UNKNOWN
from uhr_seg_ros.geometry.landing_sites import CONFIRMED, free_radius, LandingSites

GRID = GroundGrid(-6.05, -6.05, 0.0, 0.1, 121)


def ground(*discs: tuple[float, float, float], value: int = FREE, around: int = OCCUPIED):
    """Return the grid with discs (x, y, radius) of one value, m."""
    cells = np.full((GRID.cells, GRID.cells), around, np.int8)
    x, y = GRID.centers()
    for column, row, radius in discs:
        cells[np.hypot(x[None, :] - column, y[:, None] - row) <= radius] = value
    return cells


def found(sites: LandingSites, cells: np.ndarray, count: int = 3):
    return sites.update(cells, GRID, 1.0, count)


def test_a_disc_has_free_cells_alone() -> None:
    rng = np.random.default_rng(0)
    cells = ground((0, 0, 5), (-3, 2, 1.2), value=FREE)
    cells[rng.integers(0, 121, 30), rng.integers(0, 121, 30)] = UNKNOWN
    radius = free_radius(cells, GRID)
    x, y = GRID.centers()
    # Corners of the cells that are not free, and what lies beyond the grid.
    rows, columns = np.nonzero(cells != FREE)
    for row, column in rng.integers(0, 121, (200, 2)):
        near_x = np.clip(x[column], x[columns] - 0.05, x[columns] + 0.05)
        near_y = np.clip(y[row], y[rows] - 0.05, y[rows] + 0.05)
        room = np.hypot(near_x - x[column], near_y - y[row]).min()
        border = min(x[column] + 6.05, 6.05 - x[column], y[row] + 6.05, 6.05 - y[row])
        assert radius[row, column] <= min(room, border) + 1e-5
        assert radius[row, column] >= min(room, border) - 0.1


def test_the_largest_come_first_after_some_grids() -> None:
    sites, cells = LandingSites(), ground((-3, 0, 2.0), (3, 0, 2.6), (0, 5, 0.7))
    for _ in range(CONFIRMED - 1):
        assert not found(sites, cells)
    first, second = found(sites, cells)
    assert np.hypot(first.x - 3, first.y) < 0.2
    assert np.hypot(second.x + 3, second.y) < 0.2
    assert 2.3 < first.radius < 2.6
    assert len(found(sites, cells, count=1)) == 1


def test_a_site_gives_way_to_a_much_larger_one_only() -> None:
    sites = LandingSites()
    for _ in range(CONFIRMED):
        found(sites, ground((-3, 0, 2.0), (3, 0, 1.6)))
    for right in (2.1, 2.3, 1.9):  # it flickers
        best = [found(sites, ground((-3, 0, 2.0), (3, 0, right)))[0] for _ in range(4)]
        assert {(each.x, each.y) for each in best} == {(best[0].x, best[0].y)}
        assert best[0].x < 0
    for _ in range(4):
        best = found(sites, ground((-3, 0, 1.5), (3, 0, 2.8)))
    assert best[0].x > 0


def test_what_is_no_longer_free_is_gone_at_once() -> None:
    sites, cells = LandingSites(), ground((-3, 0, 2.0))
    for _ in range(CONFIRMED):
        shown = found(sites, cells)
    assert shown
    assert not found(sites, ground((-3.0, 0, 2.0), value=OCCUPIED, around=OCCUPIED))
    assert not found(sites, cells)
    sites.forget()
    assert not found(sites, ground((0, 0, 5), value=UNKNOWN, around=UNKNOWN))
