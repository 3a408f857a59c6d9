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
The operators of ONNX that our graphs have, in PyTorch.

Each entry of `OPERATORS` gets a node and returns what computes it: tensors in, tensor or tensors
out. Shapes, axes and other integers of a graph are constants, so that nothing waits for the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch.nn import functional

from uhr_seg_ros.core.errors import EngineError

Compute = Callable[..., Any]

_TYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}

#: Operator -> first of its inputs that is no tensor but a list of integers.
HOST_INPUTS = {
    'Expand': 1,
    'Pad': 1,
    'ReduceSum': 1,
    'Reshape': 1,
    'Resize': 1,
    'Slice': 1,
    'Split': 1,
    'Squeeze': 1,
    'TopK': 1,
    'Unsqueeze': 1,
}


class Node:
    """
    One node of a graph.

    Args:
        node: of the ONNX graph.
        constants: name -> value of the initializers.

    """

    def __init__(self, node: onnx.NodeProto, constants: Mapping[str, np.ndarray]) -> None:
        self._node, self._constants = node, constants
        self.operator = node.op_type
        self._attributes = {
            each.name: onnx.helper.get_attribute_value(each) for each in node.attribute
        }
        first = HOST_INPUTS.get(node.op_type, len(node.input))
        self.inputs, self.outputs = list(node.input[:first]), list(node.output)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def host(self, place: int) -> list[Any] | None:
        """
        Return an input that is a list of numbers; None where it is left out.

        Raises:
            EngineError: the graph computes it.

        """
        names = self._node.input
        if place >= len(names) or not names[place]:
            return None
        if names[place] not in self._constants:
            msg = f'{self.operator} {self._node.name}: its input {place} is no constant'
            raise EngineError(msg)
        return self._constants[names[place]].reshape(-1).tolist()

    def axes(self) -> list[int] | None:
        """Return the axes, which are an attribute or, in newer opsets, the second input."""
        return self.get('axes') or self.host(1)


def _convolution(node: Node) -> Compute:
    strides, dilations = node.get('strides', [1, 1]), node.get('dilations', [1, 1])
    groups = node.get('group', 1)
    top, left, bottom, right = node.get('pads', [0, 0, 0, 0])
    even = (top, left) == (bottom, right)

    def compute(x: Any, weight: Any, bias: Any = None) -> Any:
        x = x if even else functional.pad(x, (left, right, top, bottom))
        padding = (top, left) if even else 0
        return _conv2d(x, weight, bias, strides, padding, dilations, groups)

    return compute


def _conv2d(x: Any, weight: Any, bias: Any, *options: Any) -> Any:
    if x.device.type == 'cuda' or x.dtype != torch.float16:
        return functional.conv2d(x, weight, bias, *options)
    # On the CPU, PyTorch takes twenty times as long in half; sums are float32 on GPUs too.
    bias = None if bias is None else bias.float()
    return functional.conv2d(x.float(), weight.float(), bias, *options).half()


def _gemm(node: Node) -> Compute:
    alpha, beta = node.get('alpha', 1.0), node.get('beta', 1.0)
    first, second = (bool(node.get(name, 0)) for name in ('transA', 'transB'))

    def compute(a: Any, b: Any, c: Any = None) -> Any:
        product = (a.mT if first else a) @ (b.mT if second else b)
        product = product if alpha == 1.0 else product * alpha
        return product if c is None else product + (c if beta == 1.0 else c * beta)

    return compute


def _resize(node: Node) -> Compute:
    mode, place = node.get('mode', 'nearest'), node.get('coordinate_transformation_mode')
    known = {('linear', 'half_pixel'): 'bilinear', ('nearest', 'asymmetric'): 'nearest'}
    if (mode, place) not in known:
        msg = f'Resize is {mode} with {place}, known: {known}'
        raise EngineError(msg)
    sizes, factors = node.host(3), node.host(2)
    options = {'align_corners': False} if mode == 'linear' else {}

    def compute(x: Any) -> Any:
        size = sizes or [int(side * by) for side, by in zip(x.shape, factors or (), strict=True)]
        return functional.interpolate(x, size[2:], mode=known[mode, place], **options)

    return compute


def _pad(node: Node) -> Compute:
    pads, values = node.host(1) or [], node.host(2) or [0.0]
    half = len(pads) // 2
    # PyTorch begins with the last axis.
    pairs = [(pads[axis], pads[axis + half]) for axis in reversed(range(half))]
    while pairs and pairs[-1] == (0, 0):
        pairs.pop()
    flat = [value for pair in pairs for value in pair]
    mode = {'edge': 'replicate'}.get(node.get('mode', 'constant'), node.get('mode', 'constant'))
    value = {'value': values[0]} if mode == 'constant' else {}
    return lambda x: functional.pad(x, flat, mode, **value)


def _slice(node: Node) -> Compute:
    starts, ends, steps = node.host(1) or [], node.host(2) or [], node.host(4)
    axes = node.host(3) or list(range(len(starts)))
    steps = steps or [1] * len(starts)
    if min(steps, default=1) < 1:
        msg = f'Slice goes backwards: {steps}'
        raise EngineError(msg)
    cuts = list(zip(axes, starts, ends, steps, strict=True))

    def compute(x: Any) -> Any:
        places = [slice(None)] * x.dim()
        for axis, start, end, step in cuts:
            places[axis] = slice(start, end, step)
        return x[tuple(places)]

    return compute


def _reshape(node: Node) -> Compute:
    shape = node.host(1) or []
    if 0 not in shape or node.get('allowzero', 0):
        return lambda x: x.reshape(shape)
    return lambda x: x.reshape([side or x.shape[axis] for axis, side in enumerate(shape)])


def _reduction(name: str) -> Callable[[Node], Compute]:
    reduce = getattr(torch, name)

    def of(node: Node) -> Compute:
        axes, keeps = node.axes(), bool(node.get('keepdims', 1))
        return lambda x: reduce(x, dim=axes or list(range(x.dim())), keepdim=keeps)

    return of


def _split(node: Node) -> Compute:
    axis, sizes, count = node.get('axis', 0), node.host(1), len(node.outputs)
    return lambda x: torch.split(x, sizes or x.shape[axis] // count, axis)


def _depth_to_space(node: Node) -> Compute:
    size = node.get('blocksize')
    if node.get('mode', 'DCR') != 'CRD':
        msg = 'DepthToSpace is DCR, known: CRD'
        raise EngineError(msg)
    return lambda x: functional.pixel_shuffle(x, size)


def _average_pool(node: Node) -> Compute:
    top, left, *others = node.get('pads', [0, 0, 0, 0])
    kernel, strides = node.get('kernel_shape'), node.get('strides', [1, 1])
    counts, ceils = bool(node.get('count_include_pad', 0)), bool(node.get('ceil_mode', 0))
    if [top, left] != others:
        msg = f'AveragePool pads {[top, left, *others]}, known: the same on both sides'
        raise EngineError(msg)
    return lambda x: functional.avg_pool2d(x, kernel, strides, (top, left), ceils, counts)


def _top_k(node: Node) -> Compute:
    (count,), axis = node.host(1) or [1], node.get('axis', -1)
    largest, in_order = bool(node.get('largest', 1)), bool(node.get('sorted', 1))
    return lambda x: tuple(torch.topk(x, count, axis, largest, in_order))


def _unsqueeze(node: Node) -> Compute:
    axes = sorted(node.axes() or [])

    def compute(x: Any) -> Any:
        for axis in axes:
            x = x.unsqueeze(axis)
        return x

    return compute


def _squeeze(node: Node) -> Compute:
    axes = node.axes()
    return lambda x: x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _layer_norm(node: Node) -> Compute:
    epsilon = node.get('epsilon', 1e-5)
    return lambda x, weight, bias=None: functional.layer_norm(
        x, weight.shape, weight, bias, epsilon
    )


def _batch_norm(node: Node) -> Compute:
    epsilon = node.get('epsilon', 1e-5)
    return lambda x, weight, bias, mean, variance: functional.batch_norm(
        x, mean, variance, weight, bias, False, 0.0, epsilon
    )


def _cast(node: Node) -> Compute:
    kind = _TYPES[node.get('to')]
    return lambda x: x.to(kind)


def _clip(node: Node) -> Compute:
    return lambda x, low=None, high=None: torch.clamp(x, low, high)


def _plain(compute: Compute) -> Callable[[Node], Compute]:
    return lambda node: compute


OPERATORS: dict[str, Callable[[Node], Compute]] = {
    'Add': _plain(torch.add),
    'AveragePool': _average_pool,
    'BatchNormalization': _batch_norm,
    'Cast': _cast,
    'Clip': _clip,
    'Concat': lambda node: lambda *parts: torch.cat(parts, node.get('axis')),
    'Conv': _convolution,
    'DepthToSpace': _depth_to_space,
    'Div': _plain(torch.div),
    'Equal': _plain(torch.eq),
    'Erf': _plain(torch.erf),
    'Exp': _plain(torch.exp),
    'Expand': lambda node: (
        lambda x: x.expand(torch.broadcast_shapes(x.shape, tuple(node.host(1) or ())))
    ),
    'Gather': lambda node: lambda x, at: x.index_select(node.get('axis', 0), at.reshape(-1)),
    'Gemm': _gemm,
    'GlobalAveragePool': _plain(lambda x: x.mean((2, 3), keepdim=True)),
    'Greater': _plain(torch.gt),
    'HardSigmoid': lambda node: (
        lambda x: torch.clamp(x * node.get('alpha', 0.2) + node.get('beta', 0.5), 0.0, 1.0)
    ),
    'Identity': _plain(lambda x: x),
    'LayerNormalization': _layer_norm,
    'MatMul': _plain(torch.matmul),
    'Mul': _plain(torch.mul),
    'Neg': _plain(torch.neg),
    'Pad': _pad,
    'Pow': _plain(torch.pow),
    'Reciprocal': _plain(torch.reciprocal),
    'ReduceMax': _reduction('amax'),
    'ReduceMean': _reduction('mean'),
    'ReduceSum': _reduction('sum'),
    'Relu': _plain(torch.relu),
    'Reshape': _reshape,
    'Resize': _resize,
    'Sigmoid': _plain(torch.sigmoid),
    'Slice': _slice,
    'Softmax': lambda node: lambda x: torch.softmax(x, node.get('axis', -1)),
    'Split': _split,
    'Sqrt': _plain(torch.sqrt),
    'Squeeze': _squeeze,
    'Sub': _plain(torch.sub),
    'TopK': _top_k,
    'Transpose': lambda node: lambda x: x.permute(node.get('perm')),
    'Unsqueeze': _unsqueeze,
    'Where': _plain(torch.where),
}
