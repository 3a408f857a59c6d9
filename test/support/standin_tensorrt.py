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
A stand-in for the Python module `tensorrt` of a given version, with ONNX Runtime inside.

It has the names that the real bindings of that version have, and no others
(test/data/tensorrt_api.json lists them), so that code that uses a name too new or too old
fails. Engines compute on host memory, in the order of `host_cuda.HostStream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import ctypes
from enum import Enum
from functools import lru_cache
import json
from pathlib import Path
import pickle
from types import SimpleNamespace
from typing import Any

from host_cuda import HostStream
import numpy as np
import onnx
import onnxruntime as ort

API: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parents[1] / 'data/tensorrt_api.json').read_text()
)
VERSIONS = tuple(API)

_DTYPES = {'FLOAT': np.float32, 'HALF': np.float16, 'INT32': np.int32}

#: Operator -> type of the layer that the parser makes of it.
_LAYERS = {
    'AveragePool': 'POOLING',
    'Cast': 'IDENTITY',  # in 8.5; CAST in 8.6
    'Concat': 'CONCATENATION',
    'Conv': 'CONVOLUTION',
    'DepthToSpace': 'SHUFFLE',
    'DequantizeLinear': 'DEQUANTIZE',
    'Gemm': 'MATRIX_MULTIPLY',
    'HardSigmoid': 'ACTIVATION',
    'MatMul': 'MATRIX_MULTIPLY',
    'Pad': 'SLICE',
    'QuantizeLinear': 'QUANTIZE',
    'ReduceMean': 'REDUCE',
    'ReduceSum': 'REDUCE',
    'Relu': 'ACTIVATION',
    'Reshape': 'SHUFFLE',
    'Resize': 'RESIZE',
    'Slice': 'SLICE',
    'Softmax': 'SOFTMAX',
    'Split': 'SLICE',
    'Sqrt': 'UNARY',
    'Squeeze': 'SHUFFLE',
    'TopK': 'TOPK',
    'Transpose': 'SHUFFLE',
    'Unsqueeze': 'SHUFFLE',
    'Where': 'SELECT',
}


#: Members of `ComputeCapability` that TensorRT for RTX does not build for unless it is told to.
_NOT_BY_ITSELF = ('NONE', 'CURRENT', 'SM75')
#: Formats that the code under test may ask for -> channels that lie side by side.
_CHANNELS = {'CHW4': 4, 'HWC8': 8}


class ApiObject:
    """Base of the stand-in's classes: shows only what the real class of the version has."""

    api: frozenset[str] = frozenset()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith('_') and name not in type(self).api:
            msg = f'{type(self).__name__} of this TensorRT has no {name}'
            raise AttributeError(msg)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith('_') and name not in type(self).api:
            msg = f'{type(self).__name__} of this TensorRT has no {name}'
            raise AttributeError(msg)
        object.__setattr__(self, name, value)


def make_tensorrt(version: str) -> SimpleNamespace:
    """Make the module as `version`, one of `VERSIONS`, has it."""
    api = API[version]
    trt = SimpleNamespace()
    trt.__version__ = version.removeprefix('rtx')
    trt.__name__ = 'tensorrt_rtx' if version.startswith('rtx') else 'tensorrt'
    for name in (
        'DataType',
        'TensorIOMode',
        'MemoryPoolType',
        'BuilderFlag',
        'LayerType',
        'NetworkDefinitionCreationFlag',
        'ErrorCode',
        'ComputeCapability',
        'TensorFormat',
    ):
        if name in api:
            setattr(trt, name, _enum(name, api[name]))
    for base in (
        Log,
        Network,
        Layer,
        Input,
        Config,
        TimingCache,
        ParserError,
        Engine,
        Context,
        RuntimeConfig,
        RuntimeCache,
    ):
        setattr(trt, f'_{base.__name__}', _bound(base, trt, api.get(base.real, [])))
    for base in (Builder, Parser, Runtime):
        setattr(trt, base.real, _bound(base, trt, api[base.real]))
    trt.ILogger = trt._Log
    if 'IProgressMonitor' in api:
        trt.IProgressMonitor = type('IProgressMonitor', (), {})
    trt.notes = SimpleNamespace(
        flags=set(),
        creation=None,
        built=0,
        workspace=0,
        refuses='',
        held={},  # layers that were told a type, and which
        targets=[],  # names of the GPUs that TensorRT for RTX built for
        capability=None,  # of the GPU that is there
        driver='12.6',
        spoil={},
        memory_per_value=4,
        compiled=0,  # how often TensorRT for RTX compiled kernels of an engine
    )
    return trt


def _enum(name: str, members: list[str]) -> type[Enum]:
    names = [member for member in members if member[0].isupper()]
    kind = Enum(name, {member: place for place, member in enumerate(names)})
    kind.__int__ = lambda self: self.value  # as the real ones have it
    return kind


def _bound(base: type, trt: SimpleNamespace, names: list[str]) -> type:
    return type(base.__name__, (base,), {'_trt': trt, 'api': frozenset(names)})


class Log:
    """ILogger; the code under test derives from it, so its own names are allowed."""

    real = 'ILogger'
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ParserError(ApiObject):
    """What the parser complains of."""

    real = 'ParserError'

    def __init__(self, text: str) -> None:
        self._text = text

    def node(self) -> int:
        """Return the index of the node."""
        return 7

    def node_name(self) -> str:
        """Name the node."""
        return '/bad'

    def node_operator(self) -> str:
        """Name its operator."""
        return 'Bad'

    def code(self) -> Any:
        """Return what kind of error it is."""
        return self._trt.ErrorCode.INVALID_NODE

    def desc(self) -> str:
        """Say it in words."""
        return self._text


class Input(ApiObject):
    """A network input, or another tensor."""

    real = 'ITensor'

    def __init__(self, name: str, shape: tuple[int, ...] = (), dtype: str = 'FLOAT') -> None:
        self.name = name
        self.shape = shape
        self.allowed_formats = 0
        self.dtype = getattr(self._trt.DataType, dtype)


class Layer(ApiObject):
    """A layer of a network."""

    real = 'ILayer'

    def __init__(self, kind: str, name: str, inputs: list[Any], outputs: list[Any]) -> None:
        kinds = self._trt.LayerType
        self.name = name
        self.type = getattr(
            kinds, 'CAST' if kind == 'IDENTITY' and hasattr(kinds, 'CAST') else kind
        )
        self._inputs, self._outputs = inputs, outputs

    @property
    def num_inputs(self) -> int:
        """Count the inputs."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """Count the outputs."""
        return len(self._outputs)

    def get_input(self, index: int) -> Any | None:
        """Return an input; None where it was left out."""
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        """Return an output."""
        return self._outputs[index]

    @property
    def precision(self) -> Any:
        """In which type it computes."""
        return self._trt.notes.held[self.name]

    @precision.setter
    def precision(self, dtype: Any) -> None:
        self._trt.notes.held[self.name] = [dtype.name]

    def set_output_type(self, index: int, dtype: Any) -> None:
        """Note the type of an output; the real one, too, has none without the precision."""
        assert self._outputs[index].dtype.name in ('FLOAT', 'HALF')
        self._trt.notes.held[self.name].append(dtype.name)


class Network(ApiObject):
    """A parsed graph."""

    real = 'INetworkDefinition'

    def __init__(self) -> None:
        self._model: bytes = b''
        self._inputs: list[Any] = []
        self._layers: list[Any] | None = None
        self._outputs: list[Any] = []

    @property
    def num_outputs(self) -> int:
        """Count the outputs."""
        return len(self._outputs)

    def get_output(self, index: int) -> Any:
        """Return an output."""
        return self._outputs[index]

    @property
    def num_inputs(self) -> int:
        """Count the inputs."""
        return len(self._inputs)

    @property
    def num_layers(self) -> int:
        """Count the layers, which are made when somebody asks for them."""
        if self._layers is None:
            self._layers = list(_layers(self._trt, onnx.load_model_from_string(self._model)))
        return len(self._layers)

    def get_layer(self, index: int) -> Any:
        """Return a layer; they are in the order of computation."""
        assert self._layers is not None
        return self._layers[index]

    def get_input(self, index: int) -> Any:
        """Return an input."""
        return self._inputs[index]


class TimingCache(ApiObject):
    """How long tactics take."""

    real = 'ITimingCache'

    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> bytes:
        """Return it as bytes."""
        return self._content + b'+'


class Config(ApiObject):
    """Builder configuration."""

    real = 'IBuilderConfig'

    def __init__(self) -> None:
        self._timing: Any = None
        self._monitor: Any = None
        # As the real one has it, and Turing is not among what it then builds for.
        self._capabilities: list[Any] = []

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        """Limit the workspace."""
        assert pool is self._trt.MemoryPoolType.WORKSPACE
        self._trt.notes.workspace = size

    def set_flag(self, flag: Any) -> None:
        """Note a flag."""
        self._trt.notes.flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        """Note that a flag was cleared."""
        self._trt.notes.flags.discard(flag.name)

    def create_timing_cache(self, content: bytes) -> Any | None:
        """Refuse what is no cache, as the real one does."""
        return self._trt._TimingCache(content) if set(content) <= set(b'+') else None

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        """Take a cache."""
        assert not ignore_mismatch
        self._timing = cache
        return True

    def get_timing_cache(self) -> Any:
        """Return the cache."""
        return self._timing

    @property
    def num_compute_capabilities(self) -> int:
        """Count the kinds of GPU that are built for."""
        return len(self._capabilities)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        none = self._trt.ComputeCapability.NONE
        object.__setattr__(self, '_capabilities', [none] * count)

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        """Choose a kind of GPU."""
        assert compute_capability in self._trt.ComputeCapability
        self._capabilities[index] = compute_capability
        return True

    @property
    def progress_monitor(self) -> Any:
        """Who is told of the progress."""
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: Any) -> None:
        object.__setattr__(self, '_monitor', monitor)


class Builder(ApiObject):
    """Builds plans: the graph and its shapes, pickled."""

    real = 'Builder'

    def __init__(self, log: Any) -> None:
        self._log = log

    def create_network(self, flags: int) -> Any:
        """Make an empty network, and hold the caller to this version's flags."""
        known = {flag.name for flag in self._trt.NetworkDefinitionCreationFlag}
        given = {
            flag.name for flag in self._trt.NetworkDefinitionCreationFlag if flags & 1 << int(flag)
        }
        if 'EXPLICIT_BATCH' in known and 'STRONGLY_TYPED' not in known:
            assert given == {'EXPLICIT_BATCH'}
        self._trt.notes.creation = given
        return self._trt._Network()

    def create_builder_config(self) -> Any:
        """Make a configuration."""
        return self._trt._Config()

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        """Build, telling the monitor; None and a line in the log where it cannot."""
        if self._trt.notes.refuses:
            self._log.log(self._trt.ILogger.ERROR, self._trt.notes.refuses)
            return None
        monitor = config._monitor
        if monitor is not None:
            monitor.phase_start('Building engine', None, 2)
            go_on = [monitor.step_complete('Building engine', step) for step in range(2)]
            monitor.phase_finish('Building engine')
            if not all(go_on):
                return None
        self._trt.notes.built += 1
        shapes = {tensor.name: tuple(tensor.shape) for tensor in network._inputs}
        if hasattr(self._trt, 'ComputeCapability'):
            self._trt.notes.targets = _targets(self._trt, config)
        captured = 'REQUIRE_USER_ALLOCATION' in self._trt.notes.flags
        targets = self._trt.notes.targets
        formats = {
            tensor.name: kind.name
            for tensor in (*network._inputs, *network._outputs)
            for kind in self._trt.TensorFormat
            if tensor.allowed_formats == 1 << int(kind)
        }
        plan = self._trt.__version__, network._model, shapes, formats, targets, captured
        return pickle.dumps(plan)


class Parser(ApiObject):
    """Reads ONNX."""

    real = 'OnnxParser'

    def __init__(self, network: Any, log: Any) -> None:
        self._network = network
        self._errors: list[Any] = []

    def parse(self, model: bytes) -> bool:
        """Read a graph; refuses what the real ones refuse, bytes inside a graph among it."""
        try:
            found = onnx.load_model_from_string(model)
            onnx.checker.check_model(found)
        except Exception as err:
            self._errors.append(self._trt._ParserError(str(err)))
            return False
        if any(_makes_bytes(node) for node in found.graph.node):
            self._errors.append(self._trt._ParserError('no UINT8 for intermediate tensors'))
            return False
        self._network._model = model
        self._network._inputs = [self._trt._Input(each.name) for each in found.graph.input]
        self._network._outputs = [
            self._trt._Input(each.name, shape=_fixed_shape(each)) for each in found.graph.output
        ]
        return True

    @property
    def num_errors(self) -> int:
        """Count the errors."""
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        """Return an error."""
        return self._errors[index]


class Runtime(ApiObject):
    """Loads plans."""

    real = 'Runtime'

    def __init__(self, log: Any) -> None:
        self._log = log

    def deserialize_cuda_engine(self, plan: bytes) -> Any | None:
        """Load a plan of this version; None and a line in the log for any other bytes."""
        try:
            version, model, shapes, formats, targets, captured = pickle.loads(plan)
        except Exception:
            version = None
        capability = self._trt.notes.capability
        if version == self._trt.__version__ and targets and capability:
            version = version if capability in targets else 'of another GPU'
        if version != self._trt.__version__:
            text = 'header.magicTag == kEXPECTED_MAGIC_TAG failed'
            self._log.log(self._trt.ILogger.ERROR, text)
            return None
        return self._trt._Engine(model, shapes, formats, captured)


class Engine(ApiObject):
    """A loaded plan."""

    real = 'ICudaEngine'

    def __init__(
        self,
        model: bytes,
        shapes: dict[str, tuple[int, ...]],
        formats: dict[str, str],
        captured: bool = True,
    ) -> None:
        self._formats, self._captured = formats, captured
        self._session = _session(model)
        feeds = {
            each.name: np.zeros(shapes[each.name], _numpy_type(each.type))
            for each in self._session.get_inputs()
        }
        names = [each.name for each in self._session.get_outputs()]
        results = dict(zip(names, self._session.run(names, feeds), strict=True))
        self._inputs, self._outputs = feeds, results

    @property
    def num_io_tensors(self) -> int:
        """Count inputs and outputs."""
        return len(self._inputs) + len(self._outputs)

    def get_tensor_name(self, index: int) -> str:
        """Name a tensor."""
        return [*self._inputs, *self._outputs][index]

    def get_tensor_mode(self, name: str) -> Any:
        """Tell inputs from outputs."""
        modes = self._trt.TensorIOMode
        return modes.INPUT if name in self._inputs else modes.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Return a shape."""
        return {**self._inputs, **self._outputs}[name].shape

    def get_tensor_dtype(self, name: str) -> Any:
        """Return a type."""
        found = {**self._inputs, **self._outputs}[name].dtype
        label = next(label for label, dtype in _DTYPES.items() if dtype == found)
        return getattr(self._trt.DataType, label)

    def get_tensor_components_per_element(self, name: str) -> int:
        """Count the channels that lie side by side; -1 for a tensor that lies row by row."""
        return _CHANNELS.get(self._formats.get(name, ''), -1)

    def create_runtime_config(self) -> Any:
        """Make what TensorRT for RTX takes for a context."""
        return self._trt._RuntimeConfig()

    @property
    def device_memory_size(self) -> int:
        """What it takes beside its inputs and outputs, bytes."""
        pixels = max(each.size for each in self._inputs.values())
        return self._trt.notes.memory_per_value * pixels

    @property
    def device_memory_size_v2(self) -> int:
        """The same, as newer versions name it."""
        return Engine.device_memory_size.fget(self)

    def create_execution_context(self, runtime_config: Any = None) -> Any:
        """Make a context."""
        return self._trt._Context(self, runtime_config)


class RuntimeCache(ApiObject):
    """Compiled kernels."""

    real = 'IRuntimeCache'

    def __init__(self) -> None:
        self._content = b''

    def deserialize(self, blob: bytes) -> bool:
        """Take kernels of this GPU, driver and version, and no others."""
        is_ours = blob == self._kernels()
        self._content = blob if is_ours else self._content
        return is_ours

    def serialize(self) -> bytes:
        """Return what was compiled."""
        return self._content

    def _compile(self) -> None:
        if not self._content:
            self._trt.notes.compiled += 1
            self._content = self._kernels()

    def _kernels(self) -> bytes:
        notes = self._trt.notes
        return f'kernels of {self._trt.__version__}, {notes.capability}, {notes.driver}'.encode()


class RuntimeConfig(ApiObject):
    """What a context is made with."""

    real = 'IRuntimeConfig'

    def __init__(self) -> None:
        self._cache = self._trt._RuntimeCache()

    def create_runtime_cache(self) -> Any:
        """Make an empty cache."""
        return self._trt._RuntimeCache()

    def set_runtime_cache(self, cache: Any) -> bool:
        """Take a cache."""
        self._cache = cache
        return True


class Context(ApiObject):
    """Runs an engine."""

    real = 'IExecutionContext'

    def __init__(self, engine: Any, config: Any) -> None:
        self._engine = engine
        self._cache = config._cache if config else self._trt._RuntimeCache()
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Bind a tensor."""
        assert address % 256 == 0
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Run once, in the order of the stream."""
        engine = self._engine
        self._cache._compile()
        assert set(self._addresses) == {*engine._inputs, *engine._outputs}
        places = dict(self._addresses)

        def run() -> None:
            feeds = {
                name: _view(places[name], like, engine._formats.get(name)).copy()
                for name, like in engine._inputs.items()
            }
            results = engine._session.run(list(engine._outputs), feeds)
            for name, values in zip(engine._outputs, results, strict=True):
                self._trt.notes.spoil.get(name, lambda values: None)(values)
                _view(places[name], values, engine._formats.get(name))[...] = values

        HostStream.known[stream_handle].add(run)
        return True

    def is_stream_capturable(self, stream: int) -> bool:
        """Tell if a CUDA graph can hold the engine."""
        assert stream in HostStream.known
        return self._engine._captured


def _targets(trt: SimpleNamespace, config: Any) -> list[str]:
    """Name the GPUs that TensorRT for RTX builds for: by itself for all from Ampere on."""
    assert trt.ComputeCapability.NONE not in config._capabilities
    by_itself = [each for each in trt.ComputeCapability if each.name not in _NOT_BY_ITSELF]
    return [each.name for each in config._capabilities or by_itself]


def _layers(trt: SimpleNamespace, model: onnx.ModelProto) -> Iterator[Any]:
    """
    Make the layers of a graph as the parsers do.

    Constants are layers; a softmax along another axis than the last is two, of which the second
    has the name of the file.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {each.name: each.data_type for each in graph.initializer}
    for each in (*graph.input, *graph.value_info, *graph.output):
        types[each.name] = each.type.tensor_type.elem_type
    names = {onnx.TensorProto.FLOAT: 'FLOAT', onnx.TensorProto.FLOAT16: 'HALF'}

    def tensor(name: str) -> Any:
        return trt._Input(name, dtype=names.get(types[name], 'INT32'))

    for each in graph.initializer:
        yield trt._Layer('CONSTANT', each.name, [], [tensor(each.name)])
    for place, node in enumerate(graph.node):
        inputs = [tensor(name) if name else None for name in node.input]
        outputs = [tensor(name) for name in node.output if name]
        if node.op_type == 'Softmax':
            made = trt._Input(f'(Unnamed Layer* {place}) [Softmax]_output')
            yield trt._Layer('SOFTMAX', node.name, inputs, [made])
            yield trt._Layer('SHUFFLE', f'(Unnamed Layer* {place})', [made], outputs)
        else:
            kind = _LAYERS.get(node.op_type, 'ELEMENTWISE')
            yield trt._Layer(kind, node.name or f'layer {place}', inputs, outputs)


@lru_cache(maxsize=12)
def _session(model: bytes) -> ort.InferenceSession:
    """Open a graph, once for tests that build the same engines; a run changes nothing in it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=['CPUExecutionProvider'])


def _makes_bytes(node: onnx.NodeProto) -> bool:
    to = [attribute.i for attribute in node.attribute if attribute.name == 'to']
    return node.op_type == 'Cast' and onnx.TensorProto.UINT8 in to


def _numpy_type(name: str) -> type:
    return {'tensor(float)': np.float32, 'tensor(float16)': np.float16}[name]


def _view(address: int, like: np.ndarray, layout: str | None) -> np.ndarray:
    """See memory as an array of a shape, whichever way its channels lie there."""
    if layout is None:
        memory = (ctypes.c_uint8 * like.nbytes).from_address(address)
        return np.frombuffer(memory, like.dtype).reshape(like.shape)
    assert like.dtype == np.float16
    count, channels, height, width = like.shape
    assert count == 1
    # Of CHW4, maps of more than four channels would have several planes.
    lanes = channels + -channels % _CHANNELS[layout]
    assert lanes == 4 or layout == 'HWC8'
    memory = (ctypes.c_uint8 * (2 * lanes * height * width)).from_address(address)
    values = np.frombuffer(memory, like.dtype).reshape(1, height, width, lanes)
    # What convolutions multiply by zero: it must not be NaN.
    assert not values[..., channels:].any()
    return values[..., :channels].transpose(0, 3, 1, 2)


def _fixed_shape(tensor: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(each.dim_value for each in tensor.type.tensor_type.shape.dim)


def first_becomes(value: float, *names: str) -> dict[str, Callable[[np.ndarray], None]]:
    """Return what spoils outputs, for `notes.spoil`: a value in their first place."""

    def spoil(values: np.ndarray) -> None:
        values.flat[0] = value

    return dict.fromkeys(names, spoil)


def public_names() -> Iterator[tuple[str, str]]:
    """List (class, name) of everything that the stand-in offers."""
    for base in (
        Network,
        Layer,
        Input,
        Config,
        TimingCache,
        ParserError,
        Engine,
        Context,
        RuntimeConfig,
        RuntimeCache,
        Builder,
        Parser,
        Runtime,
    ):
        for name in vars(base):
            if not name.startswith('_') and name != 'real':
                yield base.real, name
