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
The memory that a processor reads and writes for a graph, and the time that it takes on paper.

A network of large frames is bound by bandwidth, so its bytes tell more than its multiply-adds. How
a compiler fuses operators is modeled, simply: what acts value by value joins the operator before
it, views cost nothing, and everything else is a kernel of its own that reads its inputs and writes
its outputs once. Kernels that only move values are counted one by one; compilers merge some.
`tools/engine_traffic.py` counts the kernels that TensorRT for RTX really makes of a graph.
"""

from __future__ import annotations

from collections.abc import Iterable
import math
from typing import NamedTuple

from onnx import helper, NodeProto, TensorProto

from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView

#: They give what they read, under another shape. A product of int8 reads what was quantized.
VIEWS = frozenset({'DequantizeLinear', 'Flatten', 'Identity', 'Reshape', 'Squeeze', 'Unsqueeze'})

#: They act value by value.
POINTWISE = frozenset(
    {
        'Abs',
        'Add',
        'BatchNormalization',
        'Cast',
        'Clip',
        'Div',
        'Equal',
        'Erf',
        'Exp',
        'Greater',
        'HardSigmoid',
        'Less',
        'Log',
        'Max',
        'Min',
        'Mul',
        'Neg',
        'Not',
        'Pow',
        'QuantizeLinear',
        'Reciprocal',
        'Relu',
        'Sigmoid',
        'Sqrt',
        'Sub',
        'Tanh',
        'Where',
    }
)

#: Sums of products; they write the type that they compute in.
PRODUCTS = frozenset({'Conv', 'ConvTranspose', 'Gemm', 'MatMul'})

#: Element type of what a product reads first -> precision of its multiply-adds.
_PRECISIONS = {
    TensorProto.FLOAT16: 'fp16',
    TensorProto.INT8: 'int8',
    TensorProto.UINT8: 'int8',
}

#: They read no more of their first input than they give.
_PICKING = frozenset({'Gather', 'Slice'})


class Kernel(NamedTuple):
    """
    What a GPU computes at a time.

    Attributes:
        operator: the one that it begins with.
        nodes: names of its nodes, that of their first output where they have none.
        read: bytes that it reads, weights among them.
        written: bytes that it writes.
        macs: multiply-adds.
        precision: that of the multiply-adds: `fp32`, `fp16` or `int8`.

    """

    operator: str
    nodes: tuple[str, ...]
    read: int
    written: int
    macs: int
    precision: str

    @property
    def bytes(self) -> int:
        """Bytes that it moves."""
        return self.read + self.written


class Device(NamedTuple):
    """
    What a processor can do at most: of a GPU by its data sheet.

    Attributes:
        title: its name.
        bandwidth: of its memory, bytes per second.
        macs: precision -> dense multiply-adds per second; fp32 without TF32.

    """

    title: str
    bandwidth: float
    macs: dict[str, float]


DEVICES = {
    'h200': Device('H200', 4.8e12, {'fp32': 33.5e12, 'fp16': 494e12, 'int8': 990e12}),
    'agx_orin': Device('AGX Orin', 204.8e9, {'fp32': 2.66e12, 'fp16': 21e12, 'int8': 42e12}),
}

#: Shares of these peaks that good kernels reach.
REACHED = (0.75, 0.80)


def paper_ms(kernels: Iterable[Kernel], device: Device, reached: float) -> float:
    """
    Sum up the time of kernels, each bound by memory or by multiply-adds, ms.

    Args:
        kernels: one after the other.
        device: runs them.
        reached: share of its peaks.

    """
    return sum(
        1e3 * max(each.bytes / device.bandwidth, each.macs / device.macs[each.precision]) / reached
        for each in kernels
    )


def kernels_of(view: GraphView) -> list[Kernel]:
    """Split a graph into kernels, in their order, and count what each of them moves."""
    return _Fusion(view).kernels()


class _Fusion:
    """Which nodes make one kernel."""

    def __init__(self, view: GraphView) -> None:
        self._view = view
        #: View -> what it shows; what follows from constants; tensor -> place of its kernel.
        self._sources: dict[str, str] = {}
        self._constant = set(view.constants)
        self._places: dict[str, int] = {}
        self._groups: list[list[NodeProto]] = []
        for node in view.nodes:
            self._add(node)

    def kernels(self) -> list[Kernel]:
        return [self._kernel(place, nodes) for place, nodes in enumerate(self._groups)]

    def _add(self, node: NodeProto) -> None:
        if node.op_type in VIEWS:
            self._sources[node.output[0]] = self._source(node.input[0])
            return
        sources = [self._source(name) for name in node.input if name]
        variables = [name for name in sources if name not in self._constant]
        if not variables:
            self._constant.update(node.output)
            return
        # The last of the kernels that it reads from: the others have run by then.
        place = max((self._places.get(name, -1) for name in variables), default=-1)
        if place < 0 or not self._joins(node, self._groups[place]):
            place = len(self._groups)
            self._groups.append([])
        self._groups[place].append(node)
        self._places |= dict.fromkeys(node.output, place)

    @staticmethod
    def _joins(node: NodeProto, group: list[NodeProto]) -> bool:
        if node.op_type not in POINTWISE:
            return False
        return not (node.op_type == 'Cast' and group[0].op_type in PRODUCTS)

    def _kernel(self, place: int, nodes: list[NodeProto]) -> Kernel:
        inside = {name for node in nodes for name in node.output if name}
        read: dict[str, int] = {}
        for node in nodes:
            for index, name in enumerate(map(self._source, node.input)):
                if name and name not in inside:
                    size = self._size(name)
                    if node.op_type in _PICKING and not index:
                        size = min(size, self._size(node.output[0]))
                    read[name] = max(read.get(name, 0), size)
        written = sum(self._size(name) for name in inside if self._leaves(name, place))
        first, copied = nodes[0], self._lengthened(nodes[0])
        return Kernel(
            first.op_type,
            tuple(node.name or node.output[0] for node in nodes),
            sum(read.values()) + copied,
            written + copied,
            self._macs(first),
            self._precision(first),
        )

    def _lengthened(self, node: NodeProto) -> int:
        """Count bytes of factors that are copied since tensor cores take halves in pairs."""
        if node.op_type != 'MatMul' or self._precision(node) != 'fp16':
            return 0
        if self._view.shape(node.input[0])[-1] % 2 == 0:
            return 0
        sources = map(self._source, node.input)
        return sum(self._size(name) for name in sources if name not in self._constant)

    def _leaves(self, name: str, place: int) -> bool:
        """Tell if a tensor, or a view of it, is read by another kernel or is an output."""
        if name in self._view.outputs:
            return True
        for node in self._view.readers.get(name, []):
            if node.op_type in VIEWS:
                if self._leaves(node.output[0], place):
                    return True
            elif self._places.get(node.output[0], place) != place:
                return True
        return False

    def _macs(self, node: NodeProto) -> int:
        if node.op_type not in PRODUCTS:
            return 0
        first, second = (self._view.shape(name) for name in node.input[:2])
        if node.op_type == 'ConvTranspose':
            return math.prod(first) * math.prod(second[1:])
        values = math.prod(self._view.shape(node.output[0]))
        if node.op_type == 'Conv':
            return values * math.prod(second[1:])
        return values * first[0 if attributes(node).get('transA') else -1]

    def _precision(self, node: NodeProto) -> str:
        kind = self._view.types[self._source(node.input[0])]
        return _PRECISIONS.get(kind, 'fp32')

    def _source(self, name: str) -> str:
        return self._sources.get(name, name)

    def _size(self, name: str) -> int:
        name = self._source(name)
        itemsize = helper.tensor_dtype_to_np_dtype(self._view.types[name]).itemsize
        return math.prod(self._view.shape(name)) * itemsize
