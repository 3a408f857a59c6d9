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

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TYPE_CHECKING

from uhr_seg_ros.backends.engine import Shapes
from uhr_seg_ros.backends.options import EngineOptions, PRECISIONS
from uhr_seg_ros.backends.tensorrt.api import load_tensorrt, TensorRTError
from uhr_seg_ros.backends.tensorrt.cache import EngineCache, Key
from uhr_seg_ros.backends.tensorrt.cache_keeper import CacheKeeper
from uhr_seg_ros.backends.tensorrt.compiling import source_sha256
from uhr_seg_ros.backends.tensorrt.cuda import Cuda
from uhr_seg_ros.backends.tensorrt.engine import Execution, HostEngine
from uhr_seg_ros.backends.tensorrt.engine_memory import EngineMemory
from uhr_seg_ros.backends.tensorrt.engine_store import EngineStore, platform_fields
from uhr_seg_ros.backends.tensorrt.kernel_loading import load_kernels
from uhr_seg_ros.backends.tensorrt.verdicts import Verdicts
from uhr_seg_ros.core.bundle import Bundle, Graph
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.gpu import find_gpu, Gpu

if TYPE_CHECKING:
    from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs


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

    Engines come from the cache, or are built and kept there. Where the cache cannot be written,
    they are built anew each time, unless the options ask for an error.

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
        self._keep = CacheKeeper(self.cache, options)
        self._verdicts = Verdicts(self.cache, self._keep, self._refusal_key)
        self._told: set[str] = set()
        self.cuda = Cuda()
        own_bytes = 0 if self.cuda.is_integrated else self.gpu.memory
        platform = platform_fields(self.tensorrt, self.gpu)
        self.memory = EngineMemory(self._graphs, self.cache, self._keep, platform, own_bytes)
        try:
            self._engines = EngineStore(
                self.tensorrt, self.gpu, self._graphs, self.cache, self._keep, options
            )
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
        key = self._engines.key(graph, shapes, formats)
        try:
            engine = self._engines.open(graph, shapes, formats, key)
            self._verdicts.opened(key)
            compiled = self._engines.runtime_cache(engine, key)
            return Execution(self.tensorrt, engine, key.name, compiled, self.cuda)
        finally:
            self._report_warnings()

    def load_kernels(self) -> Any:
        """Load our kernels, compiled for this GPU now or earlier."""
        return load_kernels(self.gpu, self.cuda.load, self.cache, self._keep, self.report)

    def begin_size(self) -> None:
        """Forget engines of a size that could not be opened whole: nothing compares them now."""
        self._verdicts.forget()

    @property
    def unverified(self) -> bool:
        """Whether engines of this size were never compared with ONNX Runtime."""
        return self._verdicts.unverified

    def commit_engines(self, facts: Mapping[str, float]) -> None:
        """Store how well the unverified engines agree with ONNX Runtime."""
        self._verdicts.commit(facts)

    def discard_engines(self, reason: Exception) -> None:
        """Remove the unverified engines from the cache, see `Verdicts.discard`."""
        self._verdicts.discard(reason)

    def refuse_engines(
        self, case: Mapping[str, str], reason: str, facts: Mapping[str, float]
    ) -> str:
        """Remove the unverified engines from the cache, and keep why in their place."""
        return self._verdicts.refuse(case, reason, facts)

    def refusal(self, case: Mapping[str, str]) -> str:
        """Return why engines of this case were refused earlier; empty if they are to be tried."""
        return self._verdicts.refusal(case, retry=self._options.retry_refused)

    def close(self) -> None:
        """Free the memory of the GPU; calling it again does nothing."""
        self._engines.close()
        self.cuda.close()

    def _report_warnings(self) -> None:
        """Repeat what TensorRT warned of, each text once."""
        warnings = self.tensorrt.log.warnings
        while warnings:
            text = warnings.popleft()
            if text not in self._told:
                self._told.add(text)
                self._options.report(f'TensorRT warns: {text}')

    def _refusal_key(self, case: Mapping[str, str]) -> Key:
        fields = {
            **self._graphs.common_fields(),
            'workspace_mb': str(self._options.workspace_mb),
            'kernels': source_sha256(),
            **platform_fields(self.tensorrt, self.gpu),
            **case,
        }
        return Key('verdict', f'{self._bundle}-{self._options.precision}-{case["size"]}', fields)


def open_backend(bundle: Bundle, options: EngineOptions) -> TensorRTBackend:
    """Open TensorRT for a bundle; `auto` is fp16. See `TensorRTBackend`."""
    return TensorRTBackend(bundle.name, options.resolve_precision('fp16'))
