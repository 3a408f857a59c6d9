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
Int8 convolutions that take and give half precision, with Q/DQ nodes of opset 19.

Until opset 17 the scales of Q/DQ nodes are float32, and so is everything between them: a
convolution in int8 is written in four bytes a value and cast to half by another kernel, which
together moves more than the same convolution in half. With scales in half there is no cast.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt

#: The first opset whose Q/DQ nodes have scales in half, and the format of files that has it.
OPSET, FORMAT = 19, 9

#: The smallest half that no GPU takes for zero.
SMALLEST_SCALE = float(np.finfo(np.float16).smallest_normal)

#: They are computed in the type of the convolution before them.
_FOLLOWING = frozenset({'Add', 'Clip', 'HardSigmoid', 'Mul', 'Relu'})

_HALF_LIMIT = float(np.finfo(np.float16).max)


def halve_scales(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Put what is float32 around int8 convolutions into half.

    Weights are quantized here, by their scales as they are after rounding.

    Args:
        model: as `to_half` gives it.

    Returns:
        The model in opset 19; the same one if nothing in it is quantized.

    """
    view = GraphView(model)
    if not any(node.op_type == 'DequantizeLinear' for node in view.nodes):
        return model
    return _to_opset_19(_Halving(view).run(model))


class _Halving:
    """Copies the nodes one by one and keeps account of what became half."""

    def __init__(self, view: GraphView) -> None:
        self._view = view
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._floats = {name for name, kind in view.types.items() if kind == TensorProto.FLOAT}
        #: What was float32 and is half now; a cast of it -> itself; tensor, type -> a copy.
        self._halved: set[str] = set()
        self._aliases: dict[str, str] = {}
        self._copies: dict[tuple[str, int], str] = {}

    def run(self, model: onnx.ModelProto) -> onnx.ModelProto:
        for original in self._view.nodes:
            node = onnx.NodeProto.FromString(original.SerializeToString())
            if node.op_type == 'QuantizeLinear' and node.input[0] in self._view.constants:
                self._quantize(node)
                continue
            if node.op_type in ('QuantizeLinear', 'DequantizeLinear'):
                self._take(node, self._half)
                self._halved |= self._floats & set(node.output)
            elif self._follows(node):
                self._take(node, self._half)
                self._halved.add(node.output[0])
            elif self._turns_to_half(node):
                # It turned to half what is half now. An output keeps its name.
                self._aliases[node.output[0]] = node.input[0]
                node.op_type = 'Identity'
                del node.attribute[:]
            else:
                self._take(node, self._single)
            self._nodes.append(node)
        return rebuilt(model, self._nodes, self._constants.values())

    def _follows(self, node: onnx.NodeProto) -> bool:
        """Tell if a node computes in float32 for no other reason than an int8 convolution."""
        variables = [name for name in node.input if name and name not in self._view.constants]
        return (
            node.op_type in {'Conv', *_FOLLOWING}
            and bool(variables)
            and all(name in self._halved for name in variables)
        )

    def _turns_to_half(self, node: onnx.NodeProto) -> bool:
        """Tell if a node casts to half what is half now."""
        if node.op_type != 'Cast' or node.input[0] not in self._halved:
            return False
        return attributes(node)['to'] == TensorProto.FLOAT16

    def _take(self, node: onnx.NodeProto, convert: Callable[[str], str]) -> None:
        for index, name in enumerate(node.input):
            if name in self._floats:
                node.input[index] = convert(name)
            else:
                node.input[index] = self._aliases.get(name, name)

    def _half(self, name: str) -> str:
        """Name a tensor that was float32 in half."""
        maker = self._view.makers.get(name)
        if name in self._halved:
            return name
        if maker is not None and maker.op_type == 'Cast':
            source = maker.input[0]
            if self._view.types[source] == TensorProto.FLOAT16:
                return self._aliases.get(source, source)
        return self._copy(name, TensorProto.FLOAT16)

    def _single(self, name: str) -> str:
        """Name a tensor that was float32 in float32."""
        return self._copy(name, TensorProto.FLOAT) if name in self._halved else name

    def _copy(self, name: str, kind: int) -> str:
        if (name, kind) not in self._copies:
            copy = f'{name}_in_{TensorProto.DataType.Name(kind).lower()}'
            self._copies[name, kind] = copy
            values = self._view.values(name)
            if values is None:
                self._nodes.append(helper.make_node('Cast', [name], [copy], copy, to=kind))
            else:
                half = self._round(name, values)
                self._constants[copy] = numpy_helper.from_array(half, copy)
        return self._copies[name, kind]

    def _round(self, name: str, values: np.ndarray) -> np.ndarray:
        if any(_scale_of(node) == name for node in self._view.readers[name]):
            return half_scale(values)
        return np.clip(values, -_HALF_LIMIT, _HALF_LIMIT).astype(np.float16)

    def _quantize(self, node: onnx.NodeProto) -> None:
        """Quantize a constant, by its scale as it is in half."""
        values, scale = (self._view.values(name) for name in node.input[:2])
        assert values is not None and scale is not None
        scale = half_scale(scale).astype(np.float32)
        if scale.ndim:
            shape = [1] * values.ndim
            shape[attributes(node).get('axis', 1)] = -1
            scale = scale.reshape(shape)
        name = node.output[0]
        quantized = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
        self._constants[name] = numpy_helper.from_array(quantized, name)


def half_scale(scale: np.ndarray) -> np.ndarray:
    """Round scales to half: not down, lest the largest value be clipped, and not to zero."""
    half = np.maximum(scale, SMALLEST_SCALE).astype(np.float16)
    return np.where(half < scale, np.nextafter(half, np.float16(np.inf)), half)


def _scale_of(node: onnx.NodeProto) -> str:
    return node.input[1] if node.op_type in ('QuantizeLinear', 'DequantizeLinear') else ''


def _to_opset_19(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrite what changed since opset 17: reductions take their axes as an input."""
    constants: list[onnx.TensorProto] = []
    for node in model.graph.node:
        found = attributes(node)
        if node.op_type.startswith('Reduce') and 'axes' in found:
            axes = f'{node.output[0]}_axes'
            constants.append(numpy_helper.from_array(np.array(found['axes'], np.int64), axes))
            kept = [each for each in node.attribute if each.name != 'axes']
            del node.attribute[:]
            node.attribute.extend(kept)
            node.input.append(axes)
        elif node.op_type == 'Split' and len(node.input) == 1:
            node.attribute.append(helper.make_attribute('num_outputs', len(node.output)))
    model.graph.initializer.extend(constants)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid('', OPSET))
    model.ir_version = max(model.ir_version, FORMAT)
    return model
