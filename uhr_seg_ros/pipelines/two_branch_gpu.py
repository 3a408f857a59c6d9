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

"""HLRC's two branches on a GPU: one upload, one CUDA graph and one download per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import as_reference, open_engine
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.masks import enlarged_arg_max
from uhr_seg_ros.pipelines.novelty import NOVELTY, novelty_of
from uhr_seg_ros.pipelines.outputs import CheckedGraphs
from uhr_seg_ros.pipelines.pipeline import (
    OutputRequest,
    PendingResult,
    PipelinesBySize,
    Results,
    TilingOptions,
)
from uhr_seg_ros.pipelines.tiling import padded_size, TileLimit
from uhr_seg_ros.pipelines.two_branch import TwoBranch
from uhr_seg_ros.pipelines.two_branch_gpu_frames import FramePipeline, SLOTS
from uhr_seg_ros.pipelines.two_branch_gpu_program import FrameProgram
from uhr_seg_ros.pipelines.two_branch_maps import check_sizes
from uhr_seg_ros.pipelines.verification import Verification

#: So many frames until every slot has its CUDA graph.
WARM_UP_FRAMES = 2 * SLOTS

#: The kernels know this factor only.
LOW_RES_FACTOR = 4


class TwoBranchGpu:
    """
    Run the graphs of one bundle on the GPU: `semantic`, `detail` and `quarter`.

    Does what `TwoBranch` does, with engines that are built for one frame size each.

    Args:
        bundle: a bundle of kind `two_branch`.
        backend: opens the engines; closed with this.
        limits: how large a piece of a frame the detail branch gets.
        options: of the engines.

    Raises:
        ConfigError: a limit is too small.
        BundleError: the bundle pads or reduces frames in a way that the graphs or the kernels
            cannot take.
        EngineError: the kernels cannot be compiled or loaded.

    """

    is_async = True

    def __init__(
        self,
        bundle: Bundle,
        backend: TensorRTBackend,
        limits: TilingOptions,
        options: EngineOptions,
    ) -> None:
        check_sizes(bundle)
        if bundle.low_res_factor != LOW_RES_FACTOR:
            msg = (
                f'bundle {bundle.path}: input.low_res_factor is {bundle.low_res_factor}, '
                f'TensorRT runs with {LOW_RES_FACTOR} only: use the back end onnxruntime'
            )
            raise BundleError(msg)
        self._bundle, self._backend = bundle, backend
        self._limits, self._options = limits, options
        self._tiling((0, 0))  # or refuses
        self._module = backend.load_kernels()
        self._pipelines = PipelinesBySize(self._open)
        self._novelty: CheckedGraphs | None = None
        self.provenance = backend.provenance()

    @classmethod
    def open(cls, bundle: Bundle, limits: TilingOptions, options: EngineOptions) -> TwoBranchGpu:
        """Open a bundle on the GPU; engines follow with the first size, see `prepare`."""
        backend = TensorRTBackend(bundle.name, options)
        try:
            return cls(bundle, backend, limits, options)
        except Exception:
            backend.close()
            raise

    def prepare(self, size: tuple[int, int]) -> None:
        """
        Open the engines for frames of a size and warm them up; the first time, this builds them.

        Raises:
            EngineError: an engine cannot be built, or the engines compute something else than
                ONNX Runtime.

        """
        black = RawFrame.of_bgr(np.zeros((*size, 3), np.uint8))
        for _ in range(WARM_UP_FRAMES):
            self.segment(black, OutputRequest(), StageClock())

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """
        Segment one frame; see `InferencePipeline.segment`.

        The stages are `upload`, `engines` and `download`.
        """
        return self.submit(frame, request, clock).result()

    def submit(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> PendingResult[Results]:
        """Start a frame; see `FramePipeline.submit`. Its novelty is waited for, on the CPU."""
        pipeline = self._pipelines[frame.height, frame.width]
        pending = pipeline.submit(frame, request, clock)
        if NOVELTY not in request.outputs:
            return pending
        # Now, since the next frame overwrites the tokens; it is seldom asked for.
        novelty = novelty_of(self._novelty_graph(), pipeline.tokens()[None])
        return PendingResult(lambda: {**pending.result(), NOVELTY: novelty})

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Take the arg max of the bilinearly enlarged `semantic_logits`."""
        size = frame.height, frame.width
        logits = self._pipelines[size].semantic_logits(frame)
        return enlarged_arg_max(logits, size, self._bundle.multiple)

    def keep_memory(self, keeps: bool) -> None:
        """Do nothing: sizes have their own memory, and the oldest one goes."""

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count the locked copies of frame and results; the rest is memory of the GPU."""
        return SLOTS * (3.0 + len(outputs))

    def close(self) -> None:
        """Free the memory."""
        if self._novelty is not None:
            self._novelty.close()
        self._pipelines.close()
        self._backend.close()

    def _novelty_graph(self) -> CheckedGraphs:
        if self._novelty is None:
            engine = open_engine(self._bundle.graphs[NOVELTY], 1)
            self._novelty = CheckedGraphs(self._bundle, {NOVELTY: engine})
        return self._novelty

    def _open(self, size: tuple[int, int]) -> FramePipeline:
        self._backend.begin_size()
        limits, tile = self._tiling(size)
        verification = Verification(
            self._backend,
            self._bundle,
            self._options,
            size,
            tile,
            logits='quarter_logits',
            of_size=f' for {size[1]}x{size[0]}',
        )
        verification.refuse_again()
        program = FrameProgram(self._bundle, self._backend, size, tile)
        pipeline = FramePipeline(
            program,
            self._backend.cuda,
            self._module,
            self._bundle,
            size,
            self._backend.report,
        )
        try:
            if self._finds_other_tiles(program, limits, size, tile):
                pipeline.close()
                return self._open(size)
            verification.run(
                pipeline,
                lambda: TwoBranch.open(self._bundle, limits, as_reference(self._options)),
            )
        except Exception:
            pipeline.close()
            raise
        return pipeline

    def _finds_other_tiles(
        self, program: FrameProgram, limits: TilingOptions, size: tuple[int, int], tile: int | None
    ) -> bool:
        """Note what the first engine takes; tell if that gives other tiles than was expected."""
        self._backend.memory.note(self._bundle.graphs['detail'], *program.detail_memory())
        found, fitting = self._tiling(size)
        if fitting == tile:
            return False
        self._backend.report(
            f'the detail branch takes {found.bytes_per_pixel:.0f} bytes per px, where '
            f'{limits.bytes_per_pixel:.0f} were expected: building it for other tiles'
        )
        return True

    def _tiling(self, size: tuple[int, int]) -> tuple[TilingOptions, int | None]:
        """Return the limits, with what engines take here, and the side of tiles that they give."""
        limits, memory = self._limits, self._backend.memory
        if limits.memory_limit_mb:
            limits = replace(
                limits,
                memory_limit_mb=memory.limit_mb(limits.memory_limit_mb),
                bytes_per_pixel=memory.per_pixel(self._bundle.graphs['detail']),
            )
        limit = TileLimit(
            self._bundle, limits.memory_limit_mb or None, limits.tile, limits.bytes_per_pixel
        )
        return limits, limit.side_for(*padded_size(size, self._bundle.multiple))
