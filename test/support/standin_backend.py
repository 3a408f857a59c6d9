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

"""`TensorRTBackend` with stand-ins for driver, CUDA and TensorRT; everything else is real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from host_cuda import HostCuda
import onnx
import pytest
from shared_sessions import share_sessions
from standin_tensorrt import make_tensorrt

from uhr_seg_ros.backends.tensorrt import backend, kernel_loading
from uhr_seg_ros.backends.tensorrt.api import describe
from uhr_seg_ros.backends.tensorrt.specialized_graphs import Shapes, SpecializedGraphs
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.gpu import Gpu

ORIN = Gpu('Orin', (8, 7), 30 << 30, (12, 6), 'R36.4.0', 16)
ADA = replace(
    ORIN,
    name='NVIDIA GeForce RTX 4070',
    capability=(8, 9),
    memory=12 << 30,
    driver_version=(13, 0),
    l4t=None,
    multiprocessors=46,
)


class HostCompiler:
    """Stands for nvcc: the kernels are those of the host."""

    name = 'stand-in'

    def version(self) -> tuple[int, int]:
        """Return the CUDA of JetPack 6.0."""
        return 12, 2

    def architectures(self) -> list[int]:
        """Know the GPUs of the stand-ins."""
        return [87, 89]

    def compile(self, architecture: int) -> bytes:
        """Return what `HostCuda.load` takes."""
        return b'\x7fELF'


class StandIn:
    """
    Puts the stand-ins in place.

    Attributes:
        cuda: the last context that was made.
        trt: the stand-in for TensorRT's module.
        gpu: what the driver answers.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path, version: str) -> None:
        self.trt: SimpleNamespace = make_tensorrt(version)
        self.gpu = ADA if version.startswith('rtx') else ORIN
        self.cuda: HostCuda | None = None
        self.order, self.graphs, self.is_integrated = 'lazy', True, False
        self.cache = cache
        monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
        monkeypatch.setattr(backend, 'find_gpu', self._find_gpu)
        share_sessions(monkeypatch)
        monkeypatch.setattr(SpecializedGraphs, 'load', _load_once)
        monkeypatch.setattr(backend, 'load_tensorrt', lambda: describe(self.trt))
        monkeypatch.setattr(backend, 'Cuda', self._make_cuda)
        monkeypatch.setattr(kernel_loading, 'find_compilers', lambda: [HostCompiler()])

    def _find_gpu(self) -> Gpu:
        self.trt.notes.capability = 'SM{}{}'.format(*self.gpu.capability)
        return self.gpu

    def _make_cuda(self) -> HostCuda:
        self.cuda = HostCuda(
            order=self.order, graphs=self.graphs, is_integrated=self.is_integrated
        )
        return self.cuda


_load = SpecializedGraphs.load
_loaded: dict[tuple, onnx.ModelProto] = {}


def _load_once(
    self: SpecializedGraphs, graph: Graph, shapes: Shapes, **options: bool
) -> onnx.ModelProto:
    """Convert a graph, once for tests that build the same engines; int8 depends on the cache."""
    if self._precision == 'int8':
        return _load(self, graph, shapes, **options)
    graph.read()  # or refuse what is not the file that was hashed
    key = graph.sha256, *shapes.items(), self._precision, *sorted(options.items())
    if key not in _loaded:
        if len(_loaded) > 40:
            _loaded.clear()
        _loaded[key] = _load(self, graph, shapes, **options)
    model = onnx.ModelProto()
    model.CopyFrom(_loaded[key])
    return model
