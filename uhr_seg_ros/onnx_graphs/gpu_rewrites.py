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
Graphs rewritten so that a GPU moves fewer bytes for the same result.

The files of a bundle suit a CPU. What is rewritten here is exact in real arithmetic; sums may run
in another order.
"""

from __future__ import annotations

from collections.abc import Callable
import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.folding import replace_nodes
from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt
from uhr_seg_ros.onnx_graphs.shifted_sums import shifted_sums_to_convolutions

#: Another value of this builds all engines anew: raise it with every change of the rewritings.
REWRITING = '1'


def rewrite_for_gpu(model: onnx.ModelProto, *, half: bool) -> onnx.ModelProto:
    """
    Rewrite a graph for a GPU: same inputs, outputs and results.

    Args:
        model: float32, as `fix_shapes` gives it, with or without Q/DQ nodes.
        half: whether its products will be in half precision.

    """
    steps: list[Callable[[onnx.ModelProto], onnx.ModelProto]] = [
        drop_identities,
        pooled_means_to_convolutions,
        shifted_sums_to_convolutions,
    ]
    if half:
        steps.append(even_products)
    for step in steps:
        model = step(model)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def drop_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out what gives its input as it is: resizes to the same size, pads by nothing, ..."""
    view = GraphView(model)
    renamed: dict[str, str] = {}
    nodes = []
    for node in view.nodes:
        if _is_identity(view, node) and node.output[0] not in view.outputs:
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
            continue
        changed = onnx.NodeProto.FromString(node.SerializeToString())
        for index, name in enumerate(node.input):
            changed.input[index] = renamed.get(name, name)
        nodes.append(changed)
    return replace_nodes(model, nodes) if renamed else model


def _is_identity(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.op_type == 'Concat':
        return len(node.input) == 1
    if node.op_type == 'Transpose':
        order = attributes(node).get('perm')
        return order is not None and list(order) == sorted(order)
    if node.op_type not in ('Identity', 'Resize', 'Pad', 'Slice'):
        return False
    if node.op_type == 'Resize' and attributes(node).get('coordinate_transformation_mode') in (
        b'tf_crop_and_resize',
    ):
        return False
    same = view.shape(node.input[0]) == view.shape(node.output[0])
    if node.op_type == 'Pad':
        pads = view.values(node.input[1])
        return same and pads is not None and not pads.any()
    if node.op_type == 'Slice' and len(node.input) > 4:
        steps = view.values(node.input[4])
        return same and steps is not None and bool((steps > 0).all())
    return same


def pooled_means_to_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Write an average pool and the mean over its channels as one convolution.

    The map between them, which a half network would turn to float32 and back, goes.
    """
    view = GraphView(model)
    constants = []
    nodes = []
    for mean in view.nodes:
        pool = view.makers.get(mean.input[0]) if _is_channel_mean(mean) else None
        if pool is None or not _is_plain_pool(pool):
            nodes.append(mean)
            continue
        details = attributes(pool)
        size = details['kernel_shape']
        channels = view.shape(pool.input[0])[1]
        name = f'{mean.output[0]}_weight'
        weight = np.full((1, channels, *size), 1.0 / (channels * math.prod(size)), np.float32)
        constants.append(numpy_helper.from_array(weight, name))
        nodes.append(
            helper.make_node(
                'Conv',
                [pool.input[0], name],
                [mean.output[0]],
                mean.name,
                kernel_shape=size,
                strides=details.get('strides', [1, 1]),
            )
        )
    return rebuilt(model, nodes, constants) if constants else model


def _is_plain_pool(node: onnx.NodeProto) -> bool:
    details = attributes(node)
    return (
        node.op_type == 'AveragePool'
        and len(details['kernel_shape']) == 2
        and not any(details.get('pads', ()))
        and not details.get('ceil_mode')
        and details.get('auto_pad', b'NOTSET') in (b'NOTSET', b'VALID')
        and all(each == 1 for each in details.get('dilations', ()))
    )


def _is_channel_mean(node: onnx.NodeProto) -> bool:
    details = attributes(node)
    return (
        node.op_type == 'ReduceMean'
        and list(details.get('axes', ())) == [1]
        and details.get('keepdims', 1) == 1
    )


def even_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Lengthen products over an odd number of concatenated rows by one that counts zero.

    Tensor cores take halves in pairs: a compiler would copy both factors to lengthen them. Here
    the concatenation writes one row more instead, the first one again.
    """
    view = GraphView(model)
    constants, nodes = [], []
    made: dict[str, onnx.NodeProto] = {}
    for original in view.nodes:
        node = onnx.NodeProto.FromString(original.SerializeToString())
        made[node.output[0]] = node
        rows = view.makers.get(node.input[1]) if node.op_type == 'MatMul' else None
        if rows is not None and _is_odd_concat(view, rows):
            weights, pads = node.input[0], [0] * (2 * len(view.shape(node.input[0])))
            pads[-1] = 1
            constants.append(numpy_helper.from_array(np.array(pads), f'{weights}_pads'))
            inputs, node.input[0] = [weights, f'{weights}_pads'], f'{weights}_even'
            nodes.append(helper.make_node('Pad', inputs, [node.input[0]], node.input[0]))
            stacked = made[rows.output[0]].input
            stacked.append(stacked[0])
        nodes.append(node)
    return rebuilt(model, nodes, constants) if constants else model


def _is_odd_concat(view: GraphView, node: onnx.NodeProto) -> bool:
    """Tell if a node stacks an odd number of rows, one of each input, for one product alone."""
    axes = len(view.shape(node.output[0]))
    return (
        node.op_type == 'Concat'
        and attributes(node)['axis'] in (axes - 2, -2)
        and len(node.input) % 2 == 1
        and all(view.shape(name)[-2] == 1 for name in node.input)
        and view.only_reader(node.output[0]) is not None
    )
