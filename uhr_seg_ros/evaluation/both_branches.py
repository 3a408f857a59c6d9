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
What the detail branch finds in every tile of a frame budget, beside what the semantic one finds.

With both at hand, the mask of any choice of tiles follows without another run: what a ranking of
tiles is worth is measured on all shares at once, and a guess of what a tile gains learns from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from uhr_seg_ros.backends.engine import Engine
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import open_backend
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.pipelines.frame_budget_tiles import FINE, lay_tiles, Tile
from uhr_seg_ros.pipelines.masks import enlarged_arg_max
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.tiling import Span
from uhr_seg_ros.pipelines.two_branch_maps import detail_feeds, DETAIL_MAPS, TOKEN_STRIDE

_GRAPHS = ('semantic', 'detail', 'quarter')


@dataclass(frozen=True)
class Looks:
    """
    Both answers for one frame.

    Attributes:
        size: height and width of the frame, px.
        tiles: of the padded frame, row by row.
        tokens: (1, T, h, w) float32, per cell of 16 px.
        semantic_logits: (1, C, h, w) float32.
        detail_logits: (C, 4 h, 4 w) float32, every tile as its window gave it.

    """

    size: tuple[int, int]
    tiles: list[Tile]
    tokens: np.ndarray
    semantic_logits: np.ndarray
    detail_logits: np.ndarray

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        rows, columns = self.semantic_logits.shape[2:]
        return rows, columns

    def mask(self, looked: np.ndarray) -> np.ndarray:
        """
        Return the mask of a frame of which some cells were looked at.

        The tiles fade into the rest as they do in `FramesWithinBudget`.

        Args:
            looked: (h, w) bool.

        Returns:
            (H, W) uint8, or uint16 above 255 classes.

        """
        columns, rows = self.detail_logits.shape[:0:-1]
        weight = cv2.resize(looked.astype(np.float32), (columns, rows))
        fine = np.stack([cv2.resize(plane, (columns, rows)) for plane in self.semantic_logits[0]])
        fine += weight * (self.detail_logits - fine)
        return enlarged_arg_max(fine, self.size, TOKEN_STRIDE)

    def masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the masks without any detail, and with all of it."""
        nowhere = np.zeros(self.cells, bool)
        return self.mask(nowhere), self.mask(~nowhere)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Add up values of cells, (h, w), per tile: (tiles,)."""
        return np.array([values[slice(*t.rows), slice(*t.columns)].sum() for t in self.tiles])

    def looked(self, worth: np.ndarray, share: float) -> np.ndarray:
        """
        Choose the tiles that are worth most.

        Args:
            worth: (tiles,), the more the sooner; of equal ones the first.
            share: of the tiles, 0 to 1.

        Returns:
            (h, w) bool.

        """
        chosen = np.zeros(self.cells, bool)
        for index in np.argsort(-worth, kind='stable')[: round(share * len(self.tiles))]:
            tile = self.tiles[index]
            chosen[slice(*tile.rows), slice(*tile.columns)] = True
        return chosen

    def cell_means(self, pixels: np.ndarray) -> np.ndarray:
        """Average values of px, (H, W), per cell: (h, w) float32; beyond the frame they are 0."""
        rows, columns = self.cells
        below, right = TOKEN_STRIDE * rows - self.size[0], TOKEN_STRIDE * columns - self.size[1]
        padded = np.pad(pixels.astype(np.float32), ((0, below), (0, right)))
        return padded.reshape(rows, TOKEN_STRIDE, columns, TOKEN_STRIDE).mean((1, 3))


class BothBranches:
    """
    Look at every tile of frames.

    Args:
        bundle: of kind `two_branch`.
        options: of the engines; of one thread each, as within a budget.

    Raises:
        BundleError: a bundle of another kind.

    """

    def __init__(self, bundle: Bundle, options: EngineOptions = EngineOptions()) -> None:  # noqa: B008
        if missing := [name for name in _GRAPHS if name not in bundle.graphs]:
            msg = (
                f'bundle {bundle.path} of kind {bundle.kind} has no graph {missing[0]}: only '
                'two_branch has a detail branch that could see less than the whole frame'
            )
            raise BundleError(msg)
        self._bundle = bundle
        backend = open_backend(bundle, replace(options, threads=1))
        self.provenance = backend.provenance()
        self._engines: dict[str, Engine] = {
            name: backend.open(bundle.graphs[name], {}) for name in _GRAPHS
        }
        self._preprocessor = Preprocessor(bundle)

    def look(self, image: np.ndarray, note: Callable[[], object] = lambda: None) -> Looks:
        """
        Run both branches.

        Args:
            image: (H, W, 3) uint8 BGR.
            note: called after each tile.

        """
        low_res = self._preprocessor.low_res(image)
        found = self._engines['semantic'].run({'low_res': low_res}, ['tokens', 'semantic_logits'])
        tokens, logits = found['tokens'], found['semantic_logits']
        rows, columns = tokens.shape[2:]
        detail = np.empty((logits.shape[1], FINE * rows, FINE * columns), np.float32)
        tiles = lay_tiles((rows, columns))
        for tile in tiles:
            window = self._window(image, tokens, tile)
            place = _fine(tile.rows), _fine(tile.columns)
            inside = (
                _fine(tile.rows, tile.window_rows[0]),
                _fine(tile.columns, tile.window_columns[0]),
            )
            detail[(slice(None), *place)] = window[(slice(None), *inside)]
            note()
        return Looks((image.shape[0], image.shape[1]), tiles, tokens, logits, detail)

    def close(self) -> None:
        """Free the memory of the engines."""
        for engine in self._engines.values():
            engine.close()

    def _window(self, image: np.ndarray, tokens: np.ndarray, tile: Tile) -> np.ndarray:
        rows, columns = (
            (TOKEN_STRIDE * start, TOKEN_STRIDE * stop)
            for start, stop in (tile.window_rows, tile.window_columns)
        )
        planes = self._preprocessor.window(image, rows, columns)
        detail = self._engines['detail']
        feeds = detail_feeds(planes, detail.input_shapes)
        maps = detail.run(feeds, DETAIL_MAPS)
        part = tokens[:, :, slice(*tile.window_rows), slice(*tile.window_columns)]
        feeds = {'tokens': np.ascontiguousarray(part), **maps}
        return self._engines['quarter'].run(feeds, ['quarter_logits'])['quarter_logits'][0]


def _fine(cells: Span, first: int = 0) -> slice:
    return slice(FINE * (cells[0] - first), FINE * (cells[1] - first))
