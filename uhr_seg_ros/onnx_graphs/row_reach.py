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
What rows of a map a node needs for rows of its result, through a graph of one image.

Maps are (1, channels, rows, columns), or (1, rows, columns, channels), or rows of positions
(1, groups, channels, rows * columns), in which linear attention is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
import math

import onnx

from uhr_seg_ros.onnx_graphs.cpu_rewrites import UnknownGraph
from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView

#: Where rows lie in a tensor: (1, C, H, W), (1, H, W, C), (1, G, C, H * W) and its transpose.
MAP, LAST, FLAT, FLAT_T = 'map', 'last', 'flat', 'flat_t'
ROW_AXES = {MAP: 2, LAST: 1}

#: Each value of the result follows from the values at its place.
_POINTWISE = frozenset(
    'Relu Sigmoid HardSigmoid HardSwish Clip Erf Exp Sqrt Neg Add Sub Mul Div Min Max Pow Equal '
    'Greater Less Where Cast Not And Or Identity QuantizeLinear DequantizeLinear Gelu'.split()
)
#: The same along an axis that is neither rows nor columns.
_ALONG_AXIS = frozenset('Concat Slice Split Softmax TopK Unsqueeze Squeeze ReduceSum'.split())

Reach = tuple[int, int]


def layouts(view: GraphView) -> dict[str, str]:
    """
    Return where rows lie in every tensor that has some: tensor -> layout.

    Raises:
        UnknownGraph: a node is not known to be local.

    """
    found = dict.fromkeys(view.inputs, MAP)
    for node in view.nodes:
        sources = {found[name] for name in node.input if name in found}
        if not sources:
            continue
        layout = _layout(view, node, sources, found)
        if layout:
            found.update(dict.fromkeys(node.output, layout))
    return found


def _layout(
    view: GraphView, node: onnx.NodeProto, sources: set[str], found: Mapping[str, str]
) -> str | None:
    """Return the layout of the outputs of a node; None for what is summed over all rows."""
    kind = node.op_type
    if kind in ('Conv', 'AveragePool', 'Pad', 'Resize', 'DepthToSpace') and sources == {MAP}:
        return MAP
    if kind == 'Transpose':
        turned = {
            (MAP, (0, 2, 3, 1)): LAST,
            (LAST, (0, 3, 1, 2)): MAP,
            (FLAT, (0, 1, 3, 2)): FLAT_T,
        }
        layout = turned.get((*sources, tuple(attributes(node)['perm'])))
        if layout:
            return layout
    if kind == 'Reshape':
        before, after = view.shape(node.input[0]), view.shape(node.output[0])
        if sources == {MAP} and after[-1] == before[2] * before[3] and len(after) == 4:
            return FLAT
        if sources == {FLAT} and before[-1] == after[2] * after[3]:
            return MAP
    if kind == 'MatMul':
        first, second = (found.get(name) for name in node.input)
        if (first, second) == (FLAT, FLAT_T):
            return None
        if (first, second) in ((None, FLAT), (LAST, None)):
            return second or first
    if kind == 'ReduceSum' and sources == {FLAT} and _axes(view, node) in ([3], [-1]):
        return None
    if kind == 'ReduceMean' and sources == {MAP} and _axes(view, node) == [1]:
        return MAP
    if len(sources) == 1 and (kind in _POINTWISE or kind in _ALONG_AXIS):
        (layout,) = sources
        if kind in _POINTWISE or _keeps_rows(view, node, layout):
            return layout
    msg = f'{kind} {node.name} on {", ".join(sorted(sources))}'
    raise UnknownGraph(msg)


def _axes(view: GraphView, node: onnx.NodeProto) -> list[int]:
    if len(node.input) > 1:
        values = view.values(node.input[1])
        return [] if values is None else [int(each) for each in values]
    return list(attributes(node).get('axes', ()))


def _keeps_rows(view: GraphView, node: onnx.NodeProto, layout: str) -> bool:
    before, after = view.shape(node.input[0]), view.shape(node.output[0])
    if layout in ROW_AXES:
        axis = ROW_AXES[layout]
        return before[axis : axis + 2] == after[axis : axis + 2]
    return layout == FLAT and before[-1] == after[-1] and len(before) == len(after)


def map_rows(view: GraphView, found: Mapping[str, str]) -> dict[str, int]:
    """Return how many rows every tensor of `layouts` has."""
    rows = {}
    for name in found:
        layout = found[name]
        if layout in ROW_AXES:
            rows[name] = view.shape(name)[ROW_AXES[layout]]
        else:
            node = view.makers[name]
            rows[name] = next(rows[each] for each in node.input if each in rows)
    return rows


def needed_rows(view: GraphView, node: onnx.NodeProto, reach: Reach) -> Reach:
    """
    Return what a node needs of its map.

    Args:
        view: the graph.
        node: one whose layout is known.
        reach: rows of its result above and below those that a strip is to give.

    Returns:
        rows of its input above and below those that belong to the strip.

    """
    up, down = reach
    details = attributes(node)
    if node.op_type in ('Conv', 'AveragePool'):
        sizes = details.get('kernel_shape') or view.shape(node.input[1])[2:]
        stride = details.get('strides', [1])[0]
        span = details.get('dilations', [1])[0] * (sizes[0] - 1) + 1
        pad = details.get('pads', [0])[0]
        return up * stride + pad, (down - 1) * stride - pad + span
    if node.op_type == 'Pad':
        pads = view.values(node.input[1])
        if pads is None:
            msg = f'pad {node.name} by what is computed'
            raise UnknownGraph(msg)
        return up + int(pads[2]), down - int(pads[2])
    if node.op_type == 'DepthToSpace':
        return -(-up // details['blocksize']), -(-down // details['blocksize'])
    if node.op_type == 'Resize':
        factor = view.shape(node.output[0])[2] / view.shape(node.input[0])[2]
        if details.get('mode') != b'linear' or factor < 1:
            msg = f'resize {node.name} by {factor} in mode {details.get("mode")}'
            raise UnknownGraph(msg)
        # Rows y of the result lie at (y + 0.5) / factor - 0.5, between two rows of the input.
        first = math.floor((0.5 - up) / factor - 0.5)
        last = math.floor((down - 0.5) / factor - 0.5)
        return -first, last + 2
    return reach
