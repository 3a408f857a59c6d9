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
Graphs in int8 for ONNX Runtime on a CPU.

`onnxruntime.quantization` writes the Q/DQ nodes: weights int8, symmetric, per channel; activations
uint8, since its x86 kernels multiply unsigned by signed bytes (int8 activations were measured to
be slower than float32), biases int32, all in the pattern that its fusions look for. Which nodes
pay (`latency_model`) and the ranges (`calibration`) are ours, and float32 nodes get their float32
inputs back: the library hands the rounded tensor to all readers. TensorRT needs other nodes: see
`qdq`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.onnx_graphs.calibration import ActivationObserver, byte_range, Feeds, Range, union
from uhr_seg_ros.onnx_graphs.cross_layer_equalization import equalize
from uhr_seg_ros.onnx_graphs.folding import fold, parse
from uhr_seg_ros.onnx_graphs.int8_nodes import Int8Nodes, JOINING
from uhr_seg_ros.onnx_graphs.latency_model import LatencyModel


class Quantizer:
    """
    One graph of any input size, and what of it becomes int8.

    Args:
        content: of an ONNX file, float32.
        name: of the file, for errors.

    Attributes:
        candidates: names of the nodes that may become int8, in the order of the graph; see
            `Int8Nodes`.

    Raises:
        EngineError: ONNX Runtime cannot read the graph.

    """

    def __init__(self, content: bytes, name: object) -> None:
        self._model = _named(fold(parse(content, name), f'graph {name} cannot be quantized'))
        self._nodes = Int8Nodes(self._model)
        self.candidates = self._nodes.candidates
        self._ranges: dict[str, Range] = {}
        self._latency = LatencyModel(self._nodes, {})

    def equalize(self, feeds: Iterable[Feeds]) -> None:
        """
        Equalize the sizes of channels between convolutions; comes before `calibrate`.

        Args:
            feeds: as for `calibrate`.

        Raises:
            EngineError: the graph cannot take the feeds.

        """
        equalize(self._model, self._nodes, feeds)

    def calibrate(self, feeds: Iterable[Feeds]) -> None:
        """
        Find the ranges and sizes of all activations that may become uint8.

        A range is the widest of all feeds, each with the smallest mean squared error.

        Args:
            feeds: inputs of the graph from real frames, float32; taken one at a time.

        Raises:
            EngineError: there are no feeds, or the graph cannot take them.

        """
        if not self.candidates:
            return
        observer = ActivationObserver(self._model, self._nodes.activations(self.candidates))
        sizes: dict[str, int] = {}
        for feed in feeds:
            for name, values in observer.values(feed).items():
                sizes[name] = values.size
                self._ranges[name] = union(byte_range(values), self._ranges.get(name))
        if not sizes:
            msg = f'graph {self._model.graph.name}: int8 needs frames to calibrate with'
            raise EngineError(msg)
        self._latency = LatencyModel(self._nodes, sizes)

    def profitable(self, names: Collection[str]) -> list[str]:
        """Leave those of the candidates that gain more than the conversions cost, in order."""
        chosen = self._latency.best_of(names)
        return [name for name in self.candidates if name in chosen]

    def runs(self, names: Collection[str]) -> list[set[str]]:
        """Split candidates into runs that hand values to each other: borders are between them."""
        return list(self._latency.runs(names))

    def joined(self, names: Collection[str]) -> set[str]:
        """Leave out sums and the like that would read or write float32 only."""
        return self._nodes.joined(names)

    def write(self, names: Collection[str], path: Path) -> None:
        """Write the graph with some of the candidates in int8; see `quantize`."""
        onnx.save(self.quantize(names), path)

    def quantize(self, names: Collection[str]) -> onnx.ModelProto:
        """
        Write Q/DQ nodes around some of the candidates.

        Returns:
            A model with the same inputs and outputs in float32.

        """
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        if not names:
            return model
        chosen = set(names)
        ranges = {name: self._ranges[name] for name in self._nodes.activations(chosen)}
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=sorted(chosen | self._nodes.rectifiers(chosen)),
            nodes_to_exclude=[],
            op_types_to_quantize=['Conv', 'Relu', *JOINING],
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        written = quantizer.model.model
        _restore_float_inputs(written, chosen, self._nodes.results(chosen))
        return written


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Name every node by what it gives, and infer the types of all tensors."""
    for node in model.graph.node:
        node.name = node.output[0].strip('/').removesuffix('_output_0')
    return onnx.shape_inference.infer_shapes(model)


def _restore_float_inputs(model: onnx.ModelProto, chosen: set[str], only_bytes: set[str]) -> None:
    """Let float32 nodes read a tensor as it is, not its rounded copy, where there are both."""
    nodes = model.graph.node
    quantized = {
        node.output[0]: node.input[0] for node in nodes if node.op_type == 'QuantizeLinear'
    }
    originals = {
        node.output[0]: quantized[node.input[0]]
        for node in nodes
        if node.op_type == 'DequantizeLinear' and node.input[0] in quantized
    }
    for node in nodes:
        if node.name in chosen:
            continue
        for place, name in enumerate(node.input):
            if originals.get(name, name) not in only_bytes:
                node.input[place] = originals.get(name, name)
