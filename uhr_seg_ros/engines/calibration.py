# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Q/DQ nodes around convolutions, with the ranges that real frames show.

What is written is what `onnxruntime.quantization` writes for TensorRT: symmetric int8, weights
per channel with Q/DQ nodes of their own, biases as they are. That library does not serve here,
since it hands the quantised tensor to everything that reads the tensor: skip connections lose
accuracy, and a small convolution beside a large one is left in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper
import onnxruntime as ort

from uhr_seg_ros.engines.folding import GraphError

Feeds = Mapping[str, np.ndarray]

#: Convolutions with fewer channels on either side stay as they are: int8 saves them little time,
#: and they cost most of the accuracy. Among them are the first ones and the classifier.
LEAST_CHANNELS = 64

#: Largest int8.
_LARGEST = 127

#: Shares of the largest value that are tried as the end of the range.
_SHARES = np.linspace(0.2, 1.0, 33)
_BINS = 4096
#: Values of one tensor and frame that are looked at.
_SAMPLES = 1 << 18


def quantize(model: onnx.ModelProto, feeds: Iterable[Feeds]) -> onnx.ModelProto:
    """
    Quantise the convolutions of a graph that are worth it to int8.

    Weights end at their largest magnitude, per channel; see `range_end` for activations.

    Args:
        model: float32, of one size or of any.
        feeds: inputs of the graph from real frames, float32; taken one at a time.

    Returns:
        The model with Q/DQ nodes, everything else in float32; the same model if none of its
        convolutions is worth it.

    Raises:
        GraphError: there are no feeds, or the graph cannot take them.

    """
    places = quantised_convolutions(model)
    if not places:
        return model
    names = sorted({model.graph.node[place].input[0] for place in places})
    return _insert(model, set(places), _ranges(model, names, feeds))


def quantised_convolutions(model: onnx.ModelProto) -> list[int]:
    """
    Choose the convolutions that become int8, by their places among the nodes.

    They have `LEAST_CHANNELS` on both sides, in each group, and give no output of the graph.
    """
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    outputs = {info.name for info in graph.output}
    return [
        place
        for place, node in enumerate(graph.node)
        if node.op_type == 'Conv'
        and node.output[0] not in outputs
        and min(shapes.get(node.input[1], (0,))[:2]) >= LEAST_CHANNELS
    ]


def _ranges(
    model: onnx.ModelProto, names: list[str], feeds: Iterable[Feeds]
) -> dict[str, float]:
    """Find the largest magnitude that each tensor is to represent, the largest of all frames."""
    session = _session(model, names)
    found = dict.fromkeys(names, 0.0)
    frames = 0
    for frames, feed in enumerate(feeds, 1):  # noqa: B007
        wanted = [name for name in names if name not in feed]
        try:
            values = dict(zip(wanted, session.run(wanted, dict(feed)), strict=True))
        except Exception as err:  # the classes of ONNX Runtime have no common base
            text = ' '.join(str(err).split())
            msg = f'graph {model.graph.name} cannot be calibrated: {text}'
            raise GraphError(msg) from err
        for name in names:
            value = values[name] if name in values else feed[name]
            found[name] = max(found[name], range_end(value))
    if not frames:
        msg = f'graph {model.graph.name}: int8 needs frames to calibrate with, none were given'
        raise GraphError(msg)
    return found


def _session(model: onnx.ModelProto, names: list[str]) -> ort.InferenceSession:
    """Open a graph that gives more tensors than its own outputs."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {info.name for info in (*model.graph.input, *model.graph.output)}
    watched.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in known
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3  # warnings repeat what the raised error says
    return ort.InferenceSession(
        watched.SerializeToString(), options, providers=['CPUExecutionProvider']
    )


def range_end(values: np.ndarray) -> float:
    """
    Give the magnitude to clip at, by which int8 makes the smallest mean squared error.

    Args:
        values: of any shape, float32.

    """
    # An odd step meets all columns of a map whose width is a power of two.
    magnitudes = np.abs(values.reshape(-1)[:: max(1, values.size // _SAMPLES) | 1])
    largest = float(magnitudes.max(initial=0.0))
    if largest == 0.0:
        return 0.0
    counts, edges = np.histogram(magnitudes, _BINS, (0.0, largest))
    centres = (edges[1:] + edges[:-1]) / 2
    ends = largest * _SHARES
    steps = (ends / _LARGEST)[:, None]
    errors = np.minimum(np.rint(centres / steps), _LARGEST) * steps - centres
    return float(ends[(errors**2 @ counts).argmin()])


def _insert(
    model: onnx.ModelProto, places: set[int], ends: Mapping[str, float]
) -> onnx.ModelProto:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = _Pairs()
    nodes = []
    for place, original in enumerate(model.graph.node):
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if place in places:
            source, kernel = node.input[:2]
            node.input[0] = pairs.add(source, np.array(ends[source]))
            largest = np.abs(numpy_helper.to_array(weights[kernel])).max((1, 2, 3))
            node.input[1] = pairs.add(kernel, largest, axis=0)
        nodes += [*pairs.take(), node]
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(pairs.constants)
    return result


class _Pairs:
    """Makes pairs of Q/DQ nodes, one for each tensor."""

    def __init__(self) -> None:
        self.constants: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._made: set[str] = set()

    def add(self, name: str, ends: np.ndarray, **axis: int) -> str:
        """Quantise a tensor and give the name of what comes back."""
        result = f'{name}_DequantizeLinear_Output'
        if name in self._made:
            return result
        self._made.add(name)
        # What is zero everywhere needs some scale, too.
        scale = np.where(ends > 0, ends, 1.0).astype(np.float32) / np.float32(_LARGEST)
        zero = np.zeros(scale.shape, np.int8)
        for values, what in ((scale, 'scale'), (zero, 'zero_point')):
            self.constants.append(numpy_helper.from_array(values, f'{name}_{what}'))
        steps = (('QuantizeLinear', name, f'{name}_QuantizeLinear_Output'),
                 ('DequantizeLinear', f'{name}_QuantizeLinear_Output', result))
        for kind, source, target in steps:
            inputs = [source, f'{name}_scale', f'{name}_zero_point']
            self._nodes.append(helper.make_node(kind, inputs, [target], target, **axis))
        return result

    def take(self) -> list[onnx.NodeProto]:
        """Give the nodes that were made since the last time."""
        nodes, self._nodes = self._nodes, []
        return nodes
