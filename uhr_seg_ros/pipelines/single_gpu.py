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

"""Networks of one branch on a GPU: an engine for every size of frames, the rest on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
import math

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import as_reference
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.engine import HostEngine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.pipeline import (
    OutputRequest,
    PendingResult,
    PipelinesBySize,
    Results,
    TilingOptions,
)
from uhr_seg_ros.pipelines.single import no_semantic_branch, SingleBranch
from uhr_seg_ros.pipelines.verification import Verification


class SingleGpu:
    """
    Run the graph `network` of one bundle of kind `single` on the GPU.

    Does what `SingleBranch` does, with engines that are built for one frame size each.

    Args:
        bundle: a bundle of kind `single`.
        backend: opens the engines; closed with this.
        limits: how large a piece of a frame the network gets.
        options: of the engines.

    Raises:
        ConfigError: a limit is too small.

    """

    is_async = False

    def __init__(
        self,
        bundle: Bundle,
        backend: TensorRTBackend,
        limits: TilingOptions,
        options: EngineOptions,
    ) -> None:
        self._bundle, self._backend = bundle, backend
        self._limits, self._options = limits, options
        self._tiling((bundle.multiple, bundle.multiple))  # or refuses
        self._pipelines = PipelinesBySize(self._open)
        self.provenance = backend.provenance()

    @classmethod
    def open(cls, bundle: Bundle, limits: TilingOptions, options: EngineOptions) -> SingleGpu:
        """Open a bundle on the GPU; engines follow with the first size, see `prepare`."""
        backend = TensorRTBackend(bundle.name, options)
        try:
            return cls(bundle, backend, limits, options)
        except Exception:
            backend.close()
            raise

    def prepare(self, size: tuple[int, int]) -> None:
        """
        Open the engine for frames of a size and run it once; the first time, this builds it.

        Raises:
            EngineError: it cannot be built, or computes something else than ONNX Runtime.

        """
        black = RawFrame.of_bgr(np.zeros((*size, 3), np.uint8))
        self.segment(black, OutputRequest(), StageClock())

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """Segment one frame; see `SingleBranch.segment`."""
        return self._pipelines[frame.height, frame.width].segment(frame, request, clock)

    def submit(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> PendingResult[Results]:
        """Segment one frame at once; see `InferencePipeline.submit`."""
        return self._pipelines[frame.height, frame.width].submit(frame, request, clock)

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Refuse: there is only one branch."""
        raise no_semantic_branch(self._bundle)

    def keep_memory(self, keeps: bool) -> None:
        """Do nothing: sizes have their own memory, and the oldest one goes."""

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count the logits of the size that was used last; see `SingleBranch`."""
        newest = self._pipelines.newest
        return 0.0 if newest is None else newest.bytes_per_pixel(outputs)

    def close(self) -> None:
        """Free the memory."""
        self._pipelines.close()
        self._backend.close()

    def _open(self, size: tuple[int, int]) -> SingleBranch:
        self._backend.begin_size()
        limits, shape = self._tiling(size)
        verification = Verification(
            self._backend,
            self._bundle,
            self._options,
            size,
            shape,
            of_size=f' for {size[1]}x{size[0]}',
        )
        verification.refuse_again()
        engine = self._backend.open(self._bundle.graphs['network'], {'image': shape})
        try:
            if self._finds_other_tiles(engine, limits, size, shape):
                engine.close()
                return self._open(size)
            pipeline = SingleBranch(self._bundle, {'network': engine}, limits)
            verification.run(
                pipeline,
                lambda: SingleBranch.open(self._bundle, limits, as_reference(self._options)),
            )
        except Exception:
            engine.close()
            raise
        return pipeline

    def _finds_other_tiles(
        self,
        engine: HostEngine,
        limits: TilingOptions,
        size: tuple[int, int],
        shape: tuple[int, ...],
    ) -> bool:
        """Note what the first engine takes; tell if that gives other tiles than was expected."""
        pixels = math.prod(shape[2:])
        self._backend.memory.note(self._bundle.graphs['network'], engine.memory_bytes, pixels)
        found, fitting = self._tiling(size)
        if fitting == shape:
            return False
        self._backend.report(
            f'the network takes {found.bytes_per_pixel:.0f} bytes per px, where '
            f'{limits.bytes_per_pixel:.0f} were expected: building it for other tiles'
        )
        return True

    def _tiling(self, size: tuple[int, int]) -> tuple[TilingOptions, tuple[int, ...]]:
        """Return the limits, with what engines take here, and the shape of input they give."""
        bundle, limits, memory = self._bundle, self._limits, self._backend.memory
        if limits.memory_limit_mb:
            per_pixel = memory.per_pixel(bundle.graphs['network'])
            limits = replace(
                limits,
                memory_limit_mb=memory.limit_mb(limits.memory_limit_mb),
                bytes_per_pixel=per_pixel / bundle.low_res_factor**2,
            )
        return limits, (1, 3, *SingleBranch.input_size(bundle, limits, size))
