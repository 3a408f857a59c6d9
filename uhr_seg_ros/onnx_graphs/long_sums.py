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
Sums over every place of a map, as linear attention has them, in a form that suits a GPU.

A place is one of tens of thousands. Scaling every number before the sum costs as much memory
traffic as the sum, and underflows in half; scaling the sum costs nothing. A product whose result
is small and whose sum is long keeps few cores of a GPU busy; several shorter ones keep all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.float32_nodes import find_float32_nodes
from uhr_seg_ros.onnx_graphs.folding import replace_nodes, shapes_of, types_of

#: Places that one product sums over.
BLOCK = 2048
#: Longer sums are split.
_LONGEST = 2 * BLOCK
#: Rows and columns of a result that keeps a GPU busy by itself.
_LARGE_RESULT = 256


def shorten_sums(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Scale long sums after they are summed, and split those of products into blocks.

    Of sums that stay float32 only: a half would not hold what is not scaled yet. The same numbers
    but for rounding.

    Args:
        model: of fixed shapes, which it states for every tensor.

    Returns:
        The same.

    """
    return _split_products(_scale_after_sums(model))


def _scale_after_sums(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn sums of `x / count` into `sum / count` where the sum is the smaller tensor."""
    sums = _Sums(model)
    nodes: list[onnx.NodeProto] = []
    #: Scaled tensor -> the one before, and sum -> operators and scalars that it still needs.
    unscaled: dict[str, str] = {}
    scales: dict[str, list[tuple[str, str]]] = {}
    for node in model.graph.node:
        found = sums.over(node.output[0]) if sums.is_scaling(node) else None
        for place, name in enumerate(node.input):
            node.input[place] = unscaled.get(name, name)
        if found:
            unscaled[node.output[0]] = node.input[0]
            for name in found:
                scales.setdefault(name, []).append((node.op_type, node.input[1]))
            continue
        nodes.append(node)
        for operator, scalar in scales.get(node.output[0], []):
            result, node.output[0] = node.output[0], f'{node.output[0]}_unscaled'
            node = helper.make_node(operator, [node.output[0], scalar], [result], result)
            nodes.append(node)
    return _typed(replace_nodes(model, nodes)) if unscaled else model


class _Sums:
    """Finds what a tensor is summed to."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._shapes = shapes_of(model)
        self._scalars = {each.name for each in graph.initializer if math.prod(each.dims) == 1}
        self._outputs = {tensor.name for tensor in graph.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._float32 = {
            graph.node[place].output[0] for place in find_float32_nodes(model, types_of(model))
        }

    def is_scaling(self, node: onnx.NodeProto) -> bool:
        return node.op_type in ('Div', 'Mul') and node.input[1] in self._scalars

    def over(self, name: str) -> list[str]:
        """Name the sums in float32 that a tensor goes into; none where it goes elsewhere too."""
        found: list[str] = []
        for node in self._readers.get(name, []):
            if node.op_type == 'Transpose':
                some = self.over(node.output[0])
            else:
                some = [node.output[0]] if self._is_sum(node, name) else []
            if not some:
                return []
            found += some
        return [] if name in self._outputs else found

    def _is_sum(self, node: onnx.NodeProto, name: str) -> bool:
        product = node.op_type == 'MatMul' and list(node.input).count(name) == 1
        if not (product or node.op_type == 'ReduceSum') or node.output[0] not in self._float32:
            return False
        return math.prod(self._shapes[node.output[0]]) < math.prod(self._shapes[name])


def _split_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Split float32 products of a small result and a long sum."""
    shapes = shapes_of(model)
    float32 = find_float32_nodes(model, types_of(model))
    nodes: list[onnx.NodeProto] = []
    for place, node in enumerate(model.graph.node):
        blocks = 0
        if node.op_type == 'MatMul' and place in float32:
            left, right = (shapes[name] for name in node.input)
            blocks = _blocks(left, right)
        nodes += _split(model, node, left, right, blocks) if blocks else [node]
    changed = len(nodes) > len(model.graph.node)
    return _typed(replace_nodes(model, nodes)) if changed else model


def _blocks(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """Choose into how many products one is split; 0: not at all."""
    length = left[-1]
    if left[:-2] != right[:-2] or length <= _LONGEST or max(left[-2], right[-1]) > _LARGE_RESULT:
        return 0
    least = -(-length // BLOCK)
    return next((blocks for blocks in range(least, 4 * least) if length % blocks == 0), 0)


def _split(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    left: tuple[int, ...],
    right: tuple[int, ...],
    blocks: int,
) -> list[onnx.NodeProto]:
    """Write (..., M, K) x (..., K, N) as the sum of products over the blocks of K."""
    name, rank = node.output[0], len(left)
    block = left[-1] // blocks
    constants = {
        'left_shape': [*left[:-1], blocks, block],
        'right_shape': [*right[:-2], blocks, block, right[-1]],
        'axis': [rank - 2],
    }
    for each, values in constants.items():
        array = numpy_helper.from_array(np.array(values, np.int64), f'{name}_{each}')
        model.graph.initializer.append(array)
    # (..., M, blocks, block) -> (..., blocks, M, block)
    order = [*range(rank - 2), rank - 1, rank - 2, rank]
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ('Reshape', [node.input[0], f'{name}_left_shape'], f'{name}_rows', {}),
        ('Transpose', [f'{name}_rows'], f'{name}_left', {'perm': order}),
        ('Reshape', [node.input[1], f'{name}_right_shape'], f'{name}_right', {}),
        ('MatMul', [f'{name}_left', f'{name}_right'], f'{name}_parts', {}),
        ('ReduceSum', [f'{name}_parts', f'{name}_axis'], name, {'keepdims': 0}),
    ]
    return [
        helper.make_node(operator, inputs, [result], result, **attributes)
        for operator, inputs, result, attributes in steps
    ]


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)
