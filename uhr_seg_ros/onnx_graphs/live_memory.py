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

"""The memory that an engine takes for the maps of a graph, told before it is built."""

from __future__ import annotations

from itertools import accumulate
import math

import onnx
from onnx import helper

#: They give what they read, under another shape.
_VIEWS = frozenset({'Flatten', 'Identity', 'Reshape', 'Squeeze', 'Unsqueeze'})

#: They act value by value: an engine does so in the kernel of the operator before.
_POINTWISE = frozenset(
    {
        *('Abs', 'Add', 'BatchNormalization', 'Cast', 'Clip', 'DequantizeLinear', 'Div', 'Erf'),
        *('Exp', 'HardSigmoid', 'LeakyRelu', 'Log', 'Max', 'Min', 'Mul', 'Neg', 'Pow'),
        *('QuantizeLinear', 'Reciprocal', 'Relu', 'Sigmoid', 'Sqrt', 'Sub', 'Tanh', 'Where'),
    }
)


def memory_bytes(model: onnx.ModelProto) -> int:
    """
    Return what inputs, outputs and, at most at a time, the maps between them take, bytes.

    A model of what engines do: kernels run in the order of the graph, and a map is there from the
    kernel that writes it to the last one that reads it. Weights and the scratch memory of single
    kernels are not counted. It depends on nothing but the graph.

    Args:
        model: of fixed shapes, in any precision, as `fix_shapes` and `to_half` give it.

    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    ends = {each.name: _bytes(each) for each in (*graph.input, *graph.output)}
    sizes = {each.name: _bytes(each) for each in graph.value_info}
    written, read = _kernels(graph)
    changes = [0] * (len(graph.node) + 1)
    for name, kernel in written.items():
        if name not in ends and read.get(name, kernel) > kernel:
            changes[kernel] += sizes.get(name, 0)
            changes[read[name] + 1] -= sizes.get(name, 0)
    return sum(ends.values()) + max(accumulate(changes))


def _kernels(graph: onnx.GraphProto) -> tuple[dict[str, int], dict[str, int]]:
    """Return, for each map, the number of the kernel that writes it, and of the last reader."""
    written = {each.name: -1 for each in graph.input}
    read: dict[str, int] = {}
    shown: dict[str, str] = {}
    count = 0
    for node in graph.node:
        maps = [name for name in (shown.get(each, each) for each in node.input) if name in written]
        if node.op_type in _VIEWS and maps:
            shown[node.output[0]] = maps[0]
            continue
        # The last one that it reads from: the others have run by then.
        kernel = max((written[name] for name in maps), default=-1)
        if kernel < 0 or node.op_type not in _POINTWISE:
            kernel, count = count, count + 1
        read |= {name: max(read.get(name, 0), kernel) for name in maps}
        written |= dict.fromkeys(node.output, kernel)
    return written, read


def _bytes(tensor: onnx.ValueInfoProto) -> int:
    kind = tensor.type.tensor_type
    count = math.prod(dimension.dim_value for dimension in kind.shape.dim)
    return count * helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
