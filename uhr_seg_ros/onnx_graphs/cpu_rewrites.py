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
Graphs rewritten for ONNX Runtime on a CPU: fewer copies and reorders, and pieces of any size.

They are files of a bundle beside those of other back ends. What is rewritten here is exact in
real arithmetic; sums may run in another order. The result takes every height and width that the
graph itself takes.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.core.laplacian import RESIDUALS
from uhr_seg_ros.onnx_graphs.folding import fix_shapes, parse, replace_nodes
from uhr_seg_ros.onnx_graphs.given_residuals import given_residuals
from uhr_seg_ros.onnx_graphs.gpu_rewrites import (
    drop_identities,
    pooled_means_to_convolutions,
)
from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt
from uhr_seg_ros.onnx_graphs.joined_fields import joined_fields
from uhr_seg_ros.onnx_graphs.late_resizes import late_resizes
from uhr_seg_ros.onnx_graphs.merged_attention import merged_attention
from uhr_seg_ros.onnx_graphs.parted_attention import parted_attention
from uhr_seg_ros.onnx_graphs.parted_bottlenecks import parted_bottlenecks

#: Heights and widths by which a graph is looked at, px: multiples of every `input.multiple`, and
#: not alike, so that rows and columns are told apart.
PROBE, SECOND_PROBE = (192, 320), (320, 448)


class UnknownGraph(ValueError):
    """A graph is not of the kind that is rewritten here: it runs as it is."""


def rewrite_for_cpu(content: bytes, name: object) -> onnx.ModelProto:
    """
    Read a graph of one image and rewrite it for a CPU: same outputs and results.

    Laplacian residuals that it computes are an input of the result; see `given_residuals`.

    Args:
        content: of an ONNX file with one input (1, channels, H, W).
        name: of the file, for errors.

    Raises:
        UnknownGraph: it takes something else, or depends on the size in a way not known here.
        EngineError: it is no ONNX graph of opset 17 or older.

    """
    first, second = (any_size(_rewritten(content, name, size)) for size in (PROBE, SECOND_PROBE))
    # What depends on the size, and was folded at one, would differ.
    if first.graph != second.graph:
        msg = f'graph {name} depends on the size of its image'
        raise UnknownGraph(msg)
    return first


def _rewritten(content: bytes, name: object, size: tuple[int, int]) -> onnx.ModelProto:
    """Rewrite a graph for frames of one size."""
    inputs = parse(content, name).graph.input
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        msg = f'graph {name} does not take one image'
        raise UnknownGraph(msg)
    channels = inputs[0].type.tensor_type.shape.dim[1].dim_value
    model = fix_shapes(content, {inputs[0].name: (1, channels, *size)}, name)
    steps = (
        given_residuals,
        drop_identities,
        pooled_means_to_convolutions,
        plain_products,
        parted_attention,
        merged_attention,
        joined_fields,
        late_resizes,
        parted_bottlenecks,
    )
    for step in steps:
        model = step(model)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def plain_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write `Reshape`, `Gemm`, `Reshape` back as the product with a bias that it was."""
    view = GraphView(model)
    nodes = []
    for node in view.nodes:
        product = view.makers.get(node.input[0]) if node.op_type == 'Reshape' else None
        flat = None
        if product is not None and _is_plain_gemm(product):
            flat = view.makers.get(product.input[0])
        if (
            product is None
            or flat is None
            or flat.op_type != 'Reshape'
            or len(view.shape(node.output[0])) != 4
        ):
            nodes.append(node)
            continue
        between = f'{node.output[0]}_product'
        nodes += [
            helper.make_node('MatMul', [flat.input[0], product.input[1]], [between], between),
            helper.make_node('Add', [between, product.input[2]], [node.output[0]], node.name),
        ]
    return rebuilt(model, nodes, [])


def _is_plain_gemm(node: onnx.NodeProto) -> bool:
    if node.op_type != 'Gemm' or len(node.input) != 3:
        return False
    plain = {'alpha': 1.0, 'beta': 1.0, 'transA': 0, 'transB': 0}
    return all(attributes(node).get(name, value) == value for name, value in plain.items())


def any_size(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Free a graph of fixed shapes of its height and width.

    Raises:
        UnknownGraph: a node has the size in a form that is not known here.

    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    for original in view.nodes:
        node = onnx.NodeProto.FromString(original.SerializeToString())
        if node.op_type == 'Resize':
            before, after = view.shape(node.input[0]), view.shape(node.output[0])
            scales = np.array([new / old for new, old in zip(after, before, strict=True)])
            constants.append(numpy_helper.from_array(scales.astype('f4'), f'{node.output[0]}_by'))
            node.input[:] = [node.input[0], '', f'{node.output[0]}_by']
        elif node.op_type == 'Reshape':
            nodes += _free_reshape(view, node, constants)
        nodes.append(node)
    result = replace_nodes(rebuilt(model, nodes, constants), nodes)
    for place, tensor in enumerate((*result.graph.input, *result.graph.output)):
        if place < len(result.graph.input):
            half = 'half_' if tensor.name == RESIDUALS else ''
            for axis, name in ((2, 'height'), (3, 'width')):
                tensor.type.tensor_type.shape.dim[axis].dim_param = half + name
        else:
            tensor.type.tensor_type.ClearField('shape')
    return result


def _free_reshape(
    view: GraphView, node: onnx.NodeProto, constants: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """Write the shape of a reshape between maps and rows of positions for any size."""
    before, after = view.shape(node.input[0]), view.shape(node.output[0])
    name = f'{node.output[0]}_free'
    if len(before) == len(after) == 4 and after[3] in (before[3], before[2] * before[3]):
        constants.append(numpy_helper.from_array(np.array([*after[:3], -1]), name))
        node.input[1] = name
        return []
    if len(before) != 4 or len(after) != 4 or before[3] != after[2] * after[3]:
        msg = f'reshape {node.name} from {before} to {after}'
        raise UnknownGraph(msg)
    known = _map_before(view, node.input[0], after[2:])
    constants.append(numpy_helper.from_array(np.array(after[:2]), f'{name}_channels'))
    sizes = [f'{name}_channels', f'{name}_size']
    node.input[1] = name
    return [
        helper.make_node('Shape', [known], [sizes[1]], sizes[1], start=2),
        helper.make_node('Concat', sizes, [name], name, axis=0),
    ]


def _map_before(view: GraphView, name: str, size: tuple[int, ...]) -> str:
    """Return a map of some height and width that a tensor was computed from."""
    waiting = [name]
    for tensor in waiting:
        if len(view.shape(tensor)) == 4 and view.shape(tensor)[2:] == size:
            return tensor
        if tensor in view.makers:
            waiting += [each for each in view.makers[tensor].input if each not in view.constants]
    msg = f'no map of {size} before {name}'
    raise UnknownGraph(msg)
