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

"""The base of pipelines that finish a frame before they return, on any back end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from uhr_seg_ros.backends.engine import Backend, Engine, Shapes
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import as_reference, BACKENDS, open_backend, open_engine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.outputs import CheckedGraphs
from uhr_seg_ros.pipelines.pipeline import (
    OutputRequest,
    PendingResult,
    Results,
    TilingOptions,
    warm_up_frame,
)
from uhr_seg_ros.pipelines.verification import Verification

P = TypeVar('P', bound='SynchronousPipeline')

#: Height and width of the frame that new engines are verified on, px.
VERIFICATION_SIZE = (512, 512)


class SynchronousPipeline(ABC):
    """
    Run graphs that take and give arrays of the host, on any back end.

    A kind of bundle derives from it and writes `segment`, and what differs from the usual below.

    Args:
        bundle: the model.
        engines: graph name -> engine.
        limits: how large a piece of a frame is segmented at a time.
        options: of the engines.

    """

    is_async = False

    provenance: dict[str, str]

    _bundle: Bundle
    _graphs: CheckedGraphs
    _backend: Backend | None = None
    _keeps_memory = True

    @abstractmethod
    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None: ...

    @classmethod
    def open(cls: type[P], bundle: Bundle, limits: TilingOptions, options: EngineOptions) -> P:
        """
        Open a bundle on the back end of the options, and verify it unless it is the reference.

        Where engines are built for it, the first time takes minutes.

        Raises:
            EngineError: an engine cannot be opened, or computes something else than ONNX Runtime
                on the CPU.

        """
        backend = open_backend(bundle, options)
        size = cls.verification_size(bundle)
        verification = Verification(backend, bundle, options, size, limits)
        try:
            verification.refuse_again()
            engines = cls.open_graphs(bundle, backend, limits, options)
            pipeline = cls(bundle, engines, limits, options)
            pipeline._backend = backend
            verification.run(pipeline, lambda: cls.open(bundle, limits, as_reference(options)))
        except Exception:
            backend.close()
            raise
        return pipeline

    @classmethod
    def open_graphs(
        cls, bundle: Bundle, backend: Backend, limits: TilingOptions, options: EngineOptions
    ) -> dict[str, Engine]:
        """Open the graphs that frames need, in the shapes that a back end has to know."""
        return {name: backend.open(graph, {}) for name, graph in bundle.graphs.items()}

    @classmethod
    def verification_size(cls, bundle: Bundle) -> tuple[int, int]:
        """Return height and width of the frame that new engines are verified on, px."""
        return VERIFICATION_SIZE

    def prepare(self, size: tuple[int, int]) -> None:
        """Run once on a black frame."""
        self.segment(warm_up_frame(size), OutputRequest(), StageClock())

    @abstractmethod
    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """Segment one frame; see `InferencePipeline.segment`."""

    @abstractmethod
    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Segment one frame by the semantic branch alone, or refuse."""

    @abstractmethod
    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Return what grows with a frame; see `InferencePipeline.bytes_per_pixel`."""

    def submit(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> PendingResult[Results]:
        """Segment one frame at once; see `InferencePipeline.submit`."""
        results = self.segment(frame, request, clock)
        return PendingResult(lambda: results)

    def keep_memory(self, keeps: bool) -> None:
        """Tell the engines too; see `InferencePipeline.keep_memory`."""
        if keeps != self._keeps_memory:
            self._keeps_memory = keeps
            self._graphs.keep_memory(keeps)

    def close(self) -> None:
        """Free the memory of the engines."""
        self._graphs.close()
        if self._backend is not None:
            self._backend.close()


def fixed_size(bundle: Bundle, name: str, engine: Engine) -> tuple[int, int]:
    """
    Return height and width of the image that a graph takes, px.

    Raises:
        BundleError: they are not fixed.

    """
    shape = engine.input_shapes['image']
    if len(shape) != 4 or shape[2] is None or shape[3] is None:
        msg = (
            f'bundle {bundle.path}: graph {name} takes images of shape {shape}, expected a fixed '
            'height and width: export the model again'
        )
        raise BundleError(msg)
    return shape[2], shape[3]


def open_fixed(bundle: Bundle, backend: Backend, options: EngineOptions) -> dict[str, Engine]:
    """Open graphs of fixed sizes; ONNX Runtime reads them for a back end that has to know."""
    return {
        name: backend.open(graph, _fixed_shapes(bundle, name, options))
        for name, graph in bundle.graphs.items()
    }


def _fixed_shapes(bundle: Bundle, name: str, options: EngineOptions) -> Shapes:
    if BACKENDS[options.backend].takes_any_shape:
        return {}
    reader = open_engine(bundle.graphs[name], options.threads)
    try:
        return {'image': (1, 3, *fixed_size(bundle, name, reader))}
    finally:
        reader.close()
