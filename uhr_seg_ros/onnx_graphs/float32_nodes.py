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
Which nodes of a graph have to compute in float32.

The largest half is 65504; below 6.1e-5 halves lose digits (subnormals), below 6e-8 they are zero.
"""

from __future__ import annotations

from collections.abc import Mapping
import math

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from uhr_seg_ros.onnx_graphs.folding import shapes_of

#: Operators that lose too much in float16: exponentials, and means and sums of many values.
FLOAT32_OPERATORS = frozenset(
    {
        'BatchNormalization',
        'CumSum',
        'DequantizeLinear',
        'Exp',
        'GlobalAveragePool',
        'InstanceNormalization',
        'LayerNormalization',
        'Log',
        'LogSoftmax',
        'LpNormalization',
        'Pow',
        'QuantizeLinear',
        'ReduceL1',
        'ReduceL2',
        'ReduceLogSumExp',
        'ReduceMean',
        'ReduceSum',
        'ReduceSumSquare',
        'Softmax',
        'Softplus',
        'Sqrt',
        'TopK',
    }
)

#: Operators that only move or pick numbers: halves come out as they went in.
EXACT_OPERATORS = frozenset(
    {
        'Concat',
        'DepthToSpace',
        'Expand',
        'Flatten',
        'Identity',
        'Pad',
        'Relu',
        'Reshape',
        'Slice',
        'SpaceToDepth',
        'Split',
        'Squeeze',
        'Tile',
        'Transpose',
        'Unsqueeze',
    }
)

#: What TensorRT computes as the end of the convolution before it.
FUSED_OPERATORS = frozenset({'Relu', 'HardSigmoid', 'Mul', 'Add', 'Clip'})

#: Operators that a constant shifts, scales or limits the numbers of.
_ELEMENTWISE = frozenset({'Add', 'Clip', 'Div', 'Max', 'Min', 'Mul', 'Sub'})

#: Operators that sum what depends on the image; so does `MatMul` of two such maps.
_SUMS = frozenset({'ReduceL1', 'ReduceSum', 'ReduceSumSquare'})

#: What may stand between sums and the quotient that normalizes them.
_LINEAR_OPERATORS = EXACT_OPERATORS | {'Add', 'Cast', 'Div', 'MatMul', 'Mul', 'Sub'}

#: Smaller factors are such as make a mean of a sum.
_SMALLEST_SCALE = 1 / 64

#: Softmax over more places gives most of them less than the smallest half with all digits.
_MOST_SHARES = 1 << 14

_HALF = np.finfo(np.float16)
#: Constants above stand for infinity, such as the least float in a mask.
_INFINITE = 1e30


def find_float32_nodes(model: onnx.ModelProto, types: Mapping[str, int]) -> set[int]:
    """
    Choose the nodes that compute in float32, by their place in the graph.

    Those of `EXACT_OPERATORS` among them need float32 only where they are fed with it.

    Args:
        model: of fixed shapes, all float32.
        types: tensor -> ONNX type.

    """
    return _Choice(model, types).float32_nodes()


class _Choice:
    def __init__(self, model: onnx.ModelProto, types: Mapping[str, int]) -> None:
        self._nodes = model.graph.node
        self._types = types
        self._shapes = shapes_of(model)
        self._constants = {each.name: each for each in model.graph.initializer}
        self._makers = {
            name: place for place, node in enumerate(self._nodes) for name in node.output
        }

    def float32_nodes(self) -> set[int]:
        kept: set[int] = set()
        quantized: set[str] = set()
        starts = []
        for place, node in enumerate(self._nodes):
            if self._is_quantized(node, quantized):
                quantized.update(node.output)
                kept.add(place)
            if node.op_type in FLOAT32_OPERATORS or self._has_constant_out_of_range(node):
                kept.add(place)
            if self._is_square(node) or self._scales_a_sum(node):
                kept.add(place)
            if self._is_quotient(node) or self._sums_shares(node):
                starts.append(place)
        return kept | self._unnormalized_nodes(starts)

    def _unnormalized_nodes(self, waiting: list[int]) -> set[int]:
        """
        Find sums that are divided only afterwards, such as those of linear attention.

        They sum over all pixels, which overflows, or what they sum is scaled, which underflows.
        """
        summed = self._summed_nodes()
        kept: set[int] = set()
        while waiting:
            place = waiting.pop()
            kept.add(place)
            for name in self._nodes[place].input:
                maker = self._makers.get(name)
                if maker is not None and maker not in kept and self._hands_on(maker, summed):
                    waiting.append(maker)
        return kept

    def _summed_nodes(self) -> set[int]:
        """Find sums and numbers scaled down for one, and what becomes of both until a quotient."""
        found: set[int] = set()
        for place, node in enumerate(self._nodes):
            makers = {self._makers[name] for name in node.input if name in self._makers}
            begins = self._is_sum(node) or self._scales_down(node)
            if begins or (self._is_linear(node) and makers & found):
                found.add(place)
        return found

    def _hands_on(self, place: int, summed: set[int]) -> bool:
        """Tell if a node has sums, or what is moved or scaled to be summed."""
        node = self._nodes[place]
        scaled = self._scale(node) is not None
        return place in summed or scaled or node.op_type in EXACT_OPERATORS

    def _is_sum(self, node: onnx.NodeProto) -> bool:
        """Tell if a node sums what depends on the image; products with weights are like Conv."""
        weighted = self._constants.keys() & set(node.input)
        return node.op_type in _SUMS or (node.op_type == 'MatMul' and not weighted)

    def _is_linear(self, node: onnx.NodeProto) -> bool:
        products = node.op_type != 'MatMul' or self._is_sum(node)
        return node.op_type in _LINEAR_OPERATORS and products and not self._is_quotient(node)

    def _scale(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """Return the constant that a node multiplies with or divides by."""
        places = {'Mul': (0, 1), 'Div': (1,)}.get(node.op_type, ())
        constants = [self._constants.get(node.input[place]) for place in places]
        return next(filter(None, constants), None)

    def _scales_down(self, node: onnx.NodeProto) -> bool:
        """Tell if a node makes numbers so much smaller that half may have no digits for them."""
        constant = self._scale(node)
        if constant is None or math.prod(constant.dims) != 1:
            return False
        factor = abs(float(numpy_helper.to_array(constant).item()))
        return factor > 1 / _SMALLEST_SCALE if node.op_type == 'Div' else factor < _SMALLEST_SCALE

    def _is_quotient(self, node: onnx.NodeProto) -> bool:
        by_sum = node.op_type == 'Div' and node.input[1] not in self._constants
        return by_sum or node.op_type == 'Reciprocal'

    def _has_constant_out_of_range(self, node: onnx.NodeProto) -> bool:
        """Tell if a count, an epsilon or a factor is not to be had in half."""
        return node.op_type in _ELEMENTWISE and any(
            name in self._constants
            and self._types[name] == TensorProto.FLOAT
            and _is_out_of_range(self._constants[name])
            for name in node.input
        )

    def _scales_a_sum(self, node: onnx.NodeProto) -> bool:
        """Tell if a node makes a mean of a sum: the sum itself may be too large for half."""
        makers = map(self._source, node.input if self._scale(node) is not None else ())
        return any(maker is not None and maker.op_type in _SUMS for maker in makers)

    def _is_square(self, node: onnx.NodeProto) -> bool:
        """Tell if a node squares, as norms do before they sum: 256 is enough to overflow."""
        return node.op_type == 'Mul' and node.input[0] == node.input[1]

    def _sums_shares(self, node: onnx.NodeProto) -> bool:
        """Tell if a node multiplies with the softmax over many places."""
        makers = map(self._source, node.input if node.op_type == 'MatMul' else ())
        return any(
            maker is not None and maker.op_type == 'Softmax' and self._shares(maker) > _MOST_SHARES
            for maker in makers
        )

    def _shares(self, softmax: onnx.NodeProto) -> int:
        axes = [helper.get_attribute_value(each) for each in softmax.attribute]
        return self._shapes[softmax.output[0]][axes[0] if axes else -1]

    def _source(self, name: str) -> onnx.NodeProto | None:
        """Return the node that computed what a tensor holds, wherever that was moved since."""
        while (place := self._makers.get(name)) is not None:
            node = self._nodes[place]
            if node.op_type not in EXACT_OPERATORS:
                return node
            name = node.input[0]
        return None

    def _is_quantized(self, node: onnx.NodeProto, quantized: set[str]) -> bool:
        """Tell if a node runs in int8, or can be fused with one that does."""
        if any(name.endswith('_DequantizeLinear_Output') for name in node.input):
            return True
        variables = [name for name in node.input if name not in self._constants]
        return node.op_type in FUSED_OPERATORS and all(name in quantized for name in variables)


def _is_out_of_range(constant: onnx.TensorProto) -> bool:
    """Tell if a constant is too large for half, or so small that half has no digits for it."""
    sizes = np.abs(numpy_helper.to_array(constant))
    finite = sizes[(sizes > 0) & (sizes < _INFINITE)]
    return finite.size > 0 and bool(finite.max() > _HALF.max or finite.max() < _HALF.tiny)
