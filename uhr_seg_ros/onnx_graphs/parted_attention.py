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

"""Linear attention whose query, key and value are maps of their own."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt


def parted_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Compute query, key and value of linear attention by kernels of their own.

    One map of all three would be reordered and split, which is a copy of it each. Keys are not
    divided by the number of positions, which cancels in the quotient.
    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    replaced: dict[str, list[onnx.NodeProto]] = {}
    renamed: dict[str, str] = {}
    for split in view.nodes:
        if split.op_type != 'Split' or len(split.output) != 3:
            continue
        chain = _attention_inputs(view, split)
        if chain is None:
            continue
        replaced[split.output[0]] = _parts(view, split, chain, constants)
        for scaled in view.nodes:
            if scaled.op_type == 'Div' and _is_scaled_key(view, scaled, split.output[1]):
                renamed[scaled.output[0]] = scaled.input[0]
                factor = view.constant(scaled.input[1])
                _unscale(view, scaled, factor, replaced, constants)
    if not replaced:
        return model
    nodes = []
    for node in view.nodes:
        for each in replaced.get(node.output[0], [node]):
            changed = onnx.NodeProto.FromString(each.SerializeToString())
            for index, name in enumerate(changed.input):
                changed.input[index] = renamed.get(name, name)
            nodes.append(changed)
    return rebuilt(model, nodes, constants)


def _attention_inputs(view: GraphView, split: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Return the convolutions before a split into query, key and value: qkv and its aggregate."""
    reshape = view.makers.get(split.input[0])
    concat = view.makers.get(reshape.input[0]) if reshape is not None else None
    if concat is None or concat.op_type != 'Concat' or len(concat.input) != 2:
        return None
    chain = [each for each in map(view.makers.get, concat.input) if each is not None]
    spread = view.makers.get(chain[1].input[0]) if len(chain) == 2 else None
    if spread is None:
        return None
    chain.insert(1, spread)
    if any(each.op_type != 'Conv' or len(each.input) != 2 for each in chain):
        return None
    plain = chain[0]
    channels = view.shape(plain.output[0])[1]
    dimension = view.shape(split.output[0])[2]
    groups = [attributes(each).get('group', 1) for each in chain]
    if groups != [1, channels, channels // dimension] or spread.input[0] != plain.output[0]:
        return None
    same = {view.shape(name)[2] for name in split.output} == {dimension}
    weights = all(view.values(each.input[1]) is not None for each in chain)
    return chain if same and weights and not channels % (3 * dimension) else None


def _parts(
    view: GraphView,
    split: onnx.NodeProto,
    chain: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
) -> list[onnx.NodeProto]:
    """Return the nodes that make the outputs of a split without it."""
    shape = view.shape(split.output[0])
    dimension = shape[2]
    channels = np.arange(view.shape(chain[0].output[0])[1]).reshape(-1, 3, dimension)
    nodes = []
    for part, result in enumerate(split.output):
        source = chain[0].input[0]
        made = []
        for place, conv in enumerate(chain):
            weight, out = f'{result}_weight_{place}', f'{result}_conv_{place}'
            kernel = view.constant(conv.input[1])[channels[:, part].ravel()]
            constants.append(numpy_helper.from_array(kernel, weight))
            copy = onnx.NodeProto.FromString(conv.SerializeToString())
            copy.name, copy.input[:], copy.output[:] = out, [source, weight], [out]
            for each in copy.attribute:
                if each.name == 'group' and each.i > 1:
                    each.i //= 3
            nodes.append(copy)
            made.append(out)
            source = out
        constants.append(numpy_helper.from_array(np.array(shape), f'{result}_shape'))
        both = f'{result}_both'
        nodes.append(helper.make_node('Concat', [made[0], made[2]], [both], both, axis=1))
        nodes.append(helper.make_node('Reshape', [both, f'{result}_shape'], [result], result))
    return nodes


def _is_scaled_key(view: GraphView, node: onnx.NodeProto, key: str) -> bool:
    factor = view.values(node.input[1])
    maker = view.makers.get(node.input[0])
    return factor is not None and factor.size == 1 and maker is not None and key in maker.input


def _unscale(
    view: GraphView,
    scaled: onnx.NodeProto,
    factor: np.ndarray,
    replaced: dict[str, list[onnx.NodeProto]],
    constants: list[onnx.TensorProto],
) -> None:
    """Multiply what keeps the quotient finite by what keys are no longer divided by."""
    reach = {scaled.output[0]}
    for node in view.nodes:
        if not reach & set(node.input):
            continue
        if node.op_type == 'Add' and (small := view.values(node.input[1])) is not None:
            name = f'{node.output[0]}_epsilon'
            # Their product was rounded twice; it is the same at every size.
            epsilon = np.array(float(f'{(small * factor).item():.5g}'), np.float32)
            constants.append(numpy_helper.from_array(epsilon.reshape(small.shape), name))
            changed = onnx.NodeProto.FromString(node.SerializeToString())
            changed.input[1] = name
            replaced[node.output[0]] = [changed]
            return
        if node.op_type in ('ReduceSum', 'Transpose') or (
            node.op_type == 'MatMul' and node.input[0] in reach
        ):
            reach.update(node.output)
