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
1x1 convolutions moved before the bilinear enlargement of what they read.

Both are linear and act on other axes, so they commute: fewer channels are enlarged, and what was
only concatenated for one convolution is added up instead. Convolutions with nothing between them
become one, and a bias moves into the convolution before it. Between them, values of an int8 graph
are no longer rounded.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt


def late_resizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Rewrite `Conv(Concat(x, Resize(y)))` as `Conv(x) + Resize(Conv(y))`, 1x1 each.

    Args:
        model: of fixed shapes, float32, with or without Q/DQ nodes.

    """
    for step in (bias_before_resize, joined_projections, _resized_parts):
        model = step(model)
    return model


def bias_before_resize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give a bias that is added to an enlarged convolution to the convolution."""
    view = GraphView(model)
    changes: dict[str, list[onnx.NodeProto]] = {}
    constants: list[onnx.TensorProto] = []
    for add in view.nodes:
        resize = view.makers.get(add.input[1]) if add.op_type == 'Add' else None
        if resize is None or resize.op_type != 'Resize' or not _alone(view, add.input[1]):
            continue
        bias = view.values(add.input[0])
        conv = view.makers.get(resize.input[0])
        if bias is None or conv is None or conv.op_type != 'Conv' or len(conv.input) != 2:
            continue
        channels = view.shape(conv.output[0])[1]
        if bias.shape != (channels, 1, 1) or not _alone(view, conv.output[0]):
            continue
        name = f'{add.output[0]}_bias'
        constants.append(numpy_helper.from_array(bias.ravel(), name))
        biased, enlarged = _copy(conv), _copy(resize)
        biased.input.append(name)
        enlarged.output[0] = add.output[0]
        changes |= {conv.output[0]: [biased], resize.output[0]: [], add.output[0]: [enlarged]}
    return _changed(model, view, changes, constants)


def joined_projections(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write two 1x1 convolutions with nothing but rounding between them as one."""
    view = GraphView(model)
    changes: dict[str, list[onnx.NodeProto]] = {}
    constants: list[onnx.TensorProto] = []
    for second in view.nodes:
        if not is_projection(view, second):
            continue
        source, lonely = _unrounded(view, second.input[0])
        first = view.makers.get(source)
        if first is None or not lonely or not is_projection(view, first):
            continue
        if first.output[0] in changes or len(first.input) != 3:
            continue
        weight, wide = (_known(view, each.input[1])[..., 0, 0] for each in (second, first))
        bias = weight @ _known(view, first.input[2])
        if len(second.input) == 3:
            bias = bias + _known(view, second.input[2])
        joined = _projection(first.input[0], weight @ wide, bias, second.output[0], constants)
        changes[second.output[0]] = [joined]
    return _changed(model, view, changes, constants)


def _resized_parts(model: onnx.ModelProto) -> onnx.ModelProto:
    view = GraphView(model)
    changes: dict[str, list[onnx.NodeProto]] = {}
    constants: list[onnx.TensorProto] = []
    for conv in view.nodes:
        if not is_projection(view, conv):
            continue
        source, lonely = _unrounded(view, conv.input[0])
        concat = view.makers.get(source)
        if concat is None or not lonely or concat.op_type != 'Concat':
            continue
        if attributes(concat)['axis'] != 1:
            continue
        made = [view.makers.get(_unrounded(view, name)[0]) for name in concat.input]
        if any(each is not None and each.op_type == 'Resize' for each in made):
            changes[conv.output[0]] = _parts(view, conv, concat, made, constants)
    return _changed(model, view, changes, constants)


def _parts(
    view: GraphView,
    conv: onnx.NodeProto,
    concat: onnx.NodeProto,
    made: list[onnx.NodeProto | None],
    constants: list[onnx.TensorProto],
) -> list[onnx.NodeProto]:
    """Return the nodes that convolve each part of a concatenation and add them up."""
    weight = _known(view, conv.input[1])[..., 0, 0]
    bias = np.zeros(len(weight), np.float32)
    if len(conv.input) == 3:
        bias = _known(view, conv.input[2])
    nodes: list[onnx.NodeProto] = []
    total, place = '', 0
    for index, (name, maker) in enumerate(zip(concat.input, made, strict=True)):
        channels = view.shape(name)[1]
        result = f'{conv.output[0]}_part_{index}'
        kernel = weight[:, place : place + channels]
        place += channels
        shift = np.zeros_like(bias) if index else bias
        if maker is not None and maker.op_type == 'Resize':
            small = f'{result}_small'
            resize = _copy(maker)
            resize.input[0], resize.output[0], resize.name = small, result, result
            if resize.input[3]:
                shape = np.array([1, len(weight), *view.shape(name)[2:]])
                constants.append(numpy_helper.from_array(shape, f'{result}_shape'))
                resize.input[3] = f'{result}_shape'
            nodes += [_projection(maker.input[0], kernel, shift, small, constants), resize]
        else:
            nodes.append(_projection(name, kernel, shift, result, constants))
        if total:
            both = f'{result}_sum'
            nodes.append(helper.make_node('Add', [total, result], [both], both))
            result = both
        total = result
    nodes[-1].output[0] = conv.output[0]
    return nodes


def weights(view: GraphView, name: str) -> np.ndarray | None:
    """Return the values of a constant, also of one that is kept as bytes."""
    maker = view.makers.get(name)
    if maker is None or maker.op_type != 'DequantizeLinear':
        return view.values(name)
    if any(each not in view.constants for each in maker.input):
        return None
    values, scale, *zero = (view.constant(each) for each in maker.input)
    axes = (-1, *[1] * (values.ndim - 1)) if scale.size > 1 else ()
    offset = zero[0].reshape(axes).astype(np.int64) if zero else 0
    return ((values.astype(np.int64) - offset) * scale.reshape(axes)).astype(np.float32)


def _known(view: GraphView, name: str) -> np.ndarray:
    values = weights(view, name)
    assert values is not None
    return values


def is_projection(view: GraphView, node: onnx.NodeProto) -> bool:
    """Tell if a node is a plain 1x1 convolution with known weights."""
    if node.op_type != 'Conv':
        return False
    details = attributes(node)
    kernels = [weights(view, name) for name in node.input[1:]]
    return (
        kernels[0] is not None
        and all(each is not None for each in kernels)
        and kernels[0].shape[2:] == (1, 1)
        and details.get('group', 1) == 1
        and set(details.get('strides', [1])) == {1}
        and not any(details.get('pads', ()))
    )


def _unrounded(view: GraphView, name: str) -> tuple[str, bool]:
    """Return the tensor before rounding to bytes, and whether nothing else reads any of them."""
    lonely = _alone(view, name)
    while (maker := view.makers.get(name)) is not None and maker.op_type in (
        'DequantizeLinear',
        'QuantizeLinear',
    ):
        if maker.op_type == 'QuantizeLinear' and not _takes_negative(view, maker):
            break
        name = maker.input[0]
        lonely = lonely and _alone(view, name)
    return name, lonely


def _takes_negative(view: GraphView, node: onnx.NodeProto) -> bool:
    """Tell if a quantization rounds only: without negative values it is a ReLU as well."""
    zero = view.values(node.input[2]) if len(node.input) > 2 else None
    return zero is not None and bool((zero > np.iinfo(zero.dtype).min).all())


def _alone(view: GraphView, name: str) -> bool:
    return view.only_reader(name) is not None


def _projection(
    source: str,
    kernel: np.ndarray,
    bias: np.ndarray,
    result: str,
    constants: list[onnx.TensorProto],
) -> onnx.NodeProto:
    names = [f'{result}_projection', f'{result}_bias']
    for name, values in zip(names, (kernel[..., None, None], bias), strict=True):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
    return helper.make_node('Conv', [source, *names], [result], result, kernel_shape=[1, 1])


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    return onnx.NodeProto.FromString(node.SerializeToString())


def _changed(
    model: onnx.ModelProto,
    view: GraphView,
    changes: dict[str, list[onnx.NodeProto]],
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    """Return a model with other nodes in the place of some, each known by its first output."""
    nodes = [new for node in view.nodes for new in changes.get(node.output[0], [node])]
    return rebuilt(model, nodes, constants) if changes else model
