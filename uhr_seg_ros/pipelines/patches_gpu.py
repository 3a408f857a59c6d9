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

"""Patches on a GPU: as many at a time as its engines and its memory allow."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import as_reference
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.engine import HostEngine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.patch_grid import WHOLE
from uhr_seg_ros.pipelines.patches import batch_size, patches_of, PatchesWithContexts
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.verification import Verification

_Engines = dict[str, HostEngine]


class PatchesGpu(PatchesWithContexts):
    """
    Run the graphs of one bundle of kind `patches` on the GPU.

    Does what `PatchesWithContexts` does. What a pixel costs is asked of the engines in place of
    the bundle, which tells of ONNX Runtime and a CPU.
    """

    @classmethod
    def open(cls, bundle: Bundle, limits: TilingOptions, options: EngineOptions) -> PatchesGpu:
        """
        Open a bundle on the GPU; the first time, this builds its engines and verifies them.

        Raises:
            EngineError: an engine cannot be built, or computes something else than ONNX Runtime
                on the CPU.

        """
        backend = TensorRTBackend(bundle.name, options)
        try:
            return cls._open(bundle, backend, limits, options)
        except Exception:
            backend.close()
            raise

    @classmethod
    def _open(
        cls,
        bundle: Bundle,
        backend: TensorRTBackend,
        limits: TilingOptions,
        options: EngineOptions,
    ) -> PatchesGpu:
        here = _limits_on(backend, bundle, limits)
        batch = batch_size(bundle, here)
        size = cls.verification_size(bundle)
        verification = Verification(backend, bundle, options, size, batch)
        verification.refuse_again()
        # What this back end opens; the base class knows any.
        engines = cast(_Engines, cls.open_graphs(bundle, backend, here, options))
        if _finds_other_batch(backend, bundle, limits, here, engines):
            for engine in engines.values():
                engine.close()
            backend.begin_size()
            return cls._open(bundle, backend, limits, options)
        pipeline = cls(bundle, engines, here, options)
        pipeline._backend = backend
        # With the limits of the user: how many run at a time changes nothing but the memory.
        verification.run(
            pipeline, lambda: PatchesWithContexts.open(bundle, limits, as_reference(options))
        )
        return pipeline


def _finds_other_batch(
    backend: TensorRTBackend,
    bundle: Bundle,
    limits: TilingOptions,
    here: TilingOptions,
    engines: _Engines,
) -> bool:
    """Note what the first engines take; tell if fewer or more patches fit than was expected."""
    before = batch_size(bundle, here)
    pixels = before * patches_of(bundle).side ** 2
    for name in _in_batches(bundle):
        backend.memory.note(bundle.graphs[name], engines[name].memory_bytes, pixels)
    found = _limits_on(backend, bundle, limits)
    after = batch_size(bundle, found)
    if before == after:
        return False
    backend.report(
        f'patches take {found.bytes_per_pixel:.0f} bytes per px, where '
        f'{here.bytes_per_pixel:.0f} were expected: building for {after} at a time, not {before}'
    )
    return True


def _limits_on(backend: TensorRTBackend, bundle: Bundle, limits: TilingOptions) -> TilingOptions:
    """Return the limits with what engines take here."""
    if not limits.memory_limit_mb:
        return limits
    memory, side = backend.memory, patches_of(bundle).side
    image = 1, 3, side, side
    return replace(
        limits,
        memory_limit_mb=memory.limit_mb(limits.memory_limit_mb),
        bytes_per_pixel=sum(
            memory.per_pixel(bundle.graphs[name], image) for name in _in_batches(bundle)
        ),
    )


def _in_batches(bundle: Bundle) -> list[str]:
    """Name the graphs that run for several patches at a time; their engines are all there."""
    contexts = patches_of(bundle).contexts
    return ['patch', *(name for name, factor in contexts.items() if factor != WHOLE)]
