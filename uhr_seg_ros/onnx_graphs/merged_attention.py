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
Linear attention and the projection after it as one product.

With queries q, keys k, values v, sums t of the keys over all positions and the projection W, a head
gives ``W ((v k^T) q / (t q))``. The quotient is a number per position, so that this is
``(W v k^T) (q / (t q))``: the first factor is a small matrix, and all heads together are one
product of matrices in the place of a product of each head and a convolution.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt
from uhr_seg_ros.onnx_graphs.late_resizes import is_projection, unrounded, weights


class _Attention(NamedTuple):
    """The nodes of an attention, from what `parted_attention` joins to the projection."""

    values: onnx.NodeProto
    keys: onnx.NodeProto
    context: onnx.NodeProto
    sums: onnx.NodeProto
    products: onnx.NodeProto
    quotient: onnx.NodeProto
    reshape: onnx.NodeProto
    projection: onnx.NodeProto


def merged_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Multiply queries by projected contexts, and leave keys and values in the parts they come in.

    Args:
        model: as `parted_attention` gives it, with or without Q/DQ nodes.

    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    changes: dict[str, list[onnx.NodeProto]] = {}
    for node in view.nodes:
        found = _attention(view, node) if node.op_type == 'Div' else None
        if found is not None:
            changes |= _merged(view, found, constants)
    if not changes:
        return model
    nodes = [new for node in view.nodes for new in changes.get(node.output[0], [node])]
    return rebuilt(model, nodes, constants)


def _attention(view: GraphView, quotient: onnx.NodeProto) -> _Attention | None:
    """Return what leads to a quotient and away from it, if that is an attention."""
    products = _made_by(view, quotient.input[0], 'MatMul')
    shifted = _made_by(view, quotient.input[1], 'Add')
    divisors = _made_by(view, shifted and shifted.input[0], 'MatMul')
    context = _made_by(view, products and products.input[0], 'MatMul')
    turned = _made_by(view, divisors and divisors.input[0], 'Transpose')
    sums = _made_by(view, turned and turned.input[0], 'ReduceSum')
    keys = _made_by(view, sums and sums.input[0], 'Relu')
    reshape = view.only_reader(quotient.output[0])
    if keys is None or sums is None or context is None or products is None or divisors is None:
        return None
    joined_keys = _joined(view, keys.input[0])
    joined_values = _joined(view, context.input[0])
    turned = _made_by(view, context.input[1], 'Transpose')
    if joined_keys is None or joined_values is None or turned is None:
        return None
    same_keys = turned.input[0] == keys.output[0]
    if not same_keys or divisors.input[1] != products.input[1]:
        return None
    if reshape is None or reshape.op_type != 'Reshape':
        return None
    readers = [node for node in view.nodes if is_projection(view, node)]
    projection = next(
        (node for node in readers if unrounded(view, node.input[0]) == (reshape.output[0], True)),
        None,
    )
    if projection is None or len(projection.input) < 3:
        return None
    return _Attention(
        joined_values, joined_keys, context, sums, products, quotient, reshape, projection
    )


def _made_by(view: GraphView, name: str | None, kind: str) -> onnx.NodeProto | None:
    maker = view.makers.get(name) if name else None
    return maker if maker is not None and maker.op_type == kind else None


def _joined(view: GraphView, name: str) -> onnx.NodeProto | None:
    """Return the concatenation of maps before a reshape to heads of positions."""
    reshape = _made_by(view, name, 'Reshape')
    concat = _made_by(view, reshape and reshape.input[0], 'Concat')
    if reshape is None or concat is None or attributes(concat)['axis'] != 1:
        return None
    dimension = view.shape(name)[2]
    whole = all(view.shape(part)[1] % dimension == 0 for part in concat.input)
    return concat if whole and len(view.shape(name)) == 4 else None


def _merged(
    view: GraphView, found: _Attention, constants: list[onnx.TensorProto]
) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes in the place of others, by the first outputs of the latter."""
    result = found.projection.output[0]
    _, heads, dimension, positions = view.shape(found.quotient.output[0])
    out = view.shape(result)[1]

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, f'{result}_{name}'))
        return f'{result}_{name}'

    def node(kind: str, inputs: list[str], name: str, **details: object) -> str:
        output = f'{result}_{name}'
        made.append(helper.make_node(kind, inputs, [output], output, **details))
        return output

    contexts: list[str] = []
    totals: list[str] = []
    parts: list[onnx.NodeProto] = []
    made = parts
    for place, (values, keys) in enumerate(
        zip(found.values.input, found.keys.input, strict=True)
    ):
        count = view.shape(keys)[1] // dimension
        shape = constant(f'shape_{place}', np.array([1, count, dimension, positions]))
        positive = node('Relu', [keys], f'positive_{place}')
        key = node('Reshape', [positive, shape], f'keys_{place}')
        value = node('Reshape', [values, shape], f'values_{place}')
        turned = node('Transpose', [key], f'turned_{place}', perm=[0, 1, 3, 2])
        contexts.append(node('MatMul', [value, turned], f'context_{place}'))
        totals.append(node('ReduceSum', [key, found.sums.input[1]], f'sums_{place}', keepdims=1))
    weight = weights(view, found.projection.input[1])
    bias = weights(view, found.projection.input[2])
    assert weight is not None and bias is not None
    kernels = weight[..., 0, 0].reshape(out, heads, dimension).transpose(1, 0, 2)[None]
    context = node('Concat', contexts, 'context', axis=1)
    each = node('MatMul', [constant('kernels', np.ascontiguousarray(kernels)), context], 'heads')
    beside = node('Transpose', [each], 'beside', perm=[0, 2, 1, 3])
    matrix = constant('matrix_shape', np.array([1, 1, out, heads * dimension]))
    matrix = node('Reshape', [beside, matrix], 'matrix')
    sums = helper.make_node('Concat', totals, [found.sums.output[0]], axis=1)
    made = []
    scaled = helper.make_node(
        'Div', [found.products.input[1], found.quotient.input[1]], [found.quotient.output[0]]
    )
    flat = constant('flat_shape', np.array([1, 1, heads * dimension, positions]))
    flat = node('Reshape', [found.quotient.output[0], flat], 'flat')
    product = node('MatMul', [matrix, flat], 'product')
    shape = constant('map_shape', np.array(view.shape(result)))
    product = node('Reshape', [product, shape], 'map')
    reader = view.only_reader(result)
    if reader is not None and reader.op_type == 'QuantizeLinear':
        last = helper.make_node(
            'Add', [product, constant('shift', bias[:, None, None])], [result]
        )
    else:
        # The sum with a map of convolutions, which comes next, is one in their layout.
        ones = constant('pass_on', np.ones((out, 1, 1, 1), np.float32))
        shift = constant('shift', bias)
        last = helper.make_node('Conv', [product, ones, shift], [result], result, group=out)
    return {
        found.sums.output[0]: [*parts, sums],
        found.products.output[0]: [],
        found.quotient.output[0]: [scaled],
        result: [*made, last],
    }
