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
Boundaries of a mask, decided anew by the image.

Most errors of a mask lie at its boundaries. What thinning leaves of every class are seeds, and a
random walker decides the band between them. Source: the project page "HD Image Segmentation".
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
import time
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.pipelines.refinement.random_walker import edge_weights, walk
from uhr_seg_ros.pipelines.refinement.thinning import thinned_band

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

#: What boundaries are refined by, as options and parameters name it.
METHODS = ('none', 'random_walker')

#: Side of the tiles that are solved one by one, px: what is larger costs more than its edges save.
TILE = 192
#: How far around a tile walkers are followed, px a pass of thinning: twice the width of the band.
#: What is further away does not count.
REACH = 4


@dataclass(frozen=True)
class Refinement:
    """
    How boundaries are refined.

    Attributes:
        passes: of thinning; the band is about this many px wide on either side.
        beta: how much a difference of the image hinders a walker.
        budget_ms: time after which the rest of the mask stays as it is; 0 for none.

    Raises:
        ConfigError: a number out of range.

    """

    # Chosen on training grounds alone: docs/results/refinement.md.
    passes: int = 2
    beta: float = 130.0
    budget_ms: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.passes <= 64:
            msg = f'passes of thinning are {self.passes}, expected 1 to 64'
            raise ConfigError(msg)
        if not 0 < self.beta < 1e6:
            msg = f'beta is {self.beta}, expected a number above 0, such as 130'
            raise ConfigError(msg)
        if not 0 <= self.budget_ms < 1e9:
            msg = f'the time budget is {self.budget_ms} ms, expected 0 (none) or more'
            raise ConfigError(msg)


class Refined(NamedTuple):
    """
    A mask and how much of it was refined.

    Attributes:
        mask: (H, W) class ids of the dtype there was.
        share: of the tiles with boundaries that the budget sufficed for, 1.0 for all.

    """

    mask: np.ndarray
    share: float


class _Tile(NamedTuple):
    """A part of the frame, and the part around it that is solved."""

    core: tuple[slice, slice]
    around: tuple[slice, slice]


def refine(mask: np.ndarray, image: np.ndarray, how: Refinement, threads: int = 0) -> Refined:
    """
    Decide the boundaries of a mask anew.

    Time and memory grow with the length of the boundaries.

    Args:
        mask: (H, W) uint8 or uint16 class ids.
        image: (H, W, 3) uint8 BGR.
        how: options.
        threads: that work on it, 0 for as many as this process may use.

    Returns:
        A new mask, and the share of it that the time budget sufficed for.

    Raises:
        ConfigError: a library is missing.

    """
    if missing := missing_library():
        raise ConfigError(missing)
    deadline = time.monotonic() + how.budget_ms / 1e3 if how.budget_ms else np.inf
    band = thinned_band(mask, how.passes)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    weights = edge_weights(how.beta, cv2.meanStdDev(gray)[1].item())
    refined = mask.copy()

    def solve(tile: _Tile) -> bool:
        if time.monotonic() > deadline:
            return False
        around = tile.around
        walked = walk(band[around], mask[around], gray[around], weights)
        found = mask[around].copy()
        found.ravel()[walked.pixels] = walked.classes[walked.probabilities.argmax(1)]
        inner = tuple(
            slice(core.start - outer.start, core.stop - outer.start)
            for core, outer in zip(tile.core, around, strict=True)
        )
        refined[tile.core] = found[inner]
        return True

    tiles = list(_tiles(band, REACH * how.passes))
    with _one_blas_thread(), ThreadPoolExecutor(threads or available_cores()) as pool:
        done = list(pool.map(solve, tiles))
    return Refined(refined, sum(done) / len(done) if done else 1.0)


def _tiles(band: np.ndarray, reach: int) -> Iterator[_Tile]:
    """Cut the frame, and leave out where there is no band."""
    height, width = band.shape
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            core = (slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width)))
            if band[core].any():
                rows, columns = (
                    slice(max(side.start - reach, 0), min(side.stop + reach, size))
                    for side, size in zip(core, band.shape, strict=True)
                )
                yield _Tile(core, (rows, columns))


def missing_library() -> str:
    """Return what refining lacks and where it is to be had; empty where it lacks nothing."""
    missing = [name for name in ('scipy', 'threadpoolctl') if find_spec(name) is None]
    if not missing:
        return ''
    packages = ' '.join(f'python3-{name}' for name in missing)
    return (
        f'refining boundaries needs {" and ".join(missing)}: pip install {" ".join(missing)}, or '
        f'apt install {packages}'
    )


def _one_blas_thread() -> AbstractContextManager:
    """Keep BLAS from threads of its own: beside ours they wait for each other, tenfold."""
    return _blas().limit(limits=1, user_api='blas')


@cache
def _blas() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401 - it has a BLAS of its own, which is to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
