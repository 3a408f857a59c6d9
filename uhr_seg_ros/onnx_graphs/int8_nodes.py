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

"""Which nodes of a graph can run in int8 on a CPU, and what they read and write."""

from __future__ import annotations

from collections.abc import Collection

import onnx

#: Convolutions with fewer channels on either side, or in a group, stay as they are: the int8
#: kernels gather their inputs value by value, which takes longer than float32.
MIN_CHANNELS = 16

#: They run in int8 where all that they read and something that reads them does: alone, the
#: conversions would cost more than the operator.
JOINING = ('Add', 'Concat', 'Resize')

#: Operators through which values pass on their way into a product of two activations.
_PASSING = (
    'Cast',
    'Concat',
    'Div',
    'Flatten',
    'Mul',
    'Pad',
    'Relu',
    'Reshape',
    'Slice',
    'Split',
    'Squeeze',
    'Transpose',
    'Unsqueeze',
)


class Int8Nodes:
    """
    The nodes of a graph that may become int8, and what is around them.

    Args:
        model: float32, batch norms folded, every node with a name of its own.

    Attributes:
        candidates: names of the nodes that may become int8, in the order of the graph:
            convolutions of `MIN_CHANNELS`, and those in `JOINING` beside them. Not those
            that give an output, nor those whose results are multiplied with each other and
            summed over all positions, as in linear attention.

    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._nodes = {node.name: node for node in graph.node}
        self._weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self._outputs = {info.name for info in graph.output}
        self._producers = {name: node for node in graph.node for name in node.output if name}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        summed = self._summed()
        possible = {
            node.name
            for node in graph.node
            if not self._outputs & set(node.output)
            and (node.op_type in JOINING or (self._is_wide(node) and node.name not in summed))
        }
        found = self.joined(possible)
        self.candidates = [node.name for node in graph.node if node.name in found]

    def joined(self, names: Collection[str]) -> set[str]:
        """Leave out those in `JOINING` that would read or write float32 only."""
        chosen = set(names)
        while kept := {name for name in chosen if self._joins(name, chosen)}:
            if kept == chosen:
                break
            chosen = kept
        return kept

    def operator(self, name: str) -> str:
        """Return the type of a node."""
        return self._nodes[name].op_type

    def kernel(self, name: str) -> tuple[int, ...]:
        """Return the shape of the weights of a convolution."""
        return self._weights[self._nodes[name].input[1]]

    def inputs(self, name: str) -> list[str]:
        """Name the activations that a node reads."""
        node = self._nodes[name]
        count = 1 if node.op_type in ('Conv', 'Resize') else len(node.input)
        return [tensor for tensor in node.input[:count] if tensor not in self._weights]

    def result(self, name: str) -> str:
        """Name what a node gives, after a ReLU that alone reads it."""
        rectifier = self._rectifier(name)
        return (rectifier or self._nodes[name]).output[0]

    def results(self, names: Collection[str]) -> set[str]:
        """Name what nodes give; in int8 it exists as uint8 only."""
        return {self.result(name) for name in names}

    def pairs(self) -> list[tuple[str, str]]:
        """Name convolutions and the depthwise or dense ones that alone read them."""
        found = []
        for name, node in self._nodes.items():
            tensor = self.result(name) if self._has_weights(node) else ''
            readers = self._readers.get(tensor, [])
            if len(readers) != 1 or tensor in self._outputs:
                continue
            (reader,) = readers
            if self._has_weights(reader) and (_groups(reader) == 1 or self._is_depthwise(reader)):
                found.append((name, reader.name))
        return found

    def leaves(self, name: str, chosen: Collection[str]) -> bool:
        """Tell if something reads a node that is not among the chosen ones."""
        tensor = self.result(name)
        readers = self._readers.get(tensor, [])
        return tensor in self._outputs or any(each.name not in chosen for each in readers)

    def activations(self, names: Collection[str]) -> list[str]:
        """Name the tensors that need a range when nodes are int8."""
        found = []
        for name in names:
            found += [*self.inputs(name), self._nodes[name].output[0], self.result(name)]
        return list(dict.fromkeys(found))

    def rectifiers(self, names: Collection[str]) -> set[str]:
        """Name the ReLUs that become the lower end of a range."""
        found = map(self._rectifier, names)
        return {node.name for node in found if node is not None}

    def _rectifier(self, name: str) -> onnx.NodeProto | None:
        tensor = self._nodes[name].output[0]
        readers = self._readers.get(tensor, [])
        alone = len(readers) == 1 and tensor not in self._outputs
        return readers[0] if alone and readers[0].op_type == 'Relu' else None

    def _is_wide(self, node: onnx.NodeProto) -> bool:
        if not self._has_weights(node):
            return False
        outputs, inputs = self.kernel(node.name)[:2]
        narrow = inputs < MIN_CHANNELS and not self._is_depthwise(node)
        return outputs >= MIN_CHANNELS and not narrow

    def _has_weights(self, node: onnx.NodeProto) -> bool:
        """Tell if a node is a convolution of an activation, with constant weights."""
        return (
            node.op_type == 'Conv'
            and node.input[0] not in self._weights
            and all(name in self._weights for name in node.input[1:])
        )

    def _is_depthwise(self, node: onnx.NodeProto) -> bool:
        outputs, inputs = self.kernel(node.name)[:2]
        return inputs == 1 and _groups(node) == outputs

    def _joins(self, name: str, chosen: set[str]) -> bool:
        if self._nodes[name].op_type not in JOINING:
            return True
        inputs, results = self.inputs(name), self.results(chosen)
        read = any(each.name in chosen for each in self._readers.get(self.result(name), []))
        return read and bool(inputs) and results.issuperset(inputs)

    def _summed(self) -> set[str]:
        """Name the convolutions that end in a product of two activations."""
        waiting = [
            name
            for node in self._nodes.values()
            if node.op_type == 'MatMul' and not self._weights.keys() & set(node.input)
            for name in node.input
        ]
        found, seen = set(), set()
        while waiting:
            name = waiting.pop()
            node = self._producers.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            if node.op_type == 'Conv':
                found.add(node.name)
            elif node.op_type in _PASSING:
                waiting += node.input
        return found


def _groups(node: onnx.NodeProto) -> int:
    return next((each.i for each in node.attribute if each.name == 'group'), 1)
