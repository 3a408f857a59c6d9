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

"""Where there is room to land: the largest discs of free ground, steady from grid to grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
import math

import cv2
import numpy as np

from uhr_seg_ros.geometry.ground_plane import FREE, GroundGrid

CONFIRMED = 3
"""A site is shown from so many grids in a row on."""

BETTER = 1.25
"""So many times larger a disc has to be to come before one that was before it."""


@dataclass(frozen=True)
class LandingSite:
    """
    A disc of free ground.

    Attributes:
        x: of its center, m.
        y: of its center, m.
        radius: m.
        grids: in so many grids in a row it was there.

    """

    x: float
    y: float
    radius: float
    grids: int = 1


class LandingSites:
    """
    The largest discs of free ground in a row of grids of a frame that stands still.

    A site stays where it is as long as its disc is large enough, and comes behind another one only
    if that is `BETTER`, so that neither position nor order flicker with the mask.
    """

    def __init__(self) -> None:
        self._sites: list[LandingSite] = []

    def forget(self) -> None:
        """Begin anew, such as when time was set back."""
        self._sites = []

    def update(
        self, cells: np.ndarray, grid: GroundGrid, min_radius: float, count: int
    ) -> list[LandingSite]:
        """
        Find the sites of the next grid.

        Args:
            cells: (cells, cells) int8, `FREE` where landing is allowed.
            grid: where the cells are.
            min_radius: of a site, m.
            count: of sites at most.

        Returns:
            Those that were there in the last `CONFIRMED` grids, the best first.

        """
        room = free_radius(cells, grid)
        kept = [self._again(site, room, grid, min_radius) for site in self._sites]
        sites = [site for site in kept if site is not None]
        for site in sites:
            _leave_out(room, grid, site)
        while len(sites) < 2 * count:
            row, column = np.unravel_index(room.argmax(), room.shape)
            if room[row, column] < min_radius:
                break
            x, y = (each[index] for each, index in zip(grid.centers(), (column, row), strict=True))
            sites.append(LandingSite(float(x), float(y), float(room[row, column])))
            _leave_out(room, grid, sites[-1])
        # Twice as many are followed as are shown: what is small now may be the best one soon.
        self._sites = _in_order(sites)[: 2 * count]
        return [site for site in self._sites if site.grids >= CONFIRMED][:count]

    def _again(
        self, site: LandingSite, room: np.ndarray, grid: GroundGrid, min_radius: float
    ) -> LandingSite | None:
        """Return a site as it is now, or None if it is none any more."""
        column, row = (
            math.floor((each - corner) / grid.resolution)
            for each, corner in ((site.x, grid.x), (site.y, grid.y))
        )
        if not (0 <= row < grid.cells and 0 <= column < grid.cells):
            return None
        radius = float(room[row, column])
        if radius < min_radius:
            return None
        return replace(site, radius=radius, grids=site.grids + 1)


def free_radius(cells: np.ndarray, grid: GroundGrid) -> np.ndarray:
    """Return how large a disc around every cell's center has free cells alone, float32, m."""
    # What lies beyond the grid is not known to be free.
    free = np.pad((cells == FREE).astype(np.uint8), 1)
    steps = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    # From center to center; the nearest corner of a cell is that much nearer.
    return (steps - np.float32(math.sqrt(0.5))) * np.float32(grid.resolution)


def _in_order(sites: list[LandingSite]) -> list[LandingSite]:
    """Return the sites as they were, each before the first one than which it is much better."""
    order: list[LandingSite] = []
    for site in sites:
        place = (at for at, each in enumerate(order) if site.radius > BETTER * each.radius)
        order.insert(next(place, len(order)), site)
    return order


def _leave_out(room: np.ndarray, grid: GroundGrid, site: LandingSite) -> None:
    """Let no other site begin in the disc of this one."""
    x, y = grid.centers()
    room[np.hypot(x[None, :] - site.x, y[:, None] - site.y) <= site.radius] = 0
