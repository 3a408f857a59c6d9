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

"""Depthwise convolutions of several sizes as one of the largest."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt


def joined_fields(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Write depthwise convolutions of slices, concatenated and normed, as one of the largest kernel.

    Its zeros cost less than the copies of the slices.
    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    nodes = []
    for norm in view.nodes:
        joined = _joined(view, norm) if norm.op_type == 'BatchNormalization' else None
        if joined is None:
            nodes.append(norm)
            continue
        source, kernel, bias = joined
        names = [f'{norm.output[0]}_kernel', f'{norm.output[0]}_bias']
        constants += [
            numpy_helper.from_array(values.astype(np.float32), name)
            for values, name in zip((kernel, bias), names, strict=True)
        ]
        size = kernel.shape[2]
        nodes.append(
            helper.make_node(
                'Conv',
                [source, *names],
                [norm.output[0]],
                norm.name,
                kernel_shape=[size, size],
                pads=[size // 2] * 4,
                group=len(kernel),
            )
        )
    return rebuilt(model, nodes, constants) if constants else model


def _joined(view: GraphView, norm: onnx.NodeProto) -> tuple[str, np.ndarray, np.ndarray] | None:
    """Return source, kernel and bias of one convolution for a norm of concatenated ones."""
    concat = view.makers.get(norm.input[0])
    if concat is None or concat.op_type != 'Concat' or attributes(concat)['axis'] != 1:
        return None
    kernels: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    sources: set[str] = set()
    source, place = '', 0
    for name in concat.input:
        conv = view.makers.get(name)
        if conv is None or not _is_same_depthwise(view, conv):
            return None
        part = view.makers.get(conv.input[0])
        while part is not None and part.op_type in ('QuantizeLinear', 'DequantizeLinear'):
            part = view.makers.get(part.input[0])
        if part is None or part.op_type != 'Slice':
            return None
        starts, axes = view.values(part.input[1]), view.values(part.input[3])
        if starts is None or axes is None or [*starts, *axes] != [place, 1]:
            return None
        source = part.input[0]
        sources.add(_before_pairs(view, source))
        kernels.append(view.constant(conv.input[1]))
        biases.append(view.constant(conv.input[2]))
        place += len(kernels[-1])
    if len(sources) != 1 or view.shape(source)[1] != place:
        return None
    size = max(each.shape[2] for each in kernels)
    wide = [
        np.pad(each, [(0, 0), (0, 0), *[((size - each.shape[2]) // 2,) * 2] * 2])
        for each in kernels
    ]
    weight, shift, mean, variance = (view.constant(name) for name in norm.input[1:])
    scale = weight / np.sqrt(variance + attributes(norm).get('epsilon', 1e-5))
    kernel = np.concatenate(wide) * scale[:, None, None, None]
    return source, kernel, (np.concatenate(biases) - mean) * scale + shift


def _before_pairs(view: GraphView, name: str) -> str:
    """Return the tensor before a dequantization, of which there may be copies."""
    maker = view.makers.get(name)
    return maker.input[0] if maker is not None and maker.op_type == 'DequantizeLinear' else name


def _is_same_depthwise(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.op_type != 'Conv' or len(node.input) != 3:
        return False
    details, kernel = attributes(node), view.values(node.input[1])
    if kernel is None or view.values(node.input[2]) is None:
        return False
    size = kernel.shape[2]
    return (
        details.get('group') == len(kernel) == view.shape(node.input[0])[1]
        and kernel.shape[2:] == (size, size)
        and list(details.get('pads', ())) == [size // 2] * 4
        and set(details.get('strides', [1])) == set(details.get('dilations', [1])) == {1}
    )
