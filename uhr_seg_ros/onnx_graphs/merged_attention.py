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

With queries q, keys k, values v, sums t of the keys over all positions and the projection W, a
head gives ``W ((v k^T) q / (t q))``. The divisor is a number per position, so that this is
``(W v k^T) (q / (t q))``: the first factor is a small matrix, and all heads together are one
product of matrices in the place of a product of each head and a convolution.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt
from uhr_seg_ros.onnx_graphs.late_resizes import is_projection


class _Attention(NamedTuple):
    """The nodes of an attention, from what `parted_attention` joins to the projection."""

    values: onnx.NodeProto
    keys: onnx.NodeProto
    context: onnx.NodeProto
    sums: onnx.NodeProto
    products: onnx.NodeProto
    quotient: onnx.NodeProto
    projection: onnx.NodeProto


def merged_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Multiply queries by projected contexts, and leave keys and values in the parts they come in.

    Args:
        model: as `parted_attention` gives it; attentions with rounded values stay as they are.

    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    changes: dict[str, list[onnx.NodeProto]] = {}
    for node in view.nodes:
        found = _attention(view, node)
        if found is not None:
            changes |= _merged(view, found, constants)
    if not changes:
        return model
    nodes = [new for node in view.nodes for new in changes.get(node.output[0], [node])]
    return rebuilt(model, nodes, constants)


def _attention(view: GraphView, projection: onnx.NodeProto) -> _Attention | None:
    """Return the attention that a projection reads; None if it reads something else."""
    known = all(name in view.constants for name in projection.input[1:])
    if not known or len(projection.input) < 3 or not is_projection(view, projection):
        return None
    # What is rounded to bytes in between stays: a projection in int8 is as fast.
    reshape = _made_by(view, projection.input[0], 'Reshape')
    if reshape is None or any(
        view.only_reader(name) is None for name in (projection.input[0], reshape.input[0])
    ):
        return None
    quotient = _made_by(view, reshape.input[0], 'Div')
    products = _made_by(view, quotient and quotient.input[0], 'MatMul')
    shifted = _made_by(view, quotient and quotient.input[1], 'Add')
    divisors = _made_by(view, shifted and shifted.input[0], 'MatMul')
    context = _made_by(view, products and products.input[0], 'MatMul')
    turned = _made_by(view, divisors and divisors.input[0], 'Transpose')
    sums = _made_by(view, turned and turned.input[0], 'ReduceSum')
    keys = _made_by(view, sums and sums.input[0], 'Relu')
    if quotient is None or products is None or divisors is None:
        return None
    if context is None or sums is None or keys is None:
        return None
    joined_keys = _joined(view, keys.input[0])
    joined_values = _joined(view, context.input[0])
    turned = _made_by(view, context.input[1], 'Transpose')
    if joined_keys is None or joined_values is None or turned is None:
        return None
    if turned.input[0] != keys.output[0] or divisors.input[1] != products.input[1]:
        return None
    if _channels(view, joined_keys) != _channels(view, joined_values):
        return None
    return _Attention(joined_values, joined_keys, context, sums, products, quotient, projection)


def _channels(view: GraphView, concat: onnx.NodeProto) -> list[int]:
    return [view.shape(name)[1] for name in concat.input]


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


class _Maker:
    """Makes nodes and constants whose names begin with that of one tensor."""

    def __init__(self, prefix: str, constants: list[onnx.TensorProto]) -> None:
        self.prefix, self.constants = prefix, constants
        self.nodes: list[onnx.NodeProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        """Return the name of a new constant."""
        whole = f'{self.prefix}_{name}'
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), whole))
        return whole

    def node(self, kind: str, inputs: list[str], name: str, **details: Any) -> str:
        """Return the output of a new node."""
        output = f'{self.prefix}_{name}'
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **details))
        return output

    def take(self) -> list[onnx.NodeProto]:
        """Return the nodes since the last call."""
        taken, self.nodes = self.nodes, []
        return taken


def _merged(
    view: GraphView, found: _Attention, constants: list[onnx.TensorProto]
) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes in the place of others, by the first outputs of the latter."""
    result = found.projection.output[0]
    _, heads, dimension, positions = view.shape(found.quotient.output[0])
    out = view.shape(result)[1]
    make = _Maker(result, constants)
    changes: dict[str, list[onnx.NodeProto]] = {found.products.output[0]: []}

    shapes, keys, sums = [], [], []
    for place, name in enumerate(found.keys.input):
        shape = np.array([1, view.shape(name)[1] // dimension, dimension, positions])
        shapes.append(make.constant(f'shape_{place}', shape))
        positive = make.node('Relu', [name], f'positive_{place}')
        keys.append(make.node('Reshape', [positive, shapes[-1]], f'keys_{place}'))
        axes = found.sums.input[1]
        sums.append(make.node('ReduceSum', [keys[-1], axes], f'sums_{place}', keepdims=1))
    whole = found.sums.output[0]
    changes[whole] = [*make.take(), helper.make_node('Concat', sums, [whole], whole, axis=1)]

    contexts = []
    for place, (name, key, shaped) in enumerate(
        zip(found.values.input, keys, shapes, strict=True)
    ):
        value = make.node('Reshape', [name, shaped], f'values_{place}')
        turned = make.node('Transpose', [key], f'turned_{place}', perm=[0, 1, 3, 2])
        contexts.append(make.node('MatMul', [value, turned], f'context_{place}'))
    weight, bias = (view.constant(name) for name in found.projection.input[1:])
    kernels = weight[..., 0, 0].reshape(out, heads, dimension).transpose(1, 0, 2)[None]
    context = make.node('Concat', contexts, 'context', axis=1)
    each = make.node('MatMul', [make.constant('kernels', kernels), context], 'heads')
    beside = make.node('Transpose', [each], 'beside', perm=[0, 2, 1, 3])
    square = make.constant('matrix_shape', np.array([1, 1, out, heads * dimension]))
    matrix = make.node('Reshape', [beside, square], 'matrix')
    changes[found.context.output[0]] = make.take()

    scaled, divisor = found.quotient.output[0], found.quotient.input[1]
    changes[scaled] = [
        helper.make_node('Div', [found.products.input[1], divisor], [scaled], scaled)
    ]

    flat = make.constant('flat_shape', np.array([1, 1, heads * dimension, positions]))
    product = make.node(
        'MatMul', [matrix, make.node('Reshape', [scaled, flat], 'flat')], 'product'
    )
    shaped = make.constant('map_shape', np.array(view.shape(result)))
    product = make.node('Reshape', [product, shaped], 'map')
    # The sum with a map of convolutions, which comes next, is one in their layout.
    ones = make.constant('pass_on', np.ones((out, 1, 1, 1), np.float32))
    names = [product, ones, make.constant('shift', bias)]
    last = helper.make_node('Conv', names, [result], result, group=out)
    changes[result] = [*make.take(), last]
    return changes
