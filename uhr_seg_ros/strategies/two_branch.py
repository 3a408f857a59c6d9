# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""HLRC's two branches: whole-frame semantics, high-resolution detail, one fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from uhr_seg_ros.bundle import Bundle
from uhr_seg_ros.classes import MAX_UINT8_CLASSES
from uhr_seg_ros.engines.engine import Engine
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.strategies.preprocessing import Preprocessor
from uhr_seg_ros.strategies.tiling import (
    blend_weights,
    checked_tile,
    pixels_for_memory,
    Span,
    strip_spans,
    tile_for_pixels,
    tile_spans,
)
from uhr_seg_ros.timing import StageClock

#: px of the frame per row and column of every map between the graphs.
STEPS = {'tokens': 16, 'affinity': 16, 'local': 4}
CELL = STEPS['tokens']

#: What frames may be padded to multiples of, px: whole cells, at most what tiles overlap by.
MULTIPLES = (16, 32, 64)

#: Axis of the rows; the columns are the next one (`affinity` has its channels last).
ROW_AXES = {'tokens': 2, 'affinity': 1, 'local': 2}

#: Rows of cells that the fusion needs above and below its output.
HALO = 2

#: Full-size float32 logits that one strip of the fusion may take, bytes ...
STRIP_BYTES = 32e6
#: ... but never fewer rows of cells than this, or the halo dominates.
MIN_STRIP_CELLS = 8

#: Peak memory of the detail branch per pixel when the bundle does not tell, bytes.
DEFAULT_BYTES_PER_PIXEL = 400.0


class TwoBranchError(UhrSegError):
    """Graphs that do not fit to the classes of their bundle."""


class TwoBranch:
    """
    Run the graphs of one bundle: `semantic`, `detail`, and `fusion` or `scores`.

    The semantic branch always sees the whole frame. Where a memory limit or a tile size asks
    for it, the detail branch runs in overlapping tiles whose maps are blended linearly. The
    fusion is local and runs in horizontal strips, with the same result as in one piece; the
    graph `scores` is the fusion that gives confidence and logits too.

    Args:
        bundle: a bundle of kind `two_branch`.
        engines: graph name -> engine.
        memory_limit_mb: limit for the detail branch in MB; None for no limit.
        tile: largest side of a tile in px; None for the whole frame where memory allows.

    Raises:
        TilingError: `tile` or `memory_limit_mb` is too small.
        TwoBranchError: a graph has another number of classes than the bundle, or frames are
            padded to sizes that the graphs cannot take.

    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        *,
        memory_limit_mb: int | None = None,
        tile: int | None = None,
    ) -> None:
        if bundle.multiple not in MULTIPLES or bundle.multiple % bundle.low_res_factor:
            msg = (
                f'bundle {bundle.path}: input.multiple {bundle.multiple} must be one of '
                f'{", ".join(map(str, MULTIPLES))} and a multiple of input.low_res_factor '
                f'{bundle.low_res_factor}: export it again'
            )
            raise TwoBranchError(msg)
        self._bundle = bundle
        self._engines = engines
        self._most_pixels = None
        if memory_limit_mb is not None:
            per_pixel = bundle.detail_bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL
            self._most_pixels = pixels_for_memory(per_pixel, memory_limit_mb)
        self._tile = None if tile is None else checked_tile(tile, bundle.multiple)
        self._preprocessor = Preprocessor(bundle)
        for graph, tensor in (('semantic', 'semantic_logits'), ('scores', 'logits')):
            self._check_classes(graph, engines[graph].output_shapes[tensor][1])

    def segment(
        self, image: np.ndarray, outputs: Sequence[str], clock: StageClock
    ) -> dict[str, np.ndarray]:
        """
        Segment one frame.

        Args:
            image: (H, W, 3) uint8 BGR, any size.
            outputs: of `mask`, `confidence` and `logits`; only these are computed.
            clock: takes the times of `preprocess`, `semantic`, `detail` and `fusion`.

        Returns:
            mask (H, W) uint8, or uint16 above 255 classes; confidence (H, W) uint8; logits
            (C, H, W) float32.

        """
        tile = self._tile_for(*self._preprocessor.padded_size(image))
        if tile is None:
            with clock.stage('preprocess'):
                planes, low_res = self._preprocessor.whole(image)
            tokens = self._semantic(low_res, 'tokens', clock)
            maps = self._detail(planes, clock)
        else:
            with clock.stage('preprocess'):
                low_res = self._preprocessor.low_res(image)
            tokens = self._semantic(low_res, 'tokens', clock)
            maps = self._tiled_detail(image, tile, clock)
        with clock.stage('fusion'):
            return self._fuse({'tokens': tokens, **maps}, image.shape[:2], outputs)

    def semantic_mask(self, image: np.ndarray) -> np.ndarray:
        """
        Segment one frame by the semantic branch alone.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            (H, W) uint8 or uint16, arg max of the bilinearly enlarged `semantic_logits`.

        """
        low_res = self._preprocessor.low_res(image)
        logits = self._semantic(low_res, 'semantic_logits', StageClock())[0]
        rows, columns = self._preprocessor.padded_size(image)
        best = np.full((rows, columns), -np.inf, np.float32)
        small = len(logits) <= MAX_UINT8_CLASSES
        mask = np.zeros((rows, columns), np.uint8 if small else np.uint16)
        for index, plane in enumerate(logits):
            enlarged = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_LINEAR)
            mask[enlarged > best] = index
            np.maximum(best, enlarged, out=best)
        return mask[: image.shape[0], : image.shape[1]].copy()

    def _semantic(self, low_res: np.ndarray, output: str, clock: StageClock) -> np.ndarray:
        with clock.stage('semantic'):
            return self._engines['semantic'].run({'low_res': low_res}, [output])[output]

    def _detail(self, planes: np.ndarray, clock: StageClock) -> dict[str, np.ndarray]:
        with clock.stage('detail'):
            return self._engines['detail'].run({'image': planes}, ['affinity', 'local'])

    def _tiled_detail(
        self, image: np.ndarray, tile: int, clock: StageClock
    ) -> dict[str, np.ndarray]:
        """Run the detail branch tile by tile and blend its maps."""
        height, width = self._preprocessor.padded_size(image)
        rows = tile_spans(height, tile, self._bundle.multiple)
        columns = tile_spans(width, tile, self._bundle.multiple)
        blended = {name: _Blend(name, rows, columns) for name in ('affinity', 'local')}
        for row, row_span in enumerate(rows):
            for column, column_span in enumerate(columns):
                with clock.stage('preprocess'):
                    planes = self._preprocessor.window(image, row_span, column_span)
                maps = self._detail(planes, clock)
                with clock.stage('detail'):
                    for name, blend in blended.items():
                        blend.add(maps[name], row, column)
        return {name: blend.total for name, blend in blended.items()}

    def _fuse(
        self, maps: dict[str, np.ndarray], size: tuple[int, int], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run the fusion strip by strip; every strip has the same shape and enough halo."""
        height, width = size
        cells, columns = maps['tokens'].shape[2:]
        row_bytes = 4 * len(self._bundle.classes) * CELL * CELL * columns
        strips = strip_spans(cells, max(MIN_STRIP_CELLS, int(STRIP_BYTES / row_bytes)))
        tallest = min(cells, max(stop - start for start, stop in strips) + 2 * HALO)
        whole: dict[str, np.ndarray] = {}
        for start, stop in strips:
            first = min(max(start - HALO, 0), cells - tallest)
            strip = self._fuse_rows(maps, (first, first + tallest), outputs)
            top, bottom = start * CELL, min(stop * CELL, height)
            for name, values in strip.items():
                if name not in whole:
                    # Above 255 classes a graph gives its mask as int32.
                    dtype = np.uint16 if values.dtype == np.int32 else values.dtype
                    whole[name] = np.empty((*values.shape[:-2], height, width), dtype)
                part = slice(top - first * CELL, bottom - first * CELL)
                whole[name][..., top:bottom, :] = values[..., part, :width]
        return whole

    def _fuse_rows(
        self, maps: dict[str, np.ndarray], rows: Span, outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run the fusion on a span of rows of cells; outputs come without the batch axis."""
        feeds = {name: _rows_of(name, values, rows) for name, values in maps.items()}
        graph = 'fusion' if list(outputs) == ['mask'] else 'scores'
        results = self._engines[graph].run(feeds, outputs)
        return {name: values[0] for name, values in results.items()}

    def _tile_for(self, height: int, width: int) -> int | None:
        """Give the side of the tiles for a padded frame, or None for the whole frame."""
        sides = [] if self._tile is None or max(height, width) <= self._tile else [self._tile]
        if self._most_pixels is not None:
            side = tile_for_pixels(height, width, self._most_pixels, self._bundle.multiple)
            sides += [] if side is None else [side]
        return min(sides, default=None)

    def _check_classes(self, graph: str, found: int | None) -> None:
        expected = len(self._bundle.classes)
        if found not in (None, expected):
            msg = (
                f'bundle {self._bundle.path} names {expected} classes, '
                f'its graph {graph} gives {found}: export the model again'
            )
            raise TwoBranchError(msg)


def _rows_of(name: str, values: np.ndarray, cells: Span) -> np.ndarray:
    """Cut the rows of a map that belong to a span of rows of cells."""
    fine = CELL // STEPS[name]
    place = (slice(None),) * ROW_AXES[name]
    return values[(*place, slice(cells[0] * fine, cells[1] * fine))]


class _Blend:
    """
    Add up the weighted tiles of one map.

    Args:
        name: name of the map.
        rows: spans of the tiles along the height of the frame, px.
        columns: spans along the width, px.

    """

    def __init__(self, name: str, rows: list[Span], columns: list[Span]) -> None:
        step = STEPS[name]
        self._axis = ROW_AXES[name]
        self._rows = [(start // step, stop // step) for start, stop in rows]
        self._columns = [(start // step, stop // step) for start, stop in columns]
        self._size = self._rows[-1][1], self._columns[-1][1]
        self._row_weights = blend_weights(self._rows, self._size[0])
        self._column_weights = blend_weights(self._columns, self._size[1])
        self.total = np.empty(0, np.float32)

    def add(self, tile: np.ndarray, row: int, column: int) -> None:
        """Add the tile at a place of the grid; the values of `tile` are used up."""
        before, after = tile.shape[: self._axis], tile.shape[self._axis + 2 :]
        if not self.total.size:
            self.total = np.zeros((*before, *self._size, *after), np.float32)
        weight = self._row_weights[row][:, None] * self._column_weights[column]
        tile *= weight.reshape(*weight.shape, *(1,) * len(after))
        place = (slice(None),) * self._axis
        self.total[(*place, slice(*self._rows[row]), slice(*self._columns[column]))] += tile
