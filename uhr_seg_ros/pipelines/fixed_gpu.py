# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Learned and uniform downsampling on a GPU: the graphs as engines, the rest on the CPU.

The graphs see a few hundred px of every frame, so sampling and bending back are what takes time.
"""

from __future__ import annotations

from collections.abc import Mapping

from uhr_seg_ros.backends.engine import Engine
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import open_engines
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.engine import HostEngine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.pipelines.deformed import Deformed, fixed_size
from uhr_seg_ros.pipelines.pipeline import InferencePipeline, TilingOptions
from uhr_seg_ros.pipelines.uniform import Uniform
from uhr_seg_ros.pipelines.verification import proof_frame, prove

#: A place in a large frame has more digits than half precision, and so small graphs gain nothing.
PRECISION = 'fp32'
#: Height and width of the frame that new engines are compared on, px.
PROOF_SIZE = (512, 512)


class _OnGpu:
    """
    Mixed into a strategy whose graphs take images of fixed sizes.

    Engines do not depend on the size of frames: they are built and proven when this opens.
    """

    _backend: TensorRTBackend

    @classmethod
    def open(
        cls, bundle: Bundle, limits: TilingOptions, options: EngineOptions
    ) -> InferencePipeline:
        """
        Open a bundle on the GPU; the first time, this builds its engines (minutes).

        Raises:
            EngineError: another precision than fp32, or an engine cannot be built.
            AgreementError: the engines compute something else than ONNX Runtime.

        """
        options = options.resolve_precision(PRECISION)
        if options.precision != PRECISION:
            msg = (
                f'precision {options.precision!r} of bundle {bundle.name}: bundles of kind '
                f'{bundle.kind} run on a GPU in {PRECISION}'
            )
            raise EngineError(msg)
        plain = EngineOptions(threads=options.threads, precision=PRECISION)
        references = open_engines(bundle, bundle.graphs, plain)
        backend = TensorRTBackend(bundle.name, options)
        try:
            engines = _opened(bundle, backend, references)
            strategy = cls._of(bundle, engines, limits, options)
            strategy._backend = backend
            if backend.unproven:
                frame = RawFrame.of_bgr(proof_frame(PROOF_SIZE, options.proof))
                reference = cls._of(bundle, references, limits, options)
                prove(strategy, reference, frame, bundle, backend, options.precision)
        except Exception:
            backend.close()
            raise
        finally:
            for engine in references.values():
                engine.close()
        return strategy

    @classmethod
    def _of(
        cls,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions,
    ) -> InferencePipeline:
        return cls(bundle, engines, limits)

    def close(self) -> None:
        """Free the memory."""
        super().close()
        self._backend.close()


class DeformedGpu(_OnGpu, Deformed):
    """Run the graphs of one bundle of kind `deformed` on the GPU; see `Deformed`."""

    @classmethod
    def _of(
        cls,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions,
    ) -> InferencePipeline:
        return cls(bundle, engines, limits, options.threads)


class UniformGpu(_OnGpu, Uniform):
    """Run the graph of one bundle of kind `uniform` on the GPU; see `Uniform`."""


def _opened(
    bundle: Bundle, backend: TensorRTBackend, references: Mapping[str, Engine]
) -> dict[str, HostEngine]:
    """Open the graphs for the sizes that ONNX Runtime reads out of them."""
    return {
        name: backend.open(graph, {'image': (1, 3, *fixed_size(bundle, name, references[name]))})
        for name, graph in bundle.graphs.items()
    }
