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

"""Who makes and who reads each tensor of an ONNX graph of fixed shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.folding import replace_nodes


class GraphView:
    """
    A graph of fixed shapes, to be looked at; it does not follow later changes.

    Args:
        model: as `fix_shapes` gives it, in any precision.

    Attributes:
        nodes: in their order.
        makers: tensor -> the node that makes it.
        readers: tensor -> the nodes that read it.
        constants: name -> initializer.
        inputs: names of the inputs.
        outputs: names of the outputs.
        types: tensor -> element type.

    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        self.nodes = list(model.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs = {tensor.name for tensor in model.graph.input}
        self.outputs = {tensor.name for tensor in model.graph.output}
        self.types = {name: tensor.data_type for name, tensor in self.constants.items()}
        self._shapes = {name: tuple(tensor.dims) for name, tensor in self.constants.items()}
        for tensor in (*graph.input, *graph.value_info, *graph.output):
            kind = tensor.type.tensor_type
            self.types[tensor.name] = kind.elem_type
            self._shapes[tensor.name] = tuple(each.dim_value for each in kind.shape.dim)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self._shapes[name]

    def values(self, name: str) -> np.ndarray | None:
        """Return the values of a constant; None for what is computed, or for no input."""
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def constant(self, name: str) -> np.ndarray:
        """Return the values of a constant that is known to be one."""
        return numpy_helper.to_array(self.constants[name])

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """Return the node that alone reads a tensor which is no output of the graph."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node that are written out."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def rebuilt(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], constants: Iterable[onnx.TensorProto]
) -> onnx.ModelProto:
    """
    Return a model with other nodes and more constants, without what no output needs.

    Args:
        model: stays as it is.
        nodes: in an order in which they can run.
        constants: of these nodes, beside those of the model.

    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.initializer.extend(constants)
    needed = {tensor.name for tensor in model.graph.output}
    kept = []
    for node in reversed(nodes):
        if needed & set(node.output):
            needed.update(node.input)
            kept.append(node)
    return replace_nodes(changed, kept[::-1])
