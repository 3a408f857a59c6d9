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

"""TensorRT engines at work: on device memory, or on arrays of the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TYPE_CHECKING

import numpy as np

from uhr_seg_ros.backends.engine import Shape, Shapes
from uhr_seg_ros.backends.tensorrt.api import TensorRT, TensorRTError
from uhr_seg_ros.backends.tensorrt.cuda import Cuda, GraphCaptureError, Stream
from uhr_seg_ros.backends.tensorrt.runtime_cache import RuntimeCache
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import EngineError

if TYPE_CHECKING:
    from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend


_DTYPES = {'FLOAT': np.float32, 'HALF': np.float16}


class TensorSpec(NamedTuple):
    """
    What one input or output of an engine holds.

    Attributes:
        shape: of its values.
        dtype: of its values.
        channels: that lie side by side, filled up with zeros; 1 where it lies row by row.

    """

    shape: tuple[int, ...]
    dtype: np.dtype
    channels: int = 1

    @property
    def size(self) -> int:
        """Bytes."""
        shape = list(self.shape)
        if self.channels > 1:
            shape[1] += -shape[1] % self.channels
        return int(np.prod(shape)) * self.dtype.itemsize


class Execution:
    """
    One engine, ready to run on bound device memory.

    Args:
        tensorrt: what built it.
        engine: deserialized.
        label: graph and size, for errors.
        runtime_cache: of the engine, where TensorRT has any.
        cuda: what it runs in, to tell a lost GPU from an engine that fails.

    Attributes:
        inputs: name -> tensor.
        outputs: name -> tensor.

    """

    def __init__(
        self,
        tensorrt: TensorRT,
        engine: Any,
        label: str,
        runtime_cache: RuntimeCache | None = None,
        cuda: Cuda | None = None,
    ) -> None:
        self._tensorrt, self._label, self._cuda = tensorrt, label, cuda
        # The context uses both without holding them.
        self._engine, self._runtime_cache = engine, runtime_cache
        configuration = [runtime_cache.config] if runtime_cache else []
        self._context = engine.create_execution_context(*configuration)
        if self._context is None:
            raise tensorrt.error(f'engine {label} gets no memory to run in')
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        first = tensorrt.module.TensorIOMode.INPUT
        inputs = [name for name in names if engine.get_tensor_mode(name) == first]
        self.inputs = {name: self._tensor(name) for name in inputs}
        self.outputs = {name: self._tensor(name) for name in names if name not in inputs}

    @property
    def memory_bytes(self) -> int:
        """What it takes of the GPU while it runs, inputs and outputs too, without weights."""
        # The old name is gone from TensorRT 11, the new one came with 10.
        names = ('device_memory_size_v2', 'device_memory_size')
        maps = next(getattr(self._engine, name) for name in names if hasattr(self._engine, name))
        return maps + sum(spec.size for spec in (*self.inputs.values(), *self.outputs.values()))

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Set the addresses of all tensors, inputs and outputs."""
        for name in (*self.inputs, *self.outputs):
            self._context.set_tensor_address(name, addresses[name])

    def enqueue(self, stream: Stream) -> None:
        """
        Run once on a stream, behind what is on it.

        Raises:
            TensorRTError: TensorRT refuses.
            GpuLostError: and why it does is that nothing can be done on the GPU any more.

        """
        if not self._context.execute_async_v3(stream.handle):
            error = self._tensorrt.error(f'engine {self._label} failed')
            if self._cuda is not None:
                self._ask(self._cuda, error)
            raise error
        if self._runtime_cache is not None:
            self._runtime_cache.after_run()

    def check_capture(self, stream: Stream) -> None:
        """
        Refuse to be captured, as TensorRT for RTX may: the engine takes memory while it runs.

        Args:
            stream: that is to be captured, and is not yet.

        Raises:
            GraphCaptureError: a CUDA graph cannot hold the engine's work.

        """
        if self._tensorrt.is_rtx and not self._context.is_stream_capturable(stream.handle):
            msg = f'engine {self._label} cannot be captured, says {self._tensorrt}'
            raise GraphCaptureError(msg)

    @staticmethod
    def _ask(cuda: Cuda, error: TensorRTError) -> None:
        """Let the driver, which refuses everything then, tell that the GPU is lost."""
        try:
            cuda.memory()
        except GpuLostError as lost:
            raise lost from error

    def _tensor(self, name: str) -> TensorSpec:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _DTYPES:
            msg = f'engine {self._label}: tensor {name} is {kind}, expected {", ".join(_DTYPES)}'
            raise TensorRTError(msg)
        shape = tuple(self._engine.get_tensor_shape(name))
        # -1 for one that lies row by row.
        channels = max(self._engine.get_tensor_components_per_element(name), 1)
        return TensorSpec(shape, np.dtype(_DTYPES[kind]), channels)


class HostEngine:
    """
    One graph of a bundle on the GPU; see `Engine`.

    Engines have fixed shapes: a smaller batch is filled up, and what that gives is left out.
    Arrays of the host are float32, whatever the engine computes in.

    Args:
        backend: opens the engine; it stays open longer than this.
        graph: graph of a bundle.
        shapes: input name -> shape; the first axis is the batch.

    Raises:
        EngineError: the engine cannot be built or gets no memory.

    """

    keeps_memory = True

    def __init__(self, backend: TensorRTBackend, graph: Graph, shapes: Shapes) -> None:
        self.name = backend.name
        self._backend, self._cuda = backend, backend.cuda
        self._graph = graph.name
        self._execution = backend.execution(graph, shapes)
        self._tensors = {**self._execution.inputs, **self._execution.outputs}
        self._addresses: dict[str, int] = {}
        self._stream = self._cuda.stream()
        for name, spec in self._tensors.items():
            self._addresses[name] = self._cuda.allocate(spec.size)
        self._execution.bind(self._addresses)

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """TensorSpec name -> shape."""
        return {name: spec.shape for name, spec in self._execution.inputs.items()}

    @property
    def output_shapes(self) -> dict[str, Shape]:
        """TensorSpec name -> shape."""
        return {name: spec.shape for name, spec in self._execution.outputs.items()}

    @property
    def memory_bytes(self) -> int:
        """What it takes of the GPU, see `Execution.memory_bytes`."""
        return self._execution.memory_bytes

    def provenance(self) -> dict[str, str]:
        """Return what runs the graph; see `Engine.provenance`."""
        return self._backend.provenance()

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """
        Run once; see `Engine.run`.

        Raises:
            EngineError: an input does not fit, or the back end failed.

        """
        count = max(len(values) for values in feeds.values())
        for name, spec in self._execution.inputs.items():
            filled = self._filled(name, feeds[name])
            self._cuda.upload(self._addresses[name], filled.astype(spec.dtype), self._stream)
            # The array may go as soon as the copy is done.
            self._cuda.synchronize(self._stream)
        self._execution.enqueue(self._stream)
        found = {name: self._download(name) for name in outputs}
        self._cuda.synchronize(self._stream)
        return {
            name: values[:count].astype(np.float32, copy=False) for name, values in found.items()
        }

    def forget(self) -> None:
        """Keep the memory, which is that of the engine."""

    def close(self) -> None:
        """Free the memory."""
        for address in self._addresses.values():
            self._cuda.free(address)
        self._addresses.clear()

    def _filled(self, name: str, values: np.ndarray) -> np.ndarray:
        """Repeat the last sample until the batch is full."""
        shape = self._execution.inputs[name].shape
        missing = shape[0] - len(values)
        if missing < 0 or values.shape[1:] != shape[1:]:
            msg = f'graph {self._graph}: {name} has shape {values.shape}, its engine takes {shape}'
            raise EngineError(msg)
        return np.concatenate([values, values[-1:].repeat(missing, 0)]) if missing else values

    def _download(self, name: str) -> np.ndarray:
        spec = self._tensors[name]
        values = np.empty(spec.shape, spec.dtype)
        self._cuda.download(values, self._addresses[name], self._stream)
        return values
