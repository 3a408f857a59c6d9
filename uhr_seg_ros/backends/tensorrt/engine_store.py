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

"""Engines by graph, shapes and formats: from the cache, or built and kept there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TYPE_CHECKING

from uhr_seg_ros.backends.engine import Shapes
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.api import TensorRT
from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.backends.tensorrt.cache import EngineCache, Key
from uhr_seg_ros.backends.tensorrt.cache_keeper import CacheKeeper
from uhr_seg_ros.backends.tensorrt.runtime_cache import RuntimeCache
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.gpu import Gpu

if TYPE_CHECKING:
    from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs


class EngineStore:
    """
    The engines of one bundle for one GPU.

    An entry of the cache that does not fit is replaced, with one line that says why.

    Args:
        tensorrt: what builds them.
        gpu: what they are for.
        graphs: of the bundle, in the precision of the options.
        cache: where engines are kept.
        keep: changes the cache.
        options: workspace, and whom builds are reported to.

    Raises:
        TensorRTError: no runtime can be made.

    """

    def __init__(
        self,
        tensorrt: TensorRT,
        gpu: Gpu,
        graphs: SpecializedGraphs,
        cache: EngineCache,
        keep: CacheKeeper,
        options: EngineOptions,
    ) -> None:
        self._tensorrt, self._gpu, self._graphs = tensorrt, gpu, graphs
        self._cache, self._keep, self._options = cache, keep, options
        self._platform = platform_fields(tensorrt, gpu)
        self._runtime = tensorrt.make('Runtime')

    def key(self, graph: Graph, shapes: Shapes, formats: Mapping[str, str]) -> Key:
        """Return what an engine depends on."""
        fields = {
            **self._graphs.fields(graph, shapes),
            'formats': '; '.join(f'{name} {kind}' for name, kind in sorted(formats.items())),
            'workspace_mb': str(self._options.workspace_mb),
            **self._platform,
        }
        return Key('engine', self._graphs.name(graph, shapes), fields)

    def open(self, graph: Graph, shapes: Shapes, formats: Mapping[str, str], key: Key) -> Any:
        """
        Load an engine, or build it (minutes).

        Args:
            graph: of the bundle.
            shapes: input name -> shape.
            formats: of inputs and outputs, see `set_formats`.
            key: of these.

        Raises:
            EngineError: it cannot be built, loaded, or written to a cache that is required.

        """
        engine = self._load(key)
        if engine is None:
            with self._keep.lock(key):
                # Another process may have built it while this one waited.
                engine = self._load(key) or self._build(graph, shapes, formats, key)
        return engine

    def runtime_cache(self, engine: Any, key: Key) -> RuntimeCache | None:
        """Give TensorRT for RTX what it compiled for this engine at an earlier start."""
        if not self._tensorrt.is_rtx:
            return None
        # Its sidecar lies beside that of the engine.
        kept = Key('runtime', f'{key.name}-runtime', key.fields)
        found = self._cache.read(kept)
        keep = partial(self._keep, self._cache.write, kept)
        return RuntimeCache(engine, found[0] if found else b'', keep)

    def close(self) -> None:
        """Let TensorRT go; calling it again does nothing."""
        self._runtime = None

    def _load(self, key: Key) -> Any | None:
        found = self._cache.read(key)
        if found is None:
            return None
        engine = self._runtime.deserialize_cuda_engine(found[0])
        if engine is None:
            # Whole and of this version by its sidecar, but TensorRT thinks otherwise.
            self._options.report(str(self._tensorrt.error(f'engine {key.name} is not accepted')))
            self._keep(self._cache.discard, key)
        return engine

    def _build(self, graph: Graph, shapes: Shapes, formats: Mapping[str, str], key: Key) -> Any:
        options = self._options
        options.report(f'building engine {key.name}: {self._cache.fault(key)}')
        model = self._graphs.load(
            graph,
            shapes,
            plain_norms=not self._tensorrt.has_layer_norm,
            half_scales=self._tensorrt.strongly_typed,
        )
        timing = Key('timing', 'timing', self._platform)
        earlier = self._cache.read(timing)
        built = build_plan(
            self._tensorrt,
            model.SerializeToString(),
            shapes,
            capability=self._gpu.capability,
            precision=options.precision,
            workspace_mb=options.workspace_mb,
            float32_tensors=self._graphs.float32_tensors(model),
            formats=formats,
            timing_cache=earlier[0] if earlier else b'',
            on_progress=options.on_progress,
        )
        if built.timing_cache:
            self._keep(self._cache.write, timing, built.timing_cache)
        engine = self._runtime.deserialize_cuda_engine(built.plan)
        if engine is None:
            raise self._tensorrt.error(f'engine {key.name} was built, but cannot be loaded')
        self._keep(self._cache.write, key, built.plan)
        return engine


def platform_fields(tensorrt: TensorRT, gpu: Gpu) -> dict[str, str]:
    """Return what everything that TensorRT makes depends on, for the keys of the cache."""
    return {
        'tensorrt': str(tensorrt),
        'gpu': gpu.name,
        'capability': '.'.join(map(str, gpu.capability)),
        'multiprocessors': str(gpu.multiprocessors),
        'l4t': gpu.l4t or 'none',
    }
