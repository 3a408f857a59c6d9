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

"""Frames within a budget: semantics of the whole, details of the tiles that gain most by them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import cv2
import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.frame_budget_looks import TileLooker
from uhr_seg_ros.pipelines.frame_budget_ranking import expected_gain, rank_tiles
from uhr_seg_ros.pipelines.frame_budget_tiles import FINE, Tile, TileMemory
from uhr_seg_ros.pipelines.masks import confidence_of, enlarged, enlarged_arg_max
from uhr_seg_ros.pipelines.novelty import NOVELTY, novelty_of
from uhr_seg_ros.pipelines.outputs import CheckedGraphs, lengths
from uhr_seg_ros.pipelines.pipeline import OutputRequest, Results
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.tiling import padded_size
from uhr_seg_ros.pipelines.two_branch_maps import TOKEN_STRIDE

#: Learned guess of what the detail branch mends; not every bundle has it.
GAIN = 'detail_gain'


class FramesWithinBudget:
    """
    Segments frames as far as their budgets go.

    Tiles are looked at by as many threads as the engines have.

    Args:
        bundle: a bundle of kind `two_branch`.
        graphs: `semantic`, and `detail_gain` and `novelty` if the bundle has them; they stay the
            caller's.
        options: of the engines.

    """

    def __init__(self, bundle: Bundle, graphs: CheckedGraphs, options: EngineOptions) -> None:
        self._bundle, self._graphs = bundle, graphs
        self._level = float(np.mean([1.0 / std for std in bundle.std]))
        self._preprocessor = Preprocessor(bundle)
        count = options.threads or available_cores()
        self._lookers = [TileLooker(bundle, options) for _ in range(count)]
        self._pool = ThreadPoolExecutor(max(count - 1, 1), 'tiles')

    def segment(
        self, image: np.ndarray, budget: FrameBudget, request: OutputRequest, clock: StageClock
    ) -> Results:
        """
        Segment one frame; see `InferencePipeline.segment`.

        Args:
            image: (H, W, 3) uint8 BGR.
            budget: of its camera, which has begun.
            request: what is wanted.
            clock: takes the times of `preprocess`, `semantic`, `detail` and `fusion`.

        """
        size = image.shape[0], image.shape[1]
        rows, columns = padded_size(size, self._bundle.multiple)
        cells = rows // TOKEN_STRIDE, columns // TOKEN_STRIDE
        with clock.stage('preprocess'):
            low_res = self._preprocessor.low_res(image)
        with clock.stage('semantic'):
            axes = lengths(*cells)
            maps = self._graphs.run(
                'semantic', {'low_res': low_res}, {'tokens': axes, 'semantic_logits': axes}
            )
            logits = maps['semantic_logits'][0]
        with clock.stage('detail'):
            owner = self._bundle.sha256, self._bundle.cpu_precision, size
            memory = budget.adopt(
                owner, lambda: TileMemory(cells, len(self._bundle.classes), self._level)
            )
            memory.see(low_res[0])
            wanted = self._wanted(request, size, cells)
            order = rank_tiles(memory, self._gain(maps['tokens'], logits), wanted)
            tiles = [memory.tiles[index] for index in order]
            found = self._look(image, maps['tokens'], tiles, budget)
            for index, tile_logits in zip(order, found, strict=False):
                memory.keep(index, tile_logits, low_res[0])
            budget.end_looking()
        with clock.stage('fusion'):
            results = self._fuse(logits, memory, size, request)
        if NOVELTY in request.outputs:
            results[NOVELTY] = novelty_of(self._graphs, maps['tokens'])
        budget.detail_share = float((memory.valid * wanted).sum() / wanted.sum())
        return results

    def keep_memory(self, keeps: bool) -> None:
        """Tell the engines; see `InferencePipeline.keep_memory`."""
        for looker in self._lookers:
            looker.keep_memory(keeps)

    def forget(self) -> None:
        """Free the memory of the last frame."""
        self._preprocessor.forget()
        for looker in self._lookers:
            looker.forget()

    def close(self) -> None:
        """Free the memory of the engines."""
        self._pool.shutdown()
        for looker in self._lookers:
            looker.close()

    def _wanted(
        self, request: OutputRequest, size: tuple[int, int], cells: tuple[int, int]
    ) -> np.ndarray:
        """Return the share of the px of each cell that are wanted, (h, w) float32."""
        if request.roi is None:
            return np.ones(cells, np.float32)
        seen = request.roi.pixels(size)
        below, right = (
            count * TOKEN_STRIDE - side for count, side in zip(cells, size, strict=True)
        )
        padded = cv2.copyMakeBorder(seen, 0, below, 0, right, cv2.BORDER_CONSTANT)
        small = cv2.resize(padded, cells[::-1], interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) / 255.0

    def _gain(self, tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
        if GAIN not in self._bundle.graphs:
            return expected_gain(logits)
        feeds = {'tokens': tokens, 'semantic_logits': logits[None]}
        axes = lengths(*tokens.shape[2:])
        return self._graphs.run(GAIN, feeds, {GAIN: axes})[GAIN][0, 0]

    def _look(
        self, image: np.ndarray, tokens: np.ndarray, tiles: list[Tile], budget: FrameBudget
    ) -> list[np.ndarray]:
        """Look at tiles as long as there is time; return the logits of their windows."""
        found: dict[int, np.ndarray] = {}
        places, lock = iter(range(len(tiles))), Lock()

        def work(looker: TileLooker) -> None:
            while True:
                with lock:
                    place = next(places, None) if budget.takes_one_more() else None
                if place is None:
                    return
                with budget.looking():
                    found[place] = looker.look(image, tokens, tiles[place])

        first, *others = self._lookers[: max(len(tiles), 1)]
        helpers = [self._pool.submit(work, each) for each in others]
        try:
            work(first)
        finally:
            for helper in helpers:
                helper.result()
        return [found[place] for place in range(len(found))]

    def _fuse(
        self,
        logits: np.ndarray,
        memory: TileMemory,
        size: tuple[int, int],
        request: OutputRequest,
    ) -> Results:
        """Let the tiles fade into what the semantic branch says of the rest."""
        rows, columns = memory.logits.shape[1:]
        weight = cv2.resize(memory.valid.astype(np.float32), (columns, rows))
        fine = np.empty_like(memory.logits)
        for coarse, detailed, plane in zip(logits, memory.logits, fine, strict=True):
            cv2.resize(coarse, (columns, rows), dst=plane)
            cv2.blendLinear(detailed, plane, weight, 1.0 - weight, dst=plane)
        results = {'mask': enlarged_arg_max(fine, size, self._bundle.multiple)}
        padded = TOKEN_STRIDE // FINE * rows, TOKEN_STRIDE // FINE * columns
        if 'confidence' in request.outputs:
            results['confidence'] = enlarged(confidence_of(fine), size, padded)
        if 'logits' in request.outputs:
            results['logits'] = np.stack([enlarged(plane, size, padded) for plane in fine])
        return results


def bytes_per_pixel(bundle: Bundle) -> float:
    """Return what a pixel takes: logits and the picture, new and remembered, bytes."""
    fine = (TOKEN_STRIDE // FINE) ** 2
    return 4.0 * (2 * len(bundle.classes) + 2 * 3) / fine
