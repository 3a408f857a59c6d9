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
The precision of an engine, written into its ONNX graph.

Strongly typed TensorRT computes in the types that the file has, so the file decides: the same on
every version, and a graph in float32 never poses as one in float16.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from uhr_seg_ros.onnx_graphs.float32_nodes import EXACT_OPERATORS, find_float32_nodes
from uhr_seg_ros.onnx_graphs.folding import replace_nodes, types_of
from uhr_seg_ros.onnx_graphs.long_sums import shorten_sums

#: Another value of this builds all engines anew: raise it with every change of the results.
CONVERSION = '3'

#: Operator -> inputs that are float32 in every precision.
_ALWAYS_FLOAT32 = {'Resize': (1, 2)}

_HALF_LIMIT = float(np.finfo(np.float16).max)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Compute in float16 wherever that is good enough.

    Inputs and outputs become float16 too. What `find_float32_nodes` names stays float32, with
    casts right before it: what only moves numbers moves halves. TensorRT takes a product of two
    casts for one of halves with sums in float32, which no product of halves is sure to be.

    Args:
        model: as `fix_shapes` gives it, with or without Q/DQ nodes.

    """
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return _Halving(shorten_sums(typed)).run()


def float32_tensors(model: onnx.ModelProto) -> set[str]:
    """Name the tensors of a converted model that are float32."""
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {name for name, kind in types_of(typed).items() if kind == TensorProto.FLOAT}


def summed_axes(operator: str, place: int) -> tuple[int, ...]:
    """Return the axes of an input of an ONNX operator that its sums run over."""
    if operator == 'Conv' and place == 1:
        return (1, 2, 3)
    if operator == 'MatMul':
        return (-1,) if place == 0 else (-2,)
    return ()


def round_to_half(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """
    Round weights to half so that their sums stay.

    Each weight takes over the rounding error of the one before it. Rounding each by itself
    shifts all pixels of a channel the same way, which is most of the error of a float16 network:
    with the shipped model on real frames, twice as many pixels changed their class.

    Args:
        values: of any shape, float32, within the range of half.
        axes: what the sums run over; none for numbers that are not summed.

    Returns:
        The same shape, float16.

    """
    if not axes or values.ndim < max(len(axes), 2):
        return values.astype(np.float16)
    firsts = range(len(axes))
    moved = np.moveaxis(values, axes, firsts)
    rows = moved.reshape(int(np.prod(moved.shape[: len(axes)])), -1)
    result, error = np.empty(rows.shape, np.float16), np.zeros(rows.shape[1], np.float32)
    for row, target in zip(rows, result, strict=True):
        target[:] = row + error
        error += row - target
    return np.ascontiguousarray(np.moveaxis(result.reshape(moved.shape), firsts, axes))


class _Halving:
    """The work of `to_half`: walks over the nodes in order and casts where types meet."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._types = types_of(model)
        self._constants = {each.name: each for each in model.graph.initializer}
        self._kept = find_float32_nodes(model, self._types)
        self._nodes: list[onnx.NodeProto] = []
        #: float tensor -> its type in the new graph, and (tensor, type) -> name of a copy.
        self._now: dict[str, int] = dict.fromkeys(self._constants, TensorProto.FLOAT)
        self._copies: dict[tuple[str, int], str] = {}

    def run(self) -> onnx.ModelProto:
        graph = self._model.graph
        for tensor in (*graph.input, *graph.output):
            if tensor.type.tensor_type.elem_type == TensorProto.FLOAT:
                tensor.type.tensor_type.elem_type = TensorProto.FLOAT16
        self._now |= {tensor.name: TensorProto.FLOAT16 for tensor in graph.input}
        outputs = {tensor.name for tensor in graph.output}
        for place, node in enumerate(graph.node):
            kind = self._kind(place, node)
            self._convert(node, kind)
            self._nodes.append(node)
            for index, name in enumerate(node.output):
                if self._is_float(name):
                    self._now[name] = kind
                    if name in outputs and kind == TensorProto.FLOAT:
                        self._cast_output(node, index)
        return replace_nodes(self._model, self._nodes)

    def _kind(self, place: int, node: onnx.NodeProto) -> int:
        """Choose what a node computes in; halves that are only moved stay halves."""
        if place not in self._kept:
            return TensorProto.FLOAT16
        types = {self._now[name] for name in node.input if self._is_float(name)}
        exact = node.op_type in EXACT_OPERATORS and types == {TensorProto.FLOAT16}
        return TensorProto.FLOAT16 if exact else TensorProto.FLOAT

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
        half = round_to_half(np.clip(values, -_HALF_LIMIT, _HALF_LIMIT), axes)
        self._model.graph.initializer.append(numpy_helper.from_array(half, copy))

    def _cast_output(self, node: onnx.NodeProto, index: int) -> None:
        name = node.output[index]
        node.output[index] = f'{name}_as_float'
        self._nodes.append(
            helper.make_node(
                'Cast', [node.output[index]], [name], f'{name}_as_float16', to=TensorProto.FLOAT16
            )
        )
        self._copies[name, TensorProto.FLOAT] = node.output[index]
        self._now[name] = TensorProto.FLOAT16

    def _is_float(self, name: str) -> bool:
        return self._types.get(name) == TensorProto.FLOAT
