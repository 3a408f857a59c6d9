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

"""Networks of one branch: on the whole frame, a reduced one, one of a fixed size, or in tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math

import numpy as np

from uhr_seg_ros.backends.engine import Backend, Engine
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.masks import (
    ARG_MAX_BYTES,
    enlarged,
    enlarged_confidence,
    padded_arg_max,
)
from uhr_seg_ros.pipelines.outputs import CheckedGraphs
from uhr_seg_ros.pipelines.pipeline import OutputRequest, Results, TilingOptions
from uhr_seg_ros.pipelines.sampling import Sampler
from uhr_seg_ros.pipelines.single_views import view_of
from uhr_seg_ros.pipelines.synchronous import fixed_size, open_fixed, SynchronousPipeline
from uhr_seg_ros.pipelines.tiling import Span, TileBlender


class SingleBranch(SynchronousPipeline):
    """
    Run the graph `network` of one bundle of kind `single`.

    The graph sees the frame reduced by `low_res_factor`, or resized where it takes one size only;
    its logits are enlarged bilinearly to the frame. Where a memory limit or a tile size asks for
    it, the network runs in overlapping tiles whose logits are blended linearly.

    Args:
        bundle: a bundle of kind `single`.
        engines: the engine of `network`.
        limits: how large a piece of a frame the network gets.
        options: of the engines.

    Raises:
        ConfigError: a limit is too small.
        EngineError: the graph has another number of classes than the bundle.

    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None:
        self._bundle = bundle
        self._graphs = CheckedGraphs(bundle, engines)
        self.provenance = engines['network'].provenance()
        self._view = view_of(bundle, limits)
        self._logit_bytes = 0.0

    @staticmethod
    def input_size(
        bundle: Bundle, limits: TilingOptions, size: tuple[int, int]
    ) -> tuple[int, int]:
        """
        Return height and width of what the graph sees of a frame, or of each of its tiles, px.

        Args:
            bundle: as of the class.
            limits: as of the class.
            size: height and width of the frame, px.

        """
        return view_of(bundle, limits).input_size(size)

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """
        Segment one frame; see `InferencePipeline.segment`.

        The stages are `convert`, `preprocess`, `network`, `enlarge` and `overlay`.
        """
        with clock.stage('convert'):
            image = frame.bgr
        logits = self._logits(image, clock)
        size = frame.height, frame.width
        extent = self._view.extent(size)
        self._logit_bytes = logits.nbytes / math.prod(extent)
        if not self._keeps_memory:
            self._view.forget()
        with clock.stage('enlarge'):
            results = {'mask': padded_arg_max(logits, size, extent)}
            if 'confidence' in request.outputs:
                results['confidence'] = enlarged_confidence(logits, size, extent)
            if 'logits' in request.outputs:
                results['logits'] = np.stack([enlarged(each, size, extent) for each in logits])
        if request.overlay.any:
            with clock.stage('overlay'):
                classes = self._bundle.classes
                results |= request.overlay.paint(image, results['mask'], classes)
        return results

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Refuse: there is only one branch."""
        raise no_semantic_branch(self._bundle)

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count the logits, as large as they were last, and enlarging them plane by plane."""
        return self._logit_bytes + ARG_MAX_BYTES + (8 if 'confidence' in outputs else 0)

    def _logits(self, image: np.ndarray, clock: StageClock) -> np.ndarray:
        """Return the logits of the extent of the frame, (C, h, w) float32."""
        rows, columns = self._view.spans(image.shape[:2])
        if len(rows) == len(columns) == 1:
            return self._run(image, rows[0], columns[0], clock)[0]
        blender: TileBlender | None = None
        for row, row_span in enumerate(rows):
            for column, column_span in enumerate(columns):
                logits = self._run(image, row_span, column_span, clock)
                sides = row_span[1] - row_span[0], column_span[1] - column_span[0]
                if blender is None:
                    blender = TileBlender(rows, columns, self._step(logits, sides))
                blender.add(logits, row, column)
        assert blender is not None  # there is a tile
        return blender.total[0]

    def _run(self, image: np.ndarray, rows: Span, columns: Span, clock: StageClock) -> np.ndarray:
        with clock.stage('preprocess'):
            planes = self._view.planes(image, rows, columns)
        return self._run_network(planes, clock)

    def _run_network(self, planes: np.ndarray, clock: StageClock) -> np.ndarray:
        """Return the logits of the network's input, (1, C, h, w) float32."""
        with clock.stage('network'):
            logits = self._graphs.run('network', {'image': planes}, {'logits': {}})['logits']
            self._graphs.check.found_of('network', 'logits', logits, planes.shape[2:])
        return logits

    def _step(self, logits: np.ndarray, sides: tuple[int, int]) -> int:
        """Return the px of the frame per row and column of the logits of a tile."""
        step = max(sides[0] // logits.shape[2], 1)
        if tuple(step * side for side in logits.shape[2:]) != sides:
            msg = (
                f'bundle {self._bundle.path}: the logits of a tile of {sides[1]} x {sides[0]} px '
                f'have shape {logits.shape}: use no tiles, or export the model again'
            )
            raise BundleError(msg)
        return step


class Uniform(SingleBranch):
    """
    Run the graph `network` of one bundle of kind `uniform`.

    Every frame is resized to the size that the graph takes, and its logits to the frame.

    Args:
        bundle: a bundle of kind `uniform`.
        engines: the engine of `network`.
        limits: nothing of them is needed.
        options: of the engines.

    Raises:
        ConfigError: a tile is required.
        EngineError: as of `SingleBranch`.
        BundleError: the graph has no fixed size.

    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None:
        super().__init__(bundle, engines, limits, options)
        self._size = fixed_size(bundle, 'network', engines['network'])
        self._sampler = Sampler(bundle.mean, bundle.std)

    @classmethod
    def open_graphs(
        cls, bundle: Bundle, backend: Backend, limits: TilingOptions, options: EngineOptions
    ) -> dict[str, Engine]:
        """Open the graph for the size that it takes; see `open_fixed`."""
        return open_fixed(bundle, backend, options)

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count enlarging the logits, which are as large for every frame."""
        return super().bytes_per_pixel(outputs) - self._logit_bytes

    def _logits(self, image: np.ndarray, clock: StageClock) -> np.ndarray:
        with clock.stage('preprocess'):
            small = self._sampler.resized(image, self._size)
        return self._run_network(small, clock)[0]


def no_semantic_branch(bundle: Bundle) -> BundleError:
    """Return the error for asking what a semantic branch alone says."""
    return BundleError(f'bundle {bundle.name} has one branch, no semantic one to run alone')
