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
What a GPU computes with a graph in float16, computed on the CPU in float32.

ONNX Runtime on a CPU runs most operators of such a graph in float32 and rounds between few of
them. Here every float16 tensor is rounded. Sums inside one operator are in float32, as in the
tensor cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime as ort

#: The largest number that has fewer digits in float16 than the others.
LARGEST_SUBNORMAL = 1023 * 2.0**-24
#: Operators that give halves where they take halves, without rounding.
MOVES = {'Concat', 'Relu', 'Reshape', 'Slice', 'Split', 'Squeeze', 'Transpose', 'Unsqueeze'}


def emulate_half(model: onnx.ModelProto, *, flush: bool) -> onnx.ModelProto:
    """
    Write a graph that computes in float32 what `to_half` left in float16, with the same rounding.

    Args:
        model: of `to_half`; stays as it is.
        flush: make zero of what is below 6.1e-5, as hardware may; NaN becomes zero then, too.

    Returns:
        The graph with float32 inputs, which it rounds, and outputs.

    """
    half = _half_tensors(model)
    nodes: list[onnx.NodeProto] = []

    def round_to(name: str, source: str) -> None:
        steps: list[tuple[str, dict[str, Any]]] = [
            ('Cast', {'to': TensorProto.FLOAT16}),
            ('Cast', {'to': TensorProto.FLOAT}),
        ]
        if flush:
            steps.append(('Shrink', {'lambd': LARGEST_SUBNORMAL, 'bias': 0.0}))
        for count, (operator, attributes) in enumerate(steps, 1):
            result = name if count == len(steps) else f'{name}_step_{count}'
            nodes.append(helper.make_node(operator, [source], [result], **attributes))
            source = result

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for tensor in graph.input:
        if tensor.name in half:
            round_to(tensor.name, f'{tensor.name}_given')
            tensor.name = f'{tensor.name}_given'
    for node in graph.node:
        moved = node.op_type in MOVES and half.issuperset(node.output)
        if node.op_type == 'Cast':
            for attribute in node.attribute:
                if attribute.i == TensorProto.FLOAT16:
                    attribute.i = TensorProto.FLOAT
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in half and not moved:
                node.output[place] = f'{name}_exact'
                round_to(name, node.output[place])
    _make_float(graph, flush=flush)
    for field, values in (('node', nodes), ('value_info', [])):
        copies = [type(each).FromString(each.SerializeToString()) for each in values]
        graph.ClearField(field)
        getattr(graph, field).extend(copies)
    return result


def run_half(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], *, flush: bool = False
) -> dict[str, np.ndarray]:
    """Run a graph of `to_half` as `emulate_half` has it; arrays by name, float32."""
    emulated = emulate_half(model, flush=flush)
    return run_graph(emulated, {f'{name}_given': values for name, values in feeds.items()})


def run_graph(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a graph on ONNX Runtime; arrays by name."""
    session = ort.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def _half_tensors(model: onnx.ModelProto) -> set[str]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {
        each.name
        for each in (*graph.input, *graph.value_info, *graph.output)
        if each.type.tensor_type.elem_type == TensorProto.FLOAT16
    }


def _make_float(graph: onnx.GraphProto, *, flush: bool) -> None:
    for tensor in (*graph.input, *graph.output):
        if tensor.type.tensor_type.elem_type == TensorProto.FLOAT16:
            tensor.type.tensor_type.elem_type = TensorProto.FLOAT
    for constant in graph.initializer:
        if constant.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(constant).astype(np.float32)
            if flush:
                values[np.abs(values) <= LARGEST_SUBNORMAL] = 0
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
