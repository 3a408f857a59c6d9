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
Inverted bottlenecks some hidden channels at a time.

Between expansion and projection a channel meets no other one, so the block is a sum of blocks of a
few hidden channels each. Their maps, the widest of a network, stay in a cache from one convolution
to the next, and the widest of them is never whole in memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt

#: Hidden channels at a time, at most; and what they are a multiple of: ONNX Runtime has its
#: channels in blocks of 8 or 16.
MOST_CHANNELS = 48
BLOCK_CHANNELS = 16

_ACTIVATIONS = ('Relu', 'Clip')


class _Bottleneck(NamedTuple):
    """The nodes of a block in their order, and the sum that only its result goes into."""

    nodes: list[onnx.NodeProto]
    hidden: int
    residual: onnx.NodeProto | None


def parted_bottlenecks(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Write expansion, depthwise convolution and projection as a sum over parts of the channels.

    Args:
        model: of fixed shapes; layers in int8 stay as they are.

    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    changes: dict[str, list[onnx.NodeProto]] = {}
    for node in view.nodes:
        found = _bottleneck(view, node)
        if found is not None:
            changes |= {each.output[0]: [] for each in found.nodes}
            last = found.residual or found.nodes[-1]
            changes[last.output[0]] = _parts(view, found, constants)
    if not changes:
        return model
    nodes = [new for node in view.nodes for new in changes.get(node.output[0], [node])]
    return rebuilt(model, nodes, constants)


def _bottleneck(view: GraphView, first: onnx.NodeProto) -> _Bottleneck | None:
    """Return the block that a convolution begins, if it is one with more channels than fit."""
    hidden = _channels(view, first)
    chain, node = [first], first
    kinds = []
    while (reader := view.only_reader(node.output[0])) is not None:
        if reader.op_type in _ACTIVATIONS and _is_plain(view, reader):
            chain.append(reader)
        elif _channels(view, reader) and reader.input[0] == node.output[0]:
            chain.append(reader)
            kinds.append(attributes(reader).get('group', 1))
        else:
            break
        node = reader
        if len(kinds) == 2:
            break
    if not hidden or hidden <= MOST_CHANNELS or hidden % BLOCK_CHANNELS or kinds != [hidden, 1]:
        return None
    if attributes(first).get('group', 1) != 1 or not _is_pointwise(view, chain[-1]):
        return None
    if len(view.constant(chain[-1].input[1])) >= hidden or not _is_pointwise(view, first):
        return None
    residual = view.only_reader(node.output[0])
    other = [name for name in residual.input if name != node.output[0]] if residual else []
    same = len(other) == 1 and view.shape(other[0]) == view.shape(node.output[0])
    adds = residual is not None and residual.op_type == 'Add' and same
    # The other term has to be there where the first part is added to it.
    known = adds and _is_before(view, other[0], first)
    return _Bottleneck(chain, hidden, residual if known else None)


def _channels(view: GraphView, node: onnx.NodeProto) -> int:
    """Return how many channels a convolution with known weights gives; 0 for another node."""
    if node.op_type != 'Conv' or any(name not in view.constants for name in node.input[1:]):
        return 0
    return view.shape(node.output[0])[1]


def _is_pointwise(view: GraphView, node: onnx.NodeProto) -> bool:
    return view.constant(node.input[1]).shape[2:] == (1, 1)


def _is_plain(view: GraphView, node: onnx.NodeProto) -> bool:
    """Tell if an activation has no inputs but one and constants."""
    return all(not name or name in view.constants for name in node.input[1:])


def _is_before(view: GraphView, name: str, node: onnx.NodeProto) -> bool:
    names = {output for each in view.nodes[: view.nodes.index(node)] for output in each.output}
    return name in names or name in view.inputs


def _parts(
    view: GraphView, found: _Bottleneck, constants: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """Return the nodes in the place of a block and of the sum after it."""
    last = found.nodes[-1]
    result = (found.residual or last).output[0]
    total = ''
    if found.residual is not None:
        total = next(name for name in found.residual.input if name != last.output[0])
    nodes: list[onnx.NodeProto] = []
    starts = range(0, found.hidden, _part_of(found.hidden))
    for place, start in enumerate(starts):
        rows = slice(start, start + _part_of(found.hidden))
        source = found.nodes[0].input[0]
        for node in found.nodes:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.input[0], source = source, f'{node.output[0]}_channels_{start}'
            copy.output[0] = copy.name = source
            if node.op_type == 'Conv':
                _cut(view, copy, rows, (node is last, place), constants)
            nodes.append(copy)
        if total:
            both = result if place == len(starts) - 1 else f'{result}_channels_to_{start}'
            nodes.append(helper.make_node('Add', [total, source], [both], both))
            source = both
        total = source
    return nodes


def _part_of(hidden: int) -> int:
    """Return how many hidden channels are taken at a time; they divide all that there are."""
    return max(
        count
        for count in range(BLOCK_CHANNELS, MOST_CHANNELS + 1, BLOCK_CHANNELS)
        if hidden % count == 0
    )


def _cut(
    view: GraphView,
    conv: onnx.NodeProto,
    rows: slice,
    position: tuple[bool, int],
    constants: list[onnx.TensorProto],
) -> None:
    """Leave a convolution with some of the hidden channels; the first part has the bias."""
    is_last, place = position
    for index, name in enumerate(conv.input[1:], 1):
        values = view.constant(name)
        if not is_last:
            values = values[rows]
        elif index == 1:
            values = values[:, rows]
        elif place:
            del conv.input[2:]
            break
        conv.input[index] = f'{conv.output[0]}_{index}'
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values), conv.input[index]))
    for each in conv.attribute:
        if each.name == 'group' and each.i > 1:
            each.i = rows.stop - rows.start
