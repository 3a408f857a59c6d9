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

"""HLRC's two branches: whole-frame semantics, high-resolution detail, one fusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import math

import numpy as np

from uhr_seg_ros.backends.engine import Backend, Engine
from uhr_seg_ros.backends.options import DEFAULT_PROVIDER, EngineOptions
from uhr_seg_ros.backends.registry import open_backend
from uhr_seg_ros.core.bundle import Bundle, FUSION_REACH
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.memory import trim_heap
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.frame_budget_frames import bytes_per_pixel, FramesWithinBudget, GAIN
from uhr_seg_ros.pipelines.masks import enlarged_arg_max
from uhr_seg_ros.pipelines.novelty import NOVELTY, novelty_of
from uhr_seg_ros.pipelines.outputs import CheckedGraphs, lengths
from uhr_seg_ros.pipelines.pipeline import OutputRequest, Results, TilingOptions
from uhr_seg_ros.pipelines.preprocessing import PLANES_BYTES, Preprocessor
from uhr_seg_ros.pipelines.synchronous import SynchronousPipeline
from uhr_seg_ros.pipelines.tiling import (
    padded_size,
    Span,
    strip_spans,
    tile_spans,
    TileBlender,
    TileLimit,
)
from uhr_seg_ros.pipelines.two_branch_maps import (
    check_sizes,
    detail_feeds,
    DETAIL_MAPS,
    map_sizes,
    ROW_AXES,
    STRIDES,
    TOKEN_STRIDE,
)
from uhr_seg_ros.pipelines.upsampling import MaskUpsampler, upsampled_arg_max

#: px of the frame per row and column of the quarter-resolution logits.
UPSAMPLING = STRIDES['local']
#: Rows of the outputs of a graph per row of cells.
OUTPUT_ROWS = {'quarter': TOKEN_STRIDE // UPSAMPLING, 'scores': TOKEN_STRIDE}
#: Rows of cells that the fusion needs above and below its output: a cell looks at its neighbors,
#: and four quarter-resolution px further are another cell; the upsampling looks at one more px.
HALO = 1 + -(-(FUSION_REACH + 1) // UPSAMPLING)

#: The widest map of one strip of the fusion that is known from outside, bytes: it and what is made
#: of it stay in the cache that all cores share ...
STRIP_BYTES = 12e6
#: ... but never fewer rows of cells than this, or the halo dominates.
MIN_STRIP_CELLS = 16
#: Strips at the same time on a CPU, a core or more for each: no operator of one waits for the
#: slowest part of it, and the mask of one is enlarged while the next ones are computed.
MOST_STRIPS_AT_ONCE = 4

#: Two classes are not nearly equal if their logits differ by this part of the largest one ...
CLEAR_MARGIN = 0.05
#: ... and then at most this share of the pixels may differ between two graphs.
MAX_DIFFERING = 0.01


class TwoBranch(SynchronousPipeline):
    """
    Run the graphs of one bundle: `semantic`, `detail`, and `quarter` or `scores`.

    The semantic branch always sees the whole frame. Where a memory limit or a tile size asks
    for it, the detail branch runs in overlapping tiles whose maps are blended linearly. The
    fusion is local and runs in horizontal strips, with the same result as in one piece: `quarter`
    up to a quarter of the size, from where the mask is upsampled; the graph `scores` is the
    fusion that gives confidence and logits too.

    Args:
        bundle: a bundle of kind `two_branch`.
        engines: graph name -> engine.
        limits: how large a piece of a frame the detail branch gets.
        options: of the engines.

    Raises:
        ConfigError: a limit is too small.
        BundleError: frames are padded to sizes that the graphs cannot take.
        EngineError: a graph has another number of classes than the bundle.

    """

    takes_budgets = True

    #: The graphs that frames need.
    GRAPHS: tuple[str, ...] = ('semantic', 'detail', 'quarter', 'scores')

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None:
        check_sizes(bundle)
        self._bundle = bundle
        self._graphs = CheckedGraphs(bundle, engines)
        self.provenance = engines['detail'].provenance()
        self._limit = TileLimit(
            bundle, limits.memory_limit_mb or None, limits.tile, limits.bytes_per_pixel
        )
        self._preprocessor = Preprocessor(bundle)
        self._options = options
        self._within_budget: FramesWithinBudget | None = None
        self._fusion_checked = False
        self._map_bytes = 0.0
        self._at_once, _ = _strips_at_once(options)
        self._pool = ThreadPoolExecutor(self._at_once, 'strips')

    @classmethod
    def open_graphs(
        cls, bundle: Bundle, backend: Backend, limits: TilingOptions, options: EngineOptions
    ) -> dict[str, Engine]:
        """Open `GRAPHS`, what guesses where details matter, and what tells unknown frames."""
        names = (*cls.GRAPHS, *(name for name in (GAIN, NOVELTY) if name in bundle.graphs))
        of_strips = backend
        count, threads = _strips_at_once(options)
        if count > 1:
            quiet = replace(options, threads=threads, report=lambda text: None)
            of_strips = open_backend(bundle, quiet)
        return {
            name: (of_strips if name in OUTPUT_ROWS else backend).open(bundle.graphs[name], {})
            for name in names
        }

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """
        Segment one frame; see `InferencePipeline.segment`.

        The stages are `convert`, `preprocess`, `semantic`, `detail`, `fusion` and `overlay`.
        """
        if request.budget is not None:
            return self._segment_within(request.budget, frame, request, clock)
        with clock.stage('convert'):
            image = frame.bgr
        maps = self.maps(image, clock)
        outputs = [name for name in request.outputs if name not in ('quarter_logits', NOVELTY)]
        pixels = math.prod(self._preprocessor.padded_size(image))
        self._map_bytes = sum(each.nbytes for each in maps.values()) / pixels
        with clock.stage('fusion'):
            if not self._fusion_checked:
                self._check_fusion(maps)
                self._fusion_checked = True
            results = self._fuse(maps, image.shape[:2], outputs)
        if not self._keeps_memory:
            self._preprocessor.forget()
        if NOVELTY in request.outputs:
            results[NOVELTY] = novelty_of(self._graphs, maps['tokens'])
        if 'quarter_logits' in request.outputs:
            size = map_sizes('local', *self._preprocessor.padded_size(image))
            quarter = self._graphs.run('quarter', maps, {'quarter_logits': size})
            results['quarter_logits'] = quarter['quarter_logits'][0]
        return self._painted(image, results, request, clock)

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count the maps, as large as they were last, and the input of the semantic branch."""
        return self._map_bytes + PLANES_BYTES / self._bundle.low_res_factor**2

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Take the arg max of the bilinearly enlarged `semantic_logits`."""
        low_res = self._preprocessor.low_res(frame.bgr)
        logits = self._semantic(low_res, 'semantic_logits', StageClock())
        return enlarged_arg_max(logits[0], (frame.height, frame.width), self._bundle.multiple)

    def keep_memory(self, keeps: bool) -> None:
        """Tell all engines; see `InferencePipeline.keep_memory`."""
        super().keep_memory(keeps)
        if self._within_budget is not None:
            self._within_budget.keep_memory(keeps)

    def close(self) -> None:
        """Free the memory of the engines."""
        self._pool.shutdown()
        if self._within_budget is not None:
            self._within_budget.close()
        super().close()

    def maps(self, image: np.ndarray, clock: StageClock) -> dict[str, np.ndarray]:
        """
        Run both branches.

        Args:
            image: (H, W, 3) uint8 BGR.
            clock: takes the times of `preprocess`, `semantic` and `detail`.

        Returns:
            `tokens`, `affinity` and `local` of the padded frame, float32.

        """
        tile = self._limit.side_for(*self._preprocessor.padded_size(image))
        if tile is None:
            with clock.stage('preprocess'):
                planes, low_res = self._preprocessor.whole(image)
            tokens = self._semantic(low_res, 'tokens', clock)
            return {'tokens': tokens, **self._detail(planes, clock)}
        with clock.stage('preprocess'):
            low_res = self._preprocessor.low_res(image)
        tokens = self._semantic(low_res, 'tokens', clock)
        return {'tokens': tokens, **self._tiled_detail(image, tile, clock)}

    def tile_side(self, size: tuple[int, int]) -> int | None:
        """Return the side of the tiles of a frame of (height, width), px; None without tiles."""
        return self._limit.side_for(*padded_size(size, self._bundle.multiple))

    def low_res(self, image: np.ndarray) -> np.ndarray:
        """Make the input of `tokens_of` from (H, W, 3) uint8 BGR: (1, 3, h, w) float32, a copy."""
        return self._preprocessor.low_res(image).copy()

    def tokens_of(self, low_res: np.ndarray) -> np.ndarray:
        """Run the semantic branch of a part of a raster: (1, 3, h, w) float32 -> tokens."""
        return self._semantic(low_res, 'tokens', StageClock())

    def leave_semantic(self) -> None:
        """Give back what `tokens_of` took: the tiles that follow are sized for all there is."""
        self._graphs.forget('semantic')
        trim_heap()

    def detail_of(self, image: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
        """Run the detail branch on a part of a frame that is padded to (height, width), px."""
        height, width = size
        planes = self._preprocessor.window(image, (0, height), (0, width))
        maps = self._detail(planes, StageClock())
        if not self._keeps_memory:
            self._preprocessor.forget()
        return maps

    def fused(
        self, maps: dict[str, np.ndarray], size: tuple[int, int], outputs: Sequence[str]
    ) -> Results:
        """
        Fuse the maps of a part of a frame.

        Args:
            maps: as of `maps`, of that part.
            size: height and width of the part, px.
            outputs: of `mask` and `confidence`; right but for `HALO` cells along the borders
                at which the frame goes on.

        """
        if not self._fusion_checked:
            self._check_fusion(maps)
            self._fusion_checked = True
        return self._fuse(maps, size, outputs)

    def _segment_within(
        self, budget: FrameBudget, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> Results:
        """Segment one frame within a budget; what that needs is opened with the first one."""
        budget.begin()
        if self._within_budget is None:
            self._within_budget = FramesWithinBudget(self._bundle, self._graphs, self._options)
            self._within_budget.keep_memory(self._keeps_memory)
        with clock.stage('convert'):
            image = frame.bgr
        results = self._within_budget.segment(image, budget, request, clock)
        self._map_bytes = bytes_per_pixel(self._bundle)
        if not self._keeps_memory:
            self._within_budget.forget()
        results = self._painted(image, results, request, clock)
        budget.end()
        return results

    def _painted(
        self, image: np.ndarray, results: Results, request: OutputRequest, clock: StageClock
    ) -> Results:
        if not request.overlay.any:
            return results
        with clock.stage('overlay'):
            painted = request.overlay.paint(image, results['mask'], self._bundle.classes)
        return {**results, **painted}

    def _semantic(self, low_res: np.ndarray, output: str, clock: StageClock) -> np.ndarray:
        size = {}
        if output == 'tokens':
            factor = self._bundle.low_res_factor
            size = map_sizes(output, *(side * factor for side in low_res.shape[2:]))
        with clock.stage('semantic'):
            return self._graphs.run('semantic', {'low_res': low_res}, {output: size})[output]

    def _detail(self, planes: np.ndarray, clock: StageClock) -> dict[str, np.ndarray]:
        sizes = {name: map_sizes(name, *planes.shape[2:]) for name in DETAIL_MAPS}
        with clock.stage('preprocess'):
            feeds = detail_feeds(planes, self._graphs['detail'].input_shapes)
        with clock.stage('detail'):
            return self._graphs.run('detail', feeds, sizes)

    def _tiled_detail(
        self, image: np.ndarray, tile: int, clock: StageClock
    ) -> dict[str, np.ndarray]:
        """Run the detail branch tile by tile and blend its maps."""
        height, width = self._preprocessor.padded_size(image)
        rows = tile_spans(height, tile, self._bundle.multiple)
        columns = tile_spans(width, tile, self._bundle.multiple)
        blended = {
            name: TileBlender(rows, columns, STRIDES[name], ROW_AXES[name]) for name in DETAIL_MAPS
        }
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
        """Run the fusion strip by strip; for the mask alone up to a quarter of the size."""
        if list(outputs) == ['mask']:
            shape = len(self._bundle.classes), *maps['local'].shape[2:]
            upsampler = MaskUpsampler(shape, UPSAMPLING, size)
            for _, strip in self._strips(maps, 'quarter', ['quarter_logits']):
                upsampler.add(strip['quarter_logits'])
            return {'mask': upsampler.mask}
        height, width = size
        whole: dict[str, np.ndarray] = {}
        for top, strip in self._strips(maps, 'scores', outputs):
            for name, values in strip.items():
                if name not in whole:
                    # Above 255 classes a graph gives its mask as int32.
                    dtype = np.uint16 if values.dtype == np.int32 else values.dtype
                    whole[name] = np.empty((*values.shape[:-2], height, width), dtype)
                place = whole[name][..., top : top + values.shape[-2], :]
                place[:] = values[..., : place.shape[-2], :width]
        return whole

    def _strips(
        self, maps: dict[str, np.ndarray], graph: str, outputs: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """
        Run a graph of the fusion in strips of one height, with enough halo.

        Yields:
            First row of the strip, px of the outputs, and outputs without batch axis and halo.

        """
        cells, columns = maps['tokens'].shape[2:]
        stride = OUTPUT_ROWS[graph]
        mixed = max(maps['tokens'].shape[1], maps['local'].shape[1]) * OUTPUT_ROWS['quarter'] ** 2
        row_bytes = 4 * columns * max(mixed, len(self._bundle.classes) * stride**2)
        strips = _even_strips(cells, int(STRIP_BYTES / row_bytes), self._at_once)
        tallest = min(cells, max(stop - start for start, stop in strips) + 2 * HALO)

        def run(span: Span) -> tuple[int, dict[str, np.ndarray]]:
            start, stop = span
            first = min(max(start - HALO, 0), cells - tallest)
            values = self._fuse_rows(maps, (first, first + tallest), graph, outputs)
            rows = slice((start - first) * stride, (stop - first) * stride)
            return start * stride, {name: each[..., rows, :] for name, each in values.items()}

        yield from (self._pool.map if len(strips) > 1 < self._at_once else map)(run, strips)

    def _fuse_rows(
        self, maps: dict[str, np.ndarray], rows: Span, graph: str, outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run a graph on a span of rows of cells; outputs come without the batch axis."""
        feeds = {name: _rows_of(name, values, rows) for name, values in maps.items()}
        count, columns = rows[1] - rows[0], maps['tokens'].shape[3]
        size = lengths(OUTPUT_ROWS[graph] * count, OUTPUT_ROWS[graph] * columns)
        results = self._graphs.run(graph, feeds, dict.fromkeys(outputs, size))
        return {name: values[0] for name, values in results.items()}

    def _check_fusion(self, maps: dict[str, np.ndarray]) -> None:
        """Compare, once and on a few rows, the graph of masks with the graph that tells more."""
        rows = 0, min(maps['tokens'].shape[2], 2)
        quarter = self._fuse_rows(maps, rows, 'quarter', ['quarter_logits'])['quarter_logits']
        logits = self._fuse_rows(maps, rows, 'scores', ['mask', 'logits'])['logits']
        mask = upsampled_arg_max(quarter, UPSAMPLING, logits.shape[1:])
        if len(logits) < 2:
            return
        second, first = np.partition(logits, -2, axis=0)[-2:]
        # Where two classes are nearly equal, rounding decides.
        decided = first - second > CLEAR_MARGIN * np.abs(logits).max()
        differing = (mask != logits.argmax(0)) & decided
        if differing.sum() > MAX_DIFFERING * decided.sum():
            msg = (
                f'bundle {self._bundle.path}: its graphs quarter and scores give different masks, '
                f'on {differing.sum() / decided.sum():.0%} of the pixels: export the model again'
            )
            raise BundleError(msg)


def _strips_at_once(options: EngineOptions) -> tuple[int, int]:
    """Return how many strips of the fusion run at a time, and the threads of each."""
    cores = options.threads or available_cores()
    on_cpu = (options.backend, options.provider) == ('onnxruntime', DEFAULT_PROVIDER)
    count = min(cores, MOST_STRIPS_AT_ONCE) if on_cpu else 1
    return count, cores // count


def _even_strips(cells: int, tallest: int, at_once: int) -> list[Span]:
    """Cut rows of cells into strips, so many that all threads end at about the same time."""
    count = len(strip_spans(cells, max(MIN_STRIP_CELLS, tallest)))
    even = -(-count // at_once) * at_once
    if 2 * cells >= even * MIN_STRIP_CELLS:
        count = even
    return strip_spans(cells, -(-cells // count))


def _rows_of(name: str, values: np.ndarray, cells: Span) -> np.ndarray:
    """Cut the rows of a map that belong to a span of rows of cells."""
    fine = TOKEN_STRIDE // STRIDES[name]
    place = (slice(None),) * ROW_AXES[name]
    return values[(*place, slice(cells[0] * fine, cells[1] * fine))]
