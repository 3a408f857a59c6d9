# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""HLRC's two branches on a GPU: one upload, one CUDA graph and one download per frame."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.frame_pipeline import FramePipeline, SLOTS
from uhr_seg_ros.pipelines.frame_program import FrameProgram
from uhr_seg_ros.pipelines.maps import check_sizes, enlarged_arg_max
from uhr_seg_ros.pipelines.pipeline import OutputRequest, TilingOptions
from uhr_seg_ros.pipelines.tiling import padded_size, TileLimit
from uhr_seg_ros.pipelines.verification import (
    check,
    compare,
    proof_frame,
    PROOF_OUTPUTS,
    reference,
)

#: Frame sizes whose engines stay open.
MAX_SIZES = 4

#: So many frames until every slot has its CUDA graph.
WARM_UP_FRAMES = 2 * SLOTS

#: What `auto` means on a GPU.
DEFAULT_PRECISION = 'fp16'

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
        TilingError: a limit is too small.
        BundleError: the bundle pads or reduces frames in a way that the graphs or the kernels
            cannot take.
        EngineError: the kernels cannot be compiled or loaded.

    """

    overlaps = True

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
        self._limit = TileLimit(bundle, limits.memory_limit_mb or None, limits.tile)
        self._module = backend.load_kernels()
        self._pipelines: OrderedDict[tuple[int, int], FramePipeline] = OrderedDict()
        self.provenance = backend.provenance()

    @classmethod
    def open(cls, bundle: Bundle, limits: TilingOptions, options: EngineOptions) -> TwoBranchGpu:
        """Open a bundle on the GPU; engines follow with the first size, see `prepare`."""
        options = options.resolve_precision(DEFAULT_PRECISION)
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
            EngineError: an engine cannot be built.
            AgreementError: the engines compute something else than ONNX Runtime.

        """
        self._pipeline(size)
        black = RawFrame.of_bgr(np.zeros((*size, 3), np.uint8))
        for _ in range(WARM_UP_FRAMES):
            self.segment(black, OutputRequest(), StageClock())

    def segment(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> dict[str, np.ndarray]:
        """
        Segment one frame; see `Strategy.segment`.

        The stages are `upload`, `engines` and `download`.
        """
        return self.begin(frame, request, clock)()

    def begin(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> Callable[[], dict[str, np.ndarray]]:
        """Start a frame and give what waits for its results; see `FramePipeline.begin`."""
        return self._pipeline((frame.height, frame.width)).begin(frame, request, clock)

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Take the arg max of the bilinearly enlarged `semantic_logits`."""
        size = frame.height, frame.width
        logits = self._pipeline(size).semantic_logits(frame)
        return enlarged_arg_max(logits, size, self._bundle.multiple)

    def keep_memory(self, keeps: bool) -> None:
        """Do nothing: sizes have their own memory, and the oldest of `MOST_SIZES` goes."""

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count the locked copies of frame and results; the rest is memory of the GPU."""
        return SLOTS * (3.0 + len(outputs))

    def close(self) -> None:
        """Free the memory."""
        while self._pipelines:
            self._pipelines.popitem()[1].close()
        self._backend.close()

    def _pipeline(self, size: tuple[int, int]) -> FramePipeline:
        if size not in self._pipelines:
            if len(self._pipelines) >= MAX_SIZES:
                self._pipelines.popitem(last=False)[1].close()
            self._pipelines[size] = self._proven(self._open(size), size)
        self._pipelines.move_to_end(size)
        return self._pipelines[size]

    def _proven(self, pipeline: FramePipeline, size: tuple[int, int]) -> FramePipeline:
        """Compare engines that were never compared with ONNX Runtime."""
        if not self._backend.unproven:
            return pipeline
        self._backend.report(f'comparing the engines for {size[1]}x{size[0]} with ONNX Runtime')
        try:
            frame = RawFrame.of_bgr(proof_frame(size, self._options.proof))
            expected = reference(self._bundle, self._limits, self._options, frame)
            found = pipeline.begin(frame, OutputRequest(PROOF_OUTPUTS), StageClock())()
            agreement = compare(expected, found)
            self._backend.report(str(agreement))
            check(agreement, self._bundle, self._options.precision)
        except Exception:
            pipeline.close()
            self._backend.refuse_engines()
            raise
        self._backend.accept_engines(agreement.facts())
        return pipeline

    def _open(self, size: tuple[int, int]) -> FramePipeline:
        self._backend.begin_size()
        tile = self._limit.side_for(*padded_size(size, self._bundle.multiple))
        program = FrameProgram(self._bundle, self._backend, size, tile)
        return FramePipeline(
            program,
            self._backend.cuda,
            self._module,
            self._bundle,
            size,
            self._backend.report,
        )
