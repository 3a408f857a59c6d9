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
Q/DQ nodes around convolutions for TensorRT, with the ranges that real frames show.

What is written is what `onnxruntime.quantization` writes for TensorRT: symmetric int8, weights
per channel with Q/DQ nodes of their own, biases as they are. That library does not serve here,
since it hands the quantized tensor to everything that reads the tensor: skip connections lose
accuracy, and a small convolution beside a large one is left in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.onnx_graphs.calibration import ActivationObserver, Feeds, LARGEST_INT8, range_end

#: Convolutions with fewer channels on either side stay as they are: int8 saves them little time,
#: and they cost most of the accuracy. Among them are the first ones and the classifier.
MIN_CHANNELS = 64


def quantize(model: onnx.ModelProto, feeds: Iterable[Feeds]) -> onnx.ModelProto:
    """
    Quantize the convolutions of a graph that are worth it to int8.

    Weights end at their largest magnitude, per channel; see `range_end` for activations.

    Args:
        model: float32, of one size or of any.
        feeds: inputs of the graph from real frames, float32; taken one at a time.

    Returns:
        The model with Q/DQ nodes, everything else in float32; the same model if none of its
        convolutions is worth it.

    Raises:
        EngineError: there are no feeds, or the graph cannot take them.

    """
    places = quantized_convolutions(model)
    if not places:
        return model
    names = sorted({model.graph.node[place].input[0] for place in places})
    return insert_qdq(model, places, _ranges(model, names, feeds))


def quantized_convolutions(model: onnx.ModelProto) -> list[int]:
    """
    Choose the convolutions that become int8, by their places among the nodes.

    They have `MIN_CHANNELS` on both sides, in each group, and give no output of the graph.
    """
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    outputs = {info.name for info in graph.output}
    return [
        place
        for place, node in enumerate(graph.node)
        if node.op_type == 'Conv'
        and node.output[0] not in outputs
        and min(shapes.get(node.input[1], (0,))[:2]) >= MIN_CHANNELS
    ]


def _ranges(model: onnx.ModelProto, names: list[str], feeds: Iterable[Feeds]) -> dict[str, float]:
    """Find the largest magnitude that each tensor is to represent, the largest of all frames."""
    observer = ActivationObserver(model, names)
    found = dict.fromkeys(names, 0.0)
    frames = 0
    for frames, feed in enumerate(feeds, 1):  # noqa: B007
        for name, values in observer.values(feed).items():
            found[name] = max(found[name], range_end(values))
    if not frames:
        msg = f'graph {model.graph.name}: int8 needs frames to calibrate with, none were given'
        raise EngineError(msg)
    return found


def insert_qdq(
    model: onnx.ModelProto, places: Collection[int], ends: Mapping[str, float]
) -> onnx.ModelProto:
    """
    Write Q/DQ nodes around convolutions.

    Args:
        model: float32.
        places: of the convolutions, as `quantized_convolutions` gives them.
        ends: largest magnitude that each tensor that they read is to represent.

    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    writer = QdqWriter()
    nodes = []
    for place, original in enumerate(model.graph.node):
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if place in places:
            source, kernel = node.input[:2]
            node.input[0] = writer.add(source, np.array(ends[source]))
            largest = np.abs(numpy_helper.to_array(weights[kernel])).max((1, 2, 3))
            node.input[1] = writer.add(kernel, largest, axis=0)
        nodes += [*writer.take(), node]
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(writer.constants)
    return result


class QdqWriter:
    """Write symmetric int8 Q/DQ nodes, one pair for each tensor."""

    def __init__(self) -> None:
        self.constants: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._made: set[str] = set()

    def add(self, name: str, ends: np.ndarray, axis: int | None = None) -> str:
        """Quantize a tensor, and return the name of what comes back."""
        result = f'{name}_DequantizeLinear_Output'
        if name in self._made:
            return result
        self._made.add(name)
        # What is zero everywhere needs some scale, too.
        scale = np.where(ends > 0, ends, 1.0).astype(np.float32) / np.float32(LARGEST_INT8)
        zero = np.zeros(scale.shape, np.int8)
        for values, what in ((scale, 'scale'), (zero, 'zero_point')):
            self.constants.append(numpy_helper.from_array(values, f'{name}_{what}'))
        steps = (
            ('QuantizeLinear', name, f'{name}_QuantizeLinear_Output'),
            ('DequantizeLinear', f'{name}_QuantizeLinear_Output', result),
        )
        for kind, source, target in steps:
            inputs = [source, f'{name}_scale', f'{name}_zero_point']
            node = helper.make_node(kind, inputs, [target], target)
            if axis is not None:
                node.attribute.append(helper.make_attribute('axis', axis))
            self._nodes.append(node)
        return result

    def take(self) -> list[onnx.NodeProto]:
        """Return the nodes that were made since the last time."""
        nodes, self._nodes = self._nodes, []
        return nodes
