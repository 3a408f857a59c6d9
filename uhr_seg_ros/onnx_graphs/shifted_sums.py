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
Sums of shifted slices of one map, written as one convolution.

The fusion of a network whose decoder begins with a 3x3 kernel adds up nine slices of a map, each
shifted and of other channels (`export/two_branch.py`). Slicing suits a CPU. A GPU writes and
reads the whole map once more for each operator in between: a convolution with ones where the
slices were reads it once. On tensor cores its multiply-adds with zeros cost less than that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt

#: A sum of fewer slices stays as it is.
MIN_SLICES = 3


class _Window(NamedTuple):
    """What slices leave of a padded map: its source, where it begins along the axes, its shape."""

    source: str
    start: tuple[int, ...]
    shape: tuple[int, ...]


def shifted_sums_to_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every sum of shifted slices of one map that is padded with zeros."""
    view = GraphView(model)
    windows = _windows(view)
    terms: dict[str, list[_Window]] = {}
    nodes: list[onnx.NodeProto] = []
    for node in view.nodes:
        summands = [_terms(name, windows, terms) for name in node.input]
        if node.op_type == 'Add' and all(summands):
            terms[node.output[0]] = [window for each in summands for window in each]
    absorbed = {
        name
        for name in terms
        if (reader := view.only_reader(name)) is not None and reader.output[0] in terms
    }
    constants = []
    for node in view.nodes:
        found = terms.get(node.output[0], []) if node.output[0] not in absorbed else []
        convolution = _convolution(view, node, found)
        if convolution is None:
            nodes.append(node)
        else:
            nodes.append(convolution[0])
            constants.append(convolution[1])
    return rebuilt(model, nodes, constants) if constants else model


def _terms(
    name: str, windows: dict[str, _Window], terms: dict[str, list[_Window]]
) -> list[_Window]:
    return terms.get(name, [windows[name]] if name in windows else [])


def _windows(view: GraphView) -> dict[str, _Window]:
    """Find what plain slices leave of maps (1, C, H, W) that are padded with zeros."""
    found: dict[str, _Window] = {}
    for node in view.nodes:
        result = node.output[0]
        if node.op_type == 'Pad' and _pads_with_zeros(view, node):
            found[result] = _Window(result, (0, 0, 0, 0), view.shape(result))
        elif node.op_type == 'Slice' and node.input[0] in found:
            start = _slice_start(view, node)
            if start is not None:
                source, begin, _ = found[node.input[0]]
                moved = tuple(a + b for a, b in zip(begin, start, strict=True))
                found[result] = _Window(source, moved, view.shape(result))
    return found


def _pads_with_zeros(view: GraphView, node: onnx.NodeProto) -> bool:
    if attributes(node).get('mode', b'constant') != b'constant' or len(node.input) > 3:
        return False
    pads = view.values(node.input[1])
    if pads is None or len(pads) != 8 or pads[[0, 1, 4, 5]].any() or (pads < 0).any():
        return False
    filling = view.values(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    return filling is not None and not filling.any()


def _slice_start(view: GraphView, node: onnx.NodeProto) -> tuple[int, ...] | None:
    """Tell where a slice begins along every axis; None if it leaves out values in between."""
    shape = view.shape(node.input[0])
    starts = view.values(node.input[1])
    axes = view.values(node.input[3]) if len(node.input) > 3 else np.arange(len(shape))
    steps = view.values(node.input[4]) if len(node.input) > 4 else np.ones(1)
    if starts is None or axes is None or steps is None or (steps != 1).any():
        return None
    result = [0] * len(shape)
    for axis, start in zip(axes, starts, strict=True):
        length = shape[axis]
        result[axis] = int(min(max(start + length if start < 0 else start, 0), length))
    return tuple(result)


def _convolution(
    view: GraphView, node: onnx.NodeProto, windows: list[_Window]
) -> tuple[onnx.NodeProto, onnx.TensorProto] | None:
    """Write a sum as a convolution of the map before it is padded, with its kernel."""
    sources = {window.source for window in windows}
    if len(windows) < MIN_SLICES or len(sources) > 1 or len({each.shape for each in windows}) > 1:
        return None
    pad = view.makers[sources.pop()]
    pads = view.values(pad.input[1])
    assert pads is not None
    _, inputs, height, width = view.shape(pad.input[0])
    count, channels, rows, columns = windows[0].shape
    top, left = (min(window.start[axis] for window in windows) for axis in (2, 3))
    bottom, right = (max(window.start[axis] for window in windows) for axis in (2, 3))
    kernel = bottom - top + 1, right - left + 1
    before = int(pads[2]) - top, int(pads[3]) - left
    after = rows + kernel[0] - 1 - height - before[0], columns + kernel[1] - 1 - width - before[1]
    if count != 1 or min(*before, *after) < 0:
        return None
    weight = np.zeros((channels, inputs, *kernel), np.float32)
    for _, (_, first, row, column), _ in windows:
        for channel in range(channels):
            weight[channel, first + channel, row - top, column - left] += 1.0
    result = node.output[0]
    convolution = helper.make_node(
        'Conv',
        [pad.input[0], f'{result}_taps'],
        [result],
        node.name,
        kernel_shape=kernel,
        pads=[*before, *after],
    )
    return convolution, numpy_helper.from_array(weight, f'{result}_taps')
