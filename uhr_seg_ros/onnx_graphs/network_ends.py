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

"""What the first and the last nodes of a network tell: normalization, layout, activations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from uhr_seg_ros.onnx_graphs.foreign_network import opset_of

# Operators that hand on values as they are.
_PASSING = ('Identity', 'Cast', 'Dropout')
_RESHAPING = ('Squeeze', 'Unsqueeze', 'Reshape', 'Transpose', 'Flatten')
_ACTIVATIONS = ('Softmax', 'Sigmoid')

_TO_CHANNELS_FIRST = [0, 3, 1, 2]

# How pipelines enlarge, and attributes of Resize beside which it does just that.
_HALF_PIXEL = (b'half_pixel', b'pytorch_half_pixel')
_PLAIN_RESIZE = {'mode', 'coordinate_transformation_mode', 'nearest_mode', 'cubic_coeff_a'}

# Pools over more than this average over regions, as those of a pyramid, and are scaled up again.
_LARGEST_POOL_STRIDE = 3


@dataclass(frozen=True)
class Head:
    """
    What a network does first with its input.

    Attributes:
        normalizes: whether it subtracts, or divides by, constants of its own.
        highest: largest value that these expect, 255 or 1.
        casts: whether it turns pixels into floats before anything else.
        layout: `NCHW` or `NHWC`, by its first convolution; empty where none is found.

    """

    normalizes: bool
    highest: float
    casts: bool
    layout: str


@dataclass(frozen=True)
class Tail:
    """
    Where the scores of a network are.

    Attributes:
        tensor: the scores, in front of what needs none of them.
        cut: the operators after it, in their order, such as Softmax and ArgMax.
        axis: of the classes in it, where an operator tells; it may be negative.

    """

    tensor: str
    cut: tuple[str, ...] = ()
    axis: int | None = None


class Constants:
    """
    The constants of a network by name, be they initializers or nodes.

    Args:
        model: the network.

    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == 'Constant' and (value := _attributes(node).get('value')):
                self._tensors[node.output[0]] = value

    def get(self, name: str) -> np.ndarray | None:
        """Return the values of a constant; None for what is computed."""
        tensor = self._tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)


def head_of(model: onnx.ModelProto, name: str) -> Head:
    """
    Look at what a network does first.

    Args:
        model: the network.
        name: of its input.

    """
    constants = Constants(model)
    steps: list[tuple[str, float]] = []
    layout, turned, casts = '', False, False
    while len(readers := [node for node in model.graph.node if name in node.input]) == 1:
        node = readers[0]
        if node.op_type == 'Conv':
            layout = 'NHWC' if turned else 'NCHW'
            break
        if node.op_type in ('Sub', 'Add', 'Mul', 'Div'):
            others = [constants.get(each) for each in node.input if each != name]
            if len(others) != 1 or others[0] is None or others[0].size not in (1, 3):
                break
            steps.append((node.op_type, float(np.abs(others[0]).max())))
        elif node.op_type == 'Cast':
            to = _attributes(node)['to']
            casts = casts or (not steps and to in (TensorProto.FLOAT, TensorProto.FLOAT16))
        elif node.op_type == 'Transpose':
            turned = turned or list(_attributes(node).get('perm', ())) == _TO_CHANNELS_FIRST
        elif node.op_type not in (*_PASSING, *_RESHAPING):
            break
        name = node.output[0]
    return Head(bool(steps), _highest(steps), casts, layout)


def tail_of(model: onnx.ModelProto, output: str) -> Tail:
    """
    Find the scores behind an output: in front of ArgMax, Softmax or Sigmoid at the end.

    Args:
        model: the network.
        output: name of the output.

    """
    makers = {name: node for node in model.graph.node for name in node.output}
    found = Tail(output)
    choice = _maker_behind(makers, output, (*_PASSING, *_RESHAPING))
    if choice is not None and choice.op_type == 'ArgMax':
        found = Tail(choice.input[0], ('ArgMax',), _attributes(choice).get('axis', 0))
    activation = _maker_behind(makers, found.tensor, _PASSING)
    turned = _Turned(activation, makers)
    if turned.activation is None:
        return found
    cut = (turned.activation.op_type, *found.cut)
    if turned.activation.op_type != 'Softmax':
        return Tail(turned.tensor, cut, None if turned.order else found.axis)
    axis = _attributes(turned.activation).get('axis', -1 if opset_of(model) >= 13 else 1)
    return Tail(turned.tensor, cut, turned.order[axis] if turned.order else axis)


class _Turned:
    """
    An activation, also between two transpositions that cancel out, as exporters write Softmax.

    Args:
        node: the activation, or the second transposition.
        makers: tensor -> the node that makes it.

    Attributes:
        activation: None where it is something else.
        tensor: what it is of, in front of the first transposition.
        order: axes of that tensor in the order in which the activation sees them; empty where
            nothing is turned.

    """

    def __init__(self, node: onnx.NodeProto | None, makers: dict[str, onnx.NodeProto]) -> None:
        self.activation, self.tensor, self.order = None, '', ()
        if node is None:
            return
        if node.op_type in _ACTIVATIONS:
            self.activation, self.tensor = node, node.input[0]
        elif node.op_type == 'Transpose':
            inner = makers.get(node.input[0])
            first = makers.get(inner.input[0]) if inner and inner.op_type in _ACTIVATIONS else None
            if first is None or first.op_type != 'Transpose':
                return
            order, back = (tuple(_attributes(each).get('perm', ())) for each in (first, node))
            if order and [order[place] for place in back] == list(range(len(order))):
                self.activation, self.tensor, self.order = inner, first.input[0], order


def before_enlargement(model: onnx.ModelProto, tensor: str) -> str | None:
    """
    Return what a tensor is enlarged from bilinearly, as pipelines enlarge logits themselves.

    Args:
        model: the network.
        tensor: in it, such as its scores.

    """
    makers = {name: node for node in model.graph.node for name in node.output}
    node = _maker_behind(makers, tensor, ('Identity',))
    if node is None or node.op_type != 'Resize':
        return None
    known = _attributes(node)
    how = known.get('coordinate_transformation_mode', b'half_pixel')
    plain = known.keys() <= _PLAIN_RESIZE and known.get('mode') == b'linear'
    return node.input[0] if plain and how in _HALF_PIXEL else None


def total_stride(model: onnx.ModelProto, name: str) -> int:
    """
    Return by how much a network reduces its input at most, as its strides say.

    Args:
        model: the network.
        name: of its input.

    """
    constants = Constants(model)
    reduced: dict[str, float] = {name: 1.0}
    for node in model.graph.node:
        known = [reduced[each] for each in node.input if each in reduced]
        factor = _factor(node, constants) if known else None
        if factor is not None:
            reduced.update(dict.fromkeys(node.output, known[0] * factor))
    return max(1, round(max(reduced.values())))


def _highest(steps: Iterable[tuple[str, float]]) -> float:
    """Tell 0..255 from 0..1 by the first constant that decides it."""
    for operator, value in steps:
        if operator == 'Mul':
            return 255.0 if value < 0.1 else 1.0
        if operator in ('Sub', 'Add', 'Div') and value > 2:
            return 255.0
    return 1.0


def _maker_behind(
    makers: dict[str, onnx.NodeProto], name: str, passing: Iterable[str]
) -> onnx.NodeProto | None:
    """Return the node that makes a tensor, behind those that only hand it on."""
    node = makers.get(name)
    while node is not None and node.op_type in passing and node.input:
        node = makers.get(node.input[0])
    return node


def _factor(node: onnx.NodeProto, constants: Constants) -> float | None:
    """Return by how much a node reduces height and width; None where that cannot be told."""
    known = _attributes(node)
    stride = float(max(known.get('strides', (1,))))
    if node.op_type in ('Conv', 'MaxPool'):
        return stride
    if node.op_type == 'AveragePool':
        return stride if stride <= _LARGEST_POOL_STRIDE else None
    if node.op_type == 'ConvTranspose':
        return 1.0 / stride
    if node.op_type in ('SpaceToDepth', 'DepthToSpace'):
        size = float(known['blocksize'])
        return size if node.op_type == 'SpaceToDepth' else 1.0 / size
    if node.op_type == 'Resize':
        scales = constants.get(node.input[2]) if len(node.input) > 2 else None
        return None if scales is None or scales.size != 4 else 1.0 / float(scales.max())
    return None if node.op_type in ('GlobalAveragePool', 'GlobalMaxPool', 'Shape') else 1.0


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}
