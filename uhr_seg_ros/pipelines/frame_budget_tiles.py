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

"""Where the tiles of a frame lie, and what was found in them when they were looked at last."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from uhr_seg_ros.pipelines.tiling import Span, strip_spans
from uhr_seg_ros.pipelines.two_branch_maps import STRIDES, TOKEN_STRIDE

#: Largest side of a tile, px, and how far its window reaches beyond it. On a generated scene of
#: 1536 x 960 px, all tiles of hlrc_s give the class of the whole frame on 99.15 % of px (99.02 %
#: along their borders), those of 256 and 32 px on 99.20 % for a fifth more work per px.
SIDE, HALO = 224, 16

#: px of the quarter-resolution logits, and of the low-resolution picture, per cell.
FINE = TOKEN_STRIDE // STRIDES['local']

#: A cell has changed if its px differ on average by so many grey levels of 255, beside ...
CHANGE_LEVELS = 1.0
#: ... so many times the noise, which is taken from the calmest tenth of the cells, but ...
NOISE_FACTOR = 2.5
CALM_SHARE = 0.1
#: ... not to be more than this, or a moving camera would pass for noise.
MOST_NOISE_LEVELS = 2.0


class Tile(NamedTuple):
    """
    A tile, in cells of `TOKEN_STRIDE` px.

    Attributes:
        rows: what it covers of the frame.
        columns: likewise.
        window_rows: what the detail branch sees, as many rows for every tile.
        window_columns: likewise.

    """

    rows: Span
    columns: Span
    window_rows: Span
    window_columns: Span


def lay_tiles(cells: tuple[int, int]) -> list[Tile]:
    """
    Cover a frame with tiles that do not overlap, row by row.

    Args:
        cells: rows and columns of cells of the padded frame.

    """
    (rows, windows), (columns, column_windows) = (_axis(count) for count in cells)
    return [
        Tile(row, column, window, column_window)
        for row, window in zip(rows, windows, strict=True)
        for column, column_window in zip(columns, column_windows, strict=True)
    ]


def _axis(cells: int) -> tuple[list[Span], list[Span]]:
    """Return the tiles along one axis, and their windows, which lie in the frame."""
    spans = strip_spans(cells, SIDE // TOKEN_STRIDE)
    length = min(cells, (SIDE + 2 * HALO) // TOKEN_STRIDE)
    windows = []
    for start, stop in spans:
        first = min(max((start + stop - length) // 2, 0), cells - length)
        windows.append((first, first + length))
    return spans, windows


class TileMemory:
    """
    What the detail branch found, as long as the picture stays as it was.

    The cells of a tile that is looked at become valid; where the picture changes, and one cell
    around that, they are no longer. Sizes do not change: a new size is a new memory.

    Args:
        cells: rows and columns of cells of the padded frame.
        classes: of the logits.
        level: one grey level of 255 in a low-resolution picture.

    Attributes:
        tiles: where they lie.
        ages: frames since each tile was looked at, or since the beginning.
        logits: (C, H / 4, W / 4) float32 of the detail branch.
        valid: (h, w) bool, where they hold.

    """

    def __init__(self, cells: tuple[int, int], classes: int, level: float) -> None:
        rows, columns = cells
        self.tiles = lay_tiles(cells)
        self.ages = np.zeros(len(self.tiles), np.float32)
        self.logits = np.zeros((classes, FINE * rows, FINE * columns), np.float32)
        self.valid = np.zeros(cells, bool)
        self._looked = np.zeros(cells, bool)
        self._reference = np.zeros((3, FINE * rows, FINE * columns), np.float32)
        self._level = level

    def see(self, low_res: np.ndarray) -> None:
        """
        Compare a new frame with those that the tiles were looked at in.

        Args:
            low_res: (3, 4 h, 4 w) float32.

        """
        self.ages += 1
        if not self._looked.any():
            return
        difference = self._difference(low_res)
        calm = float(np.quantile(difference[self._looked], CALM_SHARE))
        noise = min(calm, MOST_NOISE_LEVELS * self._level)
        moved = difference > CHANGE_LEVELS * self._level + NOISE_FACTOR * noise
        moved &= self._looked
        # What a px becomes depends on its neighborhood, too.
        spread = cv2.dilate(moved.view(np.uint8), np.ones((3, 3), np.uint8))
        np.logical_and(self._looked, spread == 0, out=self.valid)

    def keep(self, index: int, logits: np.ndarray, low_res: np.ndarray) -> None:
        """
        Keep what was found in a tile, and in one cell around it where nothing else holds.

        Args:
            index: of the tile.
            logits: (C, rows, columns) float32 of its window.
            low_res: as given to `see`.

        """
        tile, (rows, columns) = self.tiles[index], self.valid.shape
        inside = slice(*tile.rows), slice(*tile.columns)
        self._looked[inside] = self.valid[inside] = False
        height, width = _around(tile.rows, rows), _around(tile.columns, columns)
        around = slice(*height), slice(*width)
        free = ~self.valid[around]
        # What is written here was not found in the picture that is remembered for it.
        self._looked[around][free] = False
        self._looked[inside] = self.valid[inside] = True
        found = logits[:, _fine(height, tile.window_rows[0]), _fine(width, tile.window_columns[0])]
        np.copyto(
            self.logits[:, _fine(height), _fine(width)],
            found,
            where=free.repeat(FINE, 0).repeat(FINE, 1),
        )
        place = slice(None), _fine(tile.rows), _fine(tile.columns)
        self._reference[place] = low_res[place]
        self.ages[index] = 0

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Add up values of cells, (h, w) float32, per tile: (tiles,) float32."""
        rows, columns = self._starts
        return np.add.reduceat(np.add.reduceat(values, rows, 0), columns, 1).reshape(-1)

    @property
    def _starts(self) -> tuple[list[int], list[int]]:
        """First rows and first columns of the tiles."""
        rows = sorted({tile.rows[0] for tile in self.tiles})
        return rows, sorted({tile.columns[0] for tile in self.tiles})

    def _difference(self, low_res: np.ndarray) -> np.ndarray:
        """Return the mean absolute difference from the reference, (h, w) float32."""
        rows, columns = self.valid.shape
        flat = 3 * FINE * rows, FINE * columns
        apart = cv2.absdiff(low_res.reshape(flat), self._reference.reshape(flat))
        means = cv2.resize(apart, (columns, 3 * rows), interpolation=cv2.INTER_AREA)
        return means.reshape(3, rows, columns).mean(0)


def _around(span: Span, count: int) -> Span:
    return max(span[0] - 1, 0), min(span[1] + 1, count)


def _fine(cells: Span, first: int = 0) -> slice:
    """Return the px of the quarter-resolution logits, or of the low-resolution picture."""
    return slice(FINE * (cells[0] - first), FINE * (cells[1] - first))
