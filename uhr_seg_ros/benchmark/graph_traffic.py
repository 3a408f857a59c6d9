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

"""What the graphs of a bundle make a GPU move and multiply for one frame, on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import onnx

from uhr_seg_ros.backends.tensorrt.specialized_graphs import convert
from uhr_seg_ros.core.bundle import Bundle, Graph
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.onnx_graphs.folding import fix_shapes, parse
from uhr_seg_ros.onnx_graphs.graph_view import GraphView
from uhr_seg_ros.onnx_graphs.qdq import insert_qdq, quantized_convolutions
from uhr_seg_ros.onnx_graphs.traffic import DEVICES, Kernel, kernels_of, paper_ms, REACHED
from uhr_seg_ros.pipelines.tiling import padded_size

#: What logits and maps of a graph for engines may be; a mask is made of them by our kernels.
_FLOAT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def measure_traffic(
    bundle: Bundle,
    size: tuple[int, int],
    precision: str,
    *,
    rewrites: bool = True,
    on_graph: Callable[[dict[str, Any], int], object] = lambda report, total: None,
) -> dict[str, Any]:
    """
    Count what the engines of a bundle move for one frame that is not cut into tiles.

    They are those of TensorRT 10 or newer, or as the bundle has them.

    Args:
        bundle: of any kind; of patches and contexts, one of each is counted.
        size: height and width of the frame, px.
        precision: `fp32`, `fp16` or `int8`.
        rewrites: whether the graphs are rewritten for a GPU, as they are for engines.
        on_graph: called after each graph with what is returned, as far as it is known, and the
            number of all graphs.

    Returns:
        `bundle`, `size`, `precision`, `rewritten`, and `graphs`: name -> `kernels`, `read_mb`,
        `written_mb`, `gmac`, `paper_ms` (device -> ms at 80 and 75 % of its peaks) and
        `operators`, operator -> the first four of these.

    Raises:
        BundleError: a file is not the one that the bundle names.
        EngineError: a graph cannot be fixed to this size.

    """
    graphs: dict[str, Any] = {}
    report = {
        'bundle': bundle.name,
        'size': list(size),
        'precision': precision,
        'rewritten': rewrites,
        'graphs': graphs,
    }
    total = sum(gives_floats(each) for each in _engine_graphs(bundle).values())
    for name, model in engine_graphs(bundle, size, precision, rewrites=rewrites):
        graphs[name] = _traffic(kernels_of(GraphView(model)))
        on_graph(report, total)
    return report


def engine_graphs(
    bundle: Bundle, size: tuple[int, int], precision: str, *, rewrites: bool = True
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """
    Give the graphs that engines for a frame size are built of, by name, one after the other.

    Those in int8 have made-up ranges: they are good for counting only. See `measure_traffic`.
    """
    for name, model in fixed_graphs(bundle, _engine_graphs(bundle), size):
        if precision == 'int8':
            model = _with_qdq(model)
        yield name, convert(model, precision, half_scales=rewrites, rewrites=rewrites)


def _engine_graphs(bundle: Bundle) -> dict[str, Graph]:
    # What ranks tiles runs on a CPU only.
    return {n: each for n, each in bundle.graphs.items() if n not in bundle.kind.optional}


def fixed_graphs(
    bundle: Bundle, graphs: Mapping[str, Graph], size: tuple[int, int]
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """
    Fix the graphs that give floats to a frame size, one after the other.

    Args:
        bundle: of any kind.
        graphs: its graphs by name, in any precision.
        size: height and width of the frame, px.

    Raises:
        BundleError: a file is not the one that the bundle names.
        EngineError: a graph cannot be fixed to this size.

    """
    height, width = padded_size(size, bundle.multiple)
    factor = bundle.low_res_factor
    low = {'low_height': height // factor, 'low_width': width // factor}
    if bundle.input_size is not None:
        height, width = bundle.input_size
    elif bundle.kind.sees_reduced_frame:
        height, width = low.values()
    lengths = {
        'height': height,
        'width': width,
        **low,
        'half_height': height // 2,
        'half_width': width // 2,
        'rows': height // 16,
        'columns': width // 16,
        'quarter_height': height // 4,
        'quarter_width': width // 4,
    }
    for name, graph in graphs.items():
        if not gives_floats(graph):
            continue
        content = graph.read()
        description = parse(content, graph.path).graph
        shapes = {tensor.name: _shape(bundle, tensor, lengths) for tensor in description.input}
        yield name, fix_shapes(content, shapes, graph.path)


def gives_floats(graph: Graph) -> bool:
    """Tell whether a graph is one for engines: a mask is made by kernels of this package."""
    return all(_is_float(each) for each in parse(graph.read(), graph.path).graph.output)


def _is_float(tensor: onnx.ValueInfoProto) -> bool:
    return tensor.type.tensor_type.elem_type in _FLOAT_TYPES


def _shape(
    bundle: Bundle, tensor: onnx.ValueInfoProto, lengths: Mapping[str, int]
) -> tuple[int, ...]:
    shape = []
    for axis, dimension in enumerate(tensor.type.tensor_type.shape.dim):
        name = bundle.kind.axis_name(tensor.name, axis)
        length = dimension.dim_value if name is None else lengths.get(name, 1)
        if length < 1:
            msg = f'bundle {bundle.path}: the length of axis {axis} of {tensor.name} is not known'
            raise EngineError(msg)
        shape.append(length)
    return tuple(shape)


def _with_qdq(model: onnx.ModelProto) -> onnx.ModelProto:
    places = quantized_convolutions(model)
    ends = {model.graph.node[place].input[0]: 1.0 for place in places}
    return insert_qdq(model, places, ends) if places else model


def _traffic(kernels: Sequence[Kernel]) -> dict[str, Any]:
    operators: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        operators.setdefault(kernel.operator, []).append(kernel)
    largest_first = sorted(
        operators.items(), key=lambda each: -sum(kernel.bytes for kernel in each[1])
    )
    times = {
        device: [round(paper_ms(kernels, DEVICES[device], share), 3) for share in REACHED[::-1]]
        for device in DEVICES
    }
    return {
        **_sums(kernels),
        'paper_ms': times,
        'operators': {operator: _sums(group) for operator, group in largest_first},
    }


def _sums(kernels: Sequence[Kernel]) -> dict[str, Any]:
    return {
        'kernels': len(kernels),
        'read_mb': round(sum(kernel.read for kernel in kernels) / 1e6, 1),
        'written_mb': round(sum(kernel.written for kernel in kernels) / 1e6, 1),
        'gmac': round(sum(kernel.macs for kernel in kernels) / 1e9, 2),
    }
