# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The precision of an engine, written into its ONNX graph.

Strongly typed TensorRT computes in the types that the file has, so the file decides: the same on
every version, and a graph in float32 never poses as one in float16.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.onnx_graphs.fp16_rounding import rounded, summed_axes

#: Another value of this builds all engines anew: raise it with every change of the results.
CONVERSION = '2'

#: Operators that lose too much in float16: exponentials, and means and sums of many values.
FLOAT32_OPERATORS = frozenset(
    {
        'Softmax',
        'LayerNormalization',
        'BatchNormalization',
        'ReduceMean',
        'ReduceSum',
        'Pow',
        'Sqrt',
        'Exp',
        'Log',
        'TopK',
        'QuantizeLinear',
        'DequantizeLinear',
    }
)

#: What TensorRT computes as the end of the convolution before it.
FUSED_OPERATORS = frozenset({'Relu', 'HardSigmoid', 'Mul', 'Add', 'Clip'})

#: What may stand between products and the quotient that normalises them.
_LINEAR_OPERATORS = frozenset(
    {
        'MatMul',
        'Add',
        'Mul',
        'Cast',
        'Concat',
        'Pad',
        'Reciprocal',
        'ReduceSum',
        'Reshape',
        'Slice',
        'Split',
        'Squeeze',
        'Transpose',
        'Unsqueeze',
    }
)

#: Operator -> inputs that are float32 in every precision.
_ALWAYS_FLOAT32 = {'Resize': (1, 2)}

_HALF_LIMIT = float(np.finfo(np.float16).max)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Compute in float16 wherever that is good enough.

    Inputs and outputs become float16 too. `FLOAT32_OPERATORS` stay float32, and so do sums that
    are normalised later; a convolution between Q/DQ nodes stays with them.

    Args:
        model: as `fix_shapes` gives it, with or without Q/DQ nodes.

    """
    return _Halving(model).run()


def float32_tensors(model: onnx.ModelProto) -> set[str]:
    """Name the tensors of a converted model that are float32."""
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {name for name, kind in _types(typed).items() if kind == TensorProto.FLOAT}


def split_layer_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write layer normalisation in operators that TensorRT 8.5 has."""
    nodes: list[onnx.NodeProto] = []
    for place, node in enumerate(model.graph.node):
        if node.op_type == 'LayerNormalization':
            nodes += _plain_layer_norm(model, node, f'layer_norm_{place}')
        else:
            nodes.append(node)
    return _with_nodes(model, nodes)


def _plain_layer_norm(
    model: onnx.ModelProto, node: onnx.NodeProto, name: str
) -> list[onnx.NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, over the last axis."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if attributes.get('axis', -1) != -1:
        msg = f'layer normalisation {node.name} is over axis {attributes["axis"]}, expected -1'
        raise EngineError(msg)
    epsilon = np.array(attributes.get('epsilon', 1e-5), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(epsilon, f'{name}_epsilon'))
    source, weight, *bias = node.input
    steps = [
        ('ReduceMean', [source], 'mean', {'axes': [-1], 'keepdims': 1}),
        ('Sub', [source, f'{name}_mean'], 'centred', {}),
        ('Mul', [f'{name}_centred', f'{name}_centred'], 'square', {}),
        ('ReduceMean', [f'{name}_square'], 'variance', {'axes': [-1], 'keepdims': 1}),
        ('Add', [f'{name}_variance', f'{name}_epsilon'], 'safe', {}),
        ('Sqrt', [f'{name}_safe'], 'deviation', {}),
        ('Div', [f'{name}_centred', f'{name}_deviation'], 'normal', {}),
        ('Mul', [f'{name}_normal', weight], 'weighted', {}),
    ]
    if bias:
        steps.append(('Add', [f'{name}_weighted', *bias], 'biased', {}))
    nodes = [
        helper.make_node(operator, inputs, [f'{name}_{result}'], f'{name}_{result}', **others)
        for operator, inputs, result, others in steps
    ]
    nodes[-1].output[0] = node.output[0]
    return nodes


class _Halving:
    """The work of `to_half`: walks over the nodes in order and casts where types meet."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._types = _types(onnx.shape_inference.infer_shapes(model, strict_mode=True))
        self._constants = {each.name: each for each in model.graph.initializer}
        self._kept = self._float32_nodes()
        self._nodes: list[onnx.NodeProto] = []
        #: float tensor -> its type in the new graph, and (tensor, type) -> name of a copy.
        self._now = {name: TensorProto.FLOAT for name in self._constants}
        self._copies: dict[tuple[str, int], str] = {}

    def run(self) -> onnx.ModelProto:
        graph = self._model.graph
        for tensor in (*graph.input, *graph.output):
            if tensor.type.tensor_type.elem_type == TensorProto.FLOAT:
                tensor.type.tensor_type.elem_type = TensorProto.FLOAT16
        self._now |= {tensor.name: TensorProto.FLOAT16 for tensor in graph.input}
        outputs = {tensor.name for tensor in graph.output}
        for place, node in enumerate(graph.node):
            kind = TensorProto.FLOAT if place in self._kept else TensorProto.FLOAT16
            self._convert(node, kind)
            self._nodes.append(node)
            for index, name in enumerate(node.output):
                if self._is_float(name):
                    self._now[name] = kind
                    if name in outputs and kind == TensorProto.FLOAT:
                        self._cast_output(node, index)
        return _with_nodes(self._model, self._nodes)

    def _float32_nodes(self) -> set[int]:
        """Choose the nodes that compute in float32."""
        kept = self._unnormalized_nodes()
        quantized: set[str] = set()
        for place, node in enumerate(self._model.graph.node):
            if self._is_quantized(node, quantized):
                quantized.update(node.output)
                kept.add(place)
            if node.op_type in FLOAT32_OPERATORS:
                kept.add(place)
        return kept

    def _unnormalized_nodes(self) -> set[int]:
        """
        Find sums that are divided only afterwards, such as those of linear attention.

        They sum over all pixels, and 65504 is the largest half.
        """
        nodes = self._model.graph.node
        makers = {name: place for place, node in enumerate(nodes) for name in node.output}
        kept: set[int] = set()
        waiting = [
            place
            for place, node in enumerate(nodes)
            if node.op_type == 'Div' and node.input[1] not in self._constants
        ]
        while waiting:
            place = waiting.pop()
            kept.add(place)
            for name in nodes[place].input:
                maker = makers.get(name)
                if maker is not None and maker not in kept and self._is_linear(nodes[maker]):
                    waiting.append(maker)
        return kept

    def _is_linear(self, node: onnx.NodeProto) -> bool:
        """Tell if a node hands on sums; a product with weights makes new numbers."""
        weighted = node.op_type == 'MatMul' and self._constants.keys() & set(node.input)
        return node.op_type in _LINEAR_OPERATORS and not weighted

    def _is_quantized(self, node: onnx.NodeProto, quantized: set[str]) -> bool:
        """Tell if a node runs in int8, or can be fused with one that does."""
        if any(name.endswith('_DequantizeLinear_Output') for name in node.input):
            return True
        variables = [name for name in node.input if name not in self._constants]
        return node.op_type in FUSED_OPERATORS and all(name in quantized for name in variables)

    def _convert(self, node: onnx.NodeProto, kind: int) -> None:
        exempt = _ALWAYS_FLOAT32.get(node.op_type, ())
        for index, name in enumerate(node.input):
            if self._is_float(name) and index not in exempt:
                axes = summed_axes(node.op_type, index)
                node.input[index] = self._as_type(name, kind, axes)
        for attribute in node.attribute:
            if node.op_type == 'Cast' and attribute.i == TensorProto.FLOAT:
                attribute.i = kind

    def _as_type(self, name: str, kind: int, axes: tuple[int, ...]) -> str:
        if self._now[name] == kind:
            return name
        if (name, kind) not in self._copies:
            copy = f'{name}_as_{TensorProto.DataType.Name(kind).lower()}'
            self._copies[name, kind] = copy
            if name in self._constants:
                self._add_half_constant(name, copy, axes)
            else:
                self._nodes.append(helper.make_node('Cast', [name], [copy], copy, to=kind))
        return self._copies[name, kind]

    def _add_half_constant(self, name: str, copy: str, axes: tuple[int, ...]) -> None:
        values = numpy_helper.to_array(self._constants[name])
        # Such as the least float, which stands for minus infinity.
        half = rounded(np.clip(values, -_HALF_LIMIT, _HALF_LIMIT), axes)
        self._model.graph.initializer.append(numpy_helper.from_array(half, copy))

    def _cast_output(self, node: onnx.NodeProto, index: int) -> None:
        name = node.output[index]
        node.output[index] = f'{name}_as_float'
        self._nodes.append(
            helper.make_node('Cast', [node.output[index]], [name], name, to=TensorProto.FLOAT16)
        )
        self._copies[name, TensorProto.FLOAT] = node.output[index]
        self._now[name] = TensorProto.FLOAT16

    def _is_float(self, name: str) -> bool:
        return self._types.get(name) == TensorProto.FLOAT


def _with_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Return a graph new nodes, and drop the constants that none of them uses."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    used = {name for node in nodes for name in node.input}
    constants = [each for each in model.graph.initializer if each.name in used]
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for field, values in (('node', nodes), ('initializer', constants)):
        result.graph.ClearField(field)
        getattr(result.graph, field).extend(values)
    del result.graph.value_info[:]
    return result


def _types(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    types = {each.name: each.data_type for each in graph.initializer}
    for tensor in (*graph.input, *graph.value_info, *graph.output):
        types[tensor.name] = tensor.type.tensor_type.elem_type
    return types
