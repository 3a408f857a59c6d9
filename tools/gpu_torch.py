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

"""
Graphs of a bundle in PyTorch, in the place of TensorRT's engines.

The half-precision graph that TensorRT would build runs operator by operator on the same stream
and at the same addresses, so that everything around the engines is what it is with TensorRT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import ctypes
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import numpy_helper
import torch

from tools.gpu_operators import Node, OPERATORS
from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Stream
from uhr_seg_ros.backends.tensorrt.engine import TensorSpec
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.gpu import Gpu

_TORCH = {np.dtype(np.float16): torch.float16, np.dtype(np.float32): torch.float32}
_NUMPY: dict[int, Any] = {onnx.TensorProto.FLOAT16: np.float16, onnx.TensorProto.FLOAT: np.float32}

LoadGraph = Callable[[Graph, Mapping[str, tuple[int, ...]]], onnx.ModelProto]


class Device(Protocol):
    """Where tensors lie and how work gets on a stream."""

    name: str

    def view(self, address: int, spec: TensorSpec) -> Any:
        """Return a tensor over memory that somebody else holds."""
        ...

    def run(self, stream: Stream, work: Callable[[], None]) -> None:
        """Put work on a stream, whose memory in between nobody else gets."""
        ...


class CudaDevice:
    """The GPU whose primary context `Cuda` and PyTorch share."""

    name = 'cuda'

    def __init__(self) -> None:
        # Pools are made of an allocator that has begun.
        torch.cuda.init()
        # Captured work goes on using its memory, so other work must not get it.
        self._pool = torch.cuda.MemPool()
        self._streams: dict[int, Any] = {}

    def view(self, address: int, spec: TensorSpec) -> Any:
        """Return a tensor over device memory."""
        return torch.as_tensor(_Borrowed(address, spec), device=self.name)

    def run(self, stream: Stream, work: Callable[[], None]) -> None:
        """Put work on a stream of pycuda's."""
        if stream.handle not in self._streams:
            self._streams[stream.handle] = torch.cuda.ExternalStream(stream.handle)
        with torch.cuda.stream(self._streams[stream.handle]), torch.cuda.use_mem_pool(self._pool):
            work()


class HostDevice:
    """Memory of the host, and streams that take Python functions; for dry runs and tests."""

    name = 'cpu'

    def view(self, address: int, spec: TensorSpec) -> Any:
        """Return a tensor over host memory."""
        memory = (ctypes.c_uint8 * spec.size).from_address(address)
        return torch.frombuffer(memory, dtype=_TORCH[spec.dtype]).reshape(spec.shape)

    def run(self, stream: Any, work: Callable[[], None]) -> None:
        """Put work on a stream of the stand-in."""
        stream.add(work)


class _Borrowed:
    """Device memory as `torch.as_tensor` takes it."""

    def __init__(self, address: int, spec: TensorSpec) -> None:
        self.__cuda_array_interface__ = {
            'shape': spec.shape,
            'typestr': spec.dtype.str,
            'data': (address, False),
            'strides': None,
            'version': 3,
        }


class TorchGraph:
    """
    A graph of fixed shapes, operator by operator.

    Args:
        model: as `SpecializedGraphs.load` gives it.
        device: `cuda` or `cpu`.
        channels_last: keep weights, and with them most maps, with their channels innermost.

    Raises:
        EngineError: it has an operator that is not in `OPERATORS`.

    """

    def __init__(self, model: onnx.ModelProto, device: str, *, channels_last: bool) -> None:
        graph = model.graph
        constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        unknown = sorted({node.op_type for node in graph.node} - OPERATORS.keys())
        if unknown:
            msg = f'the graph has {", ".join(unknown)}, which tools/gpu_operators.py lacks'
            raise EngineError(msg)
        nodes = [Node(node, constants) for node in graph.node]
        self._steps = [(OPERATORS[node.operator](node), node) for node in nodes]
        read = {name for node in nodes for name in node.inputs}
        self._constants = {
            name: _tensor(values, device, channels_last)
            for name, values in constants.items()
            if name in read
        }
        self._last = {name: place for place, node in enumerate(nodes) for name in node.inputs}
        self.outputs = [tensor.name for tensor in graph.output]

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the outputs; what is not needed any more is freed at once."""
        values = {**self._constants, **feeds}
        for place, (compute, node) in enumerate(self._steps):
            found = compute(*(values[name] if name else None for name in node.inputs))
            results = found if isinstance(found, (tuple, list)) else (found,)
            values.update(zip(node.outputs, results, strict=False))
            for name in {*node.inputs, *node.outputs}:
                if self._last.get(name, -1) <= place and name not in self.outputs:
                    values.pop(name, None)
        return {name: values[name] for name in self.outputs}


def _tensor(values: np.ndarray, device: str, channels_last: bool) -> Any:
    tensor = torch.from_numpy(np.array(values))
    if channels_last and tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    # From memory that is not locked: the copy is done when this returns, for every stream.
    return tensor.to(device)


class TorchExecution:
    """
    One graph on bound device memory; see `backends.tensorrt.engine.Execution`.

    Args:
        model: as `SpecializedGraphs.load` gives it.
        device: where it runs.
        channels_last: see `TorchGraph`.

    Attributes:
        inputs: name -> tensor.
        outputs: name -> tensor.

    """

    def __init__(self, model: onnx.ModelProto, device: Device, *, channels_last: bool) -> None:
        typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        self.inputs = {each.name: _spec(each) for each in typed.graph.input}
        self.outputs = {each.name: _spec(each) for each in typed.graph.output}
        self._graph = TorchGraph(model, device.name, channels_last=channels_last)
        self._device, self._channels_last = device, channels_last
        self._bound: dict[str, Any] = {}

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Set the addresses of all tensors, inputs and outputs."""
        for name, spec in {**self.inputs, **self.outputs}.items():
            self._bound[name] = self._device.view(addresses[name], spec)

    @property
    def memory_bytes(self) -> int:
        """What inputs and outputs take; PyTorch does not say beforehand what the rest does."""
        return sum(spec.size for spec in (*self.inputs.values(), *self.outputs.values()))

    def enqueue(self, stream: Stream) -> None:
        """Run once on a stream, behind what is on it."""
        self._device.run(stream, self._compute)

    def check_capture(self, stream: Stream) -> None:
        """Let it be captured: its memory is that of a pool."""

    @torch.inference_mode()
    def _compute(self) -> None:
        feeds = {name: self._bound[name] for name in self.inputs}
        if self._channels_last:
            form = {'memory_format': torch.channels_last}
            feeds = {n: x.contiguous(**form) if x.dim() == 4 else x for n, x in feeds.items()}
        for name, values in self._graph(feeds).items():
            self._bound[name].copy_(values)


def _spec(tensor: onnx.ValueInfoProto) -> TensorSpec:
    kind = tensor.type.tensor_type
    shape = tuple(dimension.dim_value for dimension in kind.shape.dim)
    return TensorSpec(shape, np.dtype(_NUMPY[kind.elem_type]))


class _NoMemory:
    """Learns nothing about the memory of graphs, since frames are tiled as they are told to be."""

    def note(self, *figures: object) -> None:
        """Forget it."""


class TorchBackend:
    """
    Opens graphs in PyTorch; what `TwoBranchGpu` uses of `TensorRTBackend`.

    Args:
        cuda: the context; closed with this.
        gpu: what the driver says about it.
        make_device: gives every graph its own.
        load_graph: gives the half-precision graph of a graph of the bundle at fixed shapes.
        cubin: the kernels.
        channels_last: see `TorchGraph`.

    """

    name = 'pytorch'
    #: What it computes is compared by who asks for it.
    unverified = False

    def __init__(
        self,
        cuda: Cuda,
        gpu: Gpu,
        make_device: Callable[[], Device],
        load_graph: LoadGraph,
        cubin: bytes,
        *,
        channels_last: bool = False,
    ) -> None:
        self.cuda, self.gpu = cuda, gpu
        self._make_device, self._load_graph = make_device, load_graph
        self._cubin, self._channels_last = cubin, channels_last
        self.said: list[str] = []
        self.memory = _NoMemory()
        # Sums in float32, as TensorRT's.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def execution(
        self, graph: Graph, shapes: Mapping[str, tuple[int, ...]], formats: object = None
    ) -> TorchExecution:
        """Open a graph at fixed shapes; all its tensors lie row by row, whatever is offered."""
        model = self._load_graph(graph, shapes)
        return TorchExecution(model, self._make_device(), channels_last=self._channels_last)

    def load_kernels(self) -> Any:
        """Load our kernels."""
        return self.cuda.load(self._cubin)

    def report(self, text: str) -> None:
        """Keep a line."""
        self.said.append(text)

    def provenance(self) -> dict[str, str]:
        """Return what runs the graphs."""
        device = self.gpu.name
        version = str(torch.__version__)
        return {
            'backend': self.name,
            'version': version,
            'device': device,
            'precision': 'fp16',
        }

    def begin_size(self) -> None:
        """Do nothing: there is no cache."""

    def refusal(self, case: object) -> str:
        """Refuse nothing."""
        return ''

    def close(self) -> None:
        """Free the memory of the GPU."""
        self.cuda.close()
