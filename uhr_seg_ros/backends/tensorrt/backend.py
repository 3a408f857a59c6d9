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

"""TensorRT: graphs of a bundle as engines of fixed shapes on one GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any, TYPE_CHECKING

from uhr_seg_ros.backends.engine import Shapes
from uhr_seg_ros.backends.options import EngineOptions, PRECISIONS
from uhr_seg_ros.backends.tensorrt.api import load_tensorrt, TensorRTError
from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.backends.tensorrt.cache import CacheError, EngineCache, Key
from uhr_seg_ros.backends.tensorrt.compiling import source_sha256
from uhr_seg_ros.backends.tensorrt.cuda import Cuda
from uhr_seg_ros.backends.tensorrt.engine import Execution, HostEngine
from uhr_seg_ros.backends.tensorrt.engine_memory import EngineMemory
from uhr_seg_ros.backends.tensorrt.kernel_loading import load_kernels
from uhr_seg_ros.backends.tensorrt.runtime_cache import RuntimeCache
from uhr_seg_ros.backends.tensorrt.verdicts import read_refusal, write_refusal
from uhr_seg_ros.core.bundle import Bundle, Graph
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.gpu import find_gpu, Gpu

if TYPE_CHECKING:
    from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs

#: What is noted of an engine when the GPU was lost while it was compared.
_LOST = 'lost_while_compared'


def _specialized_graphs(bundle: str, precision: str, cache: EngineCache) -> SpecializedGraphs:
    # It needs onnx, which a machine without a GPU does not need.
    try:
        from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
    except ImportError as err:
        msg = f'engines are built with onnx, which cannot be imported ({err}): pip install onnx'
        raise EngineError(msg) from err
    return SpecializedGraphs(bundle, precision, cache)


class TensorRTBackend:
    """
    TensorRT on one GPU; belongs to the thread that makes it.

    Engines come from the cache, or are built and kept there. An entry of the cache that does
    not fit is replaced, with one line that says why. Where the cache cannot be written, engines
    are built anew each time, unless the options ask for an error.

    Args:
        bundle: name of the bundle, for file names.
        options: precision, workspace, cache, and whom builds are reported to.

    Attributes:
        cuda: the GPU's context.
        gpu: what the driver says about it.
        cache: where engines are kept.
        memory: what a pixel of a frame costs its engines.

    Raises:
        EngineError: no GPU, no TensorRT or none for this GPU, no pycuda or an unknown precision;
            says which and what to do.

    """

    name = 'tensorrt'

    def __init__(self, bundle: str, options: EngineOptions) -> None:
        if options.precision not in PRECISIONS:
            msg = f'precision {options.precision!r} is unknown, known: {", ".join(PRECISIONS)}'
            raise EngineError(msg)
        # In this order: without a driver, some versions of TensorRT end the process.
        self.gpu: Gpu = find_gpu()
        self.tensorrt = load_tensorrt()
        self.tensorrt.check_gpu(self.gpu)
        self.cache = EngineCache(options.cache)
        self._bundle, self._options = bundle, options
        self._graphs = _specialized_graphs(bundle, options.precision, self.cache)
        self._unverified: list[Key] = []
        self._warned = ''
        self._told: set[str] = set()
        self.cuda = Cuda()
        own_bytes = 0 if self.cuda.is_integrated else self.gpu.memory
        self.memory = EngineMemory(
            self._graphs, self.cache, self._keep, self._platform(), own_bytes
        )
        try:
            self._runtime = self.tensorrt.make('Runtime')
        except TensorRTError:
            self.cuda.close()
            raise

    def report(self, text: str) -> None:
        """Tell the user something that takes long or is slower than it could be."""
        self._options.report(text)

    def provenance(self) -> dict[str, str]:
        """Return what runs the graphs: `backend`, `version`, `device`, `precision`."""
        return {
            'backend': self.name,
            'version': str(self.tensorrt),
            'device': f'{self.gpu.name}, driver {".".join(map(str, self.gpu.driver_version))}',
            'precision': self._options.precision,
        }

    def open(self, graph: Graph, shapes: Shapes) -> HostEngine:
        """
        Open a graph at fixed shapes, for arrays of the host; see `Backend.open`.

        Raises:
            EngineError: as of `execution`.

        """
        return HostEngine(self, graph, shapes)

    def execution(
        self, graph: Graph, shapes: Shapes, formats: Mapping[str, str] = MappingProxyType({})
    ) -> Execution:
        """
        Open a graph at fixed shapes; the first time, this builds its engine (minutes).

        It reads and writes device memory: engines that hand maps to each other and to kernels,
        as those of two branches do, take no detour over the host, and run within CUDA graphs.

        Args:
            graph: of the bundle.
            shapes: input name -> shape.
            formats: of inputs and outputs where they are half precision, see `set_formats`; how
                each of them lies in memory, the engine says.

        Raises:
            EngineError: it cannot be built, run, or written to a cache that is required; says
                why.

        """
        if self._options.precision == 'fp32':
            formats = {}
        key = self._engine_key(graph, shapes, formats)
        try:
            engine = self._load(key)
            if engine is None:
                with self._lock(key):
                    # Another process may have built it while this one waited.
                    engine = self._load(key) or self._build(graph, shapes, formats, key)
            if 'agreement' not in self.cache.facts(key):
                self._unverified.append(key)
            compiled = self._runtime_cache(engine, key)
            return Execution(self.tensorrt, engine, key.name, compiled, self.cuda)
        finally:
            self._report_warnings()

    def load_kernels(self) -> Any:
        """Load our kernels, compiled for this GPU now or earlier."""
        return load_kernels(self.gpu, self.cuda.load, self.cache, self._keep, self.report)

    def begin_size(self) -> None:
        """Forget engines of a size that could not be opened whole: nothing compares them now."""
        self._unverified.clear()

    @property
    def unverified(self) -> bool:
        """Whether engines of this size were never compared with ONNX Runtime."""
        return bool(self._unverified)

    def commit_engines(self, facts: Mapping[str, float]) -> None:
        """Store how well the unverified engines agree with ONNX Runtime."""
        for key in self._unverified:
            self._keep(self.cache.note, key, facts)
        self._unverified.clear()

    def discard_engines(self, reason: Exception) -> None:
        """
        Remove the unverified engines from the cache, because they could not be compared.

        Where the GPU was lost meanwhile, for the first time, they stay to be compared at the next
        start, which then need not build them; at the second time they may be why.
        """
        for key in self._unverified:
            if isinstance(reason, GpuLostError) and not self.cache.facts(key).get(_LOST):
                self._keep(self.cache.note, key, {_LOST: 1})
            else:
                self._keep(self.cache.discard, key)
        self._unverified.clear()

    def refuse_engines(
        self, case: Mapping[str, str], reason: str, facts: Mapping[str, float]
    ) -> str:
        """Remove the unverified engines from the cache, and keep why in their place."""
        for unverified in self._unverified:
            self._keep(self.cache.discard, unverified)
        self._unverified.clear()
        key = self._verdict_key(case)
        self._keep(write_refusal, self.cache, key, reason, facts)
        return read_refusal(self.cache, key) or reason

    def refusal(self, case: Mapping[str, str]) -> str:
        """Return why engines of this case were refused earlier; empty if they are to be tried."""
        key = self._verdict_key(case)
        if self._options.retry_refused:
            self._keep(self.cache.discard, key)
        return read_refusal(self.cache, key)

    def close(self) -> None:
        """Free the memory of the GPU; calling it again does nothing."""
        self._runtime = None
        self.cuda.close()

    def _report_warnings(self) -> None:
        """Repeat what TensorRT warned of, each text once."""
        warnings = self.tensorrt.log.warnings
        while warnings:
            text = warnings.popleft()
            if text not in self._told:
                self._told.add(text)
                self._options.report(f'TensorRT warns: {text}')

    def _keep(self, change: Callable[..., object], *arguments: Any) -> None:
        """Change the cache; where that fails, warn once for each reason, or raise if asked to."""
        try:
            change(*arguments)
        except CacheError as err:
            if self._options.require_cache:
                raise
            if str(err) != self._warned:
                self._options.warn(f'engines are built again at the next start: {err}')
            self._warned = str(err)

    @contextmanager
    def _lock(self, key: Key) -> Iterator[None]:
        """Keep other processes from building the same, if the cache can be written."""
        with ExitStack() as held:
            self._keep(held.enter_context, self.cache.lock(key))
            yield

    def _engine_key(self, graph: Graph, shapes: Shapes, formats: Mapping[str, str]) -> Key:
        fields = {
            **self._graphs.fields(graph, shapes),
            'formats': '; '.join(f'{name} {kind}' for name, kind in sorted(formats.items())),
            'workspace_mb': str(self._options.workspace_mb),
            **self._platform(),
        }
        return Key('engine', self._graphs.name(graph, shapes), fields)

    def _verdict_key(self, case: Mapping[str, str]) -> Key:
        fields = {
            **self._graphs.common_fields(),
            'workspace_mb': str(self._options.workspace_mb),
            'kernels': source_sha256(),
            **self._platform(),
            **case,
        }
        return Key('verdict', f'{self._bundle}-{self._options.precision}-{case["size"]}', fields)

    def _platform(self) -> dict[str, str]:
        return {
            'tensorrt': str(self.tensorrt),
            'gpu': self.gpu.name,
            'capability': '.'.join(map(str, self.gpu.capability)),
            'multiprocessors': str(self.gpu.multiprocessors),
            'l4t': self.gpu.l4t or 'none',
        }

    def _load(self, key: Key) -> Any | None:
        found = self.cache.read(key)
        if found is None:
            return None
        engine = self._runtime.deserialize_cuda_engine(found[0])
        if engine is None:
            # Whole and of this version by its sidecar, but TensorRT thinks otherwise.
            self._options.report(str(self.tensorrt.error(f'engine {key.name} is not accepted')))
            self._keep(self.cache.discard, key)
        return engine

    def _runtime_cache(self, engine: Any, key: Key) -> RuntimeCache | None:
        """Give TensorRT for RTX what it compiled for this engine at an earlier start."""
        if not self.tensorrt.is_rtx:
            return None
        # Its sidecar lies beside that of the engine.
        kept = Key('runtime', f'{key.name}-runtime', key.fields)
        found = self.cache.read(kept)
        keep = partial(self._keep, self.cache.write, kept)
        return RuntimeCache(engine, found[0] if found else b'', keep)

    def _build(self, graph: Graph, shapes: Shapes, formats: Mapping[str, str], key: Key) -> Any:
        options = self._options
        options.report(f'building engine {key.name}: {self.cache.fault(key)}')
        model = self._graphs.load(
            graph,
            shapes,
            plain_norms=not self.tensorrt.has_layer_norm,
            half_scales=self.tensorrt.strongly_typed,
        )
        timing = Key('timing', 'timing', self._platform())
        earlier = self.cache.read(timing)
        built = build_plan(
            self.tensorrt,
            model.SerializeToString(),
            shapes,
            capability=self.gpu.capability,
            precision=options.precision,
            workspace_mb=options.workspace_mb,
            float32_tensors=self._graphs.float32_tensors(model),
            formats=formats,
            timing_cache=earlier[0] if earlier else b'',
            on_progress=options.on_progress,
        )
        if built.timing_cache:
            self._keep(self.cache.write, timing, built.timing_cache)
        engine = self._runtime.deserialize_cuda_engine(built.plan)
        if engine is None:
            raise self.tensorrt.error(f'engine {key.name} was built, but cannot be loaded')
        self._keep(self.cache.write, key, built.plan)
        return engine


def open_backend(bundle: Bundle, options: EngineOptions) -> TensorRTBackend:
    """Open TensorRT for a bundle; `auto` is fp16. See `TensorRTBackend`."""
    return TensorRTBackend(bundle.name, options.resolve_precision('fp16'))
