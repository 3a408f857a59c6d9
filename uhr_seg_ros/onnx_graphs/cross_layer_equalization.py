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
Channels of alike size between two convolutions, so that one range serves them all.

ReLU(s x) = s ReLU(x) for s > 0: a channel may be divided by s where it is made and multiplied by
it where it is read, and the network computes the same. Before a depthwise convolution, whose
weights have a scale per channel, all channels get one size (Nagel et al., "Data-free quantization
through weight equalization and bias correction", ICCV 2019, section 4.1); before a dense one half
of the difference is left to its weights (Xiao et al., "SmoothQuant", ICML 2023, equation 4).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import numpy_helper

from uhr_seg_ros.onnx_graphs.calibration import ActivationObserver, Feeds
from uhr_seg_ros.onnx_graphs.int8_nodes import Int8Nodes

#: Share of the magnitudes of a channel below its size, and how many values are looked at.
_QUANTILE, _SAMPLES = 0.999, 1 << 13

#: A channel is dead below this part of the largest one; no factor is larger than its inverse.
_MIN = 1e-3


def equalize(model: onnx.ModelProto, nodes: Int8Nodes, feeds: Iterable[Feeds]) -> None:
    """
    Equalize the channels between convolutions that follow each other, in place.

    Args:
        model: float32, batch norms folded.
        nodes: of this model.
        feeds: inputs of the graph from real frames, float32; taken one at a time.

    """
    pairs = {nodes.result(first): (first, second) for first, second in nodes.pairs()}
    observer = ActivationObserver(model, list(pairs))
    sizes: dict[str, np.ndarray] = {}
    for feed in feeds if pairs else ():
        for name, values in observer.values(feed).items():
            sizes[name] = np.maximum(_channel_sizes(values), sizes.get(name, 0.0))
    weights = _Weights(model)
    for name, size in sizes.items():
        first, second = (weights.inputs[node] for node in pairs[name])
        weights.move(first, second, size)


def _channel_sizes(values: np.ndarray) -> np.ndarray:
    """Return the size of every channel of (1, C, h, w)."""
    rows = np.abs(values[0].reshape(values.shape[1], -1))
    step = max(1, rows.shape[1] // _SAMPLES) | 1
    return np.quantile(rows[:, ::step], _QUANTILE, axis=1)


class _Weights:
    """The weights of the convolutions of a model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.inputs = {node.name: list(node.input[1:]) for node in model.graph.node}
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def move(self, first: list[str], second: list[str], size: np.ndarray) -> None:
        """Divide what one convolution gives, and multiply what the next one reads."""
        kernel = self._read(second[0])
        depthwise = kernel.shape[1] == 1
        factor = _factors(size, None if depthwise else np.abs(kernel).max((0, 2, 3)))
        column = factor[:, None, None, None]
        self._write(first[0], self._read(first[0]) / column)
        for bias in first[1:]:
            self._write(bias, self._read(bias) / factor)
        self._write(second[0], kernel * (column if depthwise else column[:, 0]))

    def _read(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self._tensors[name])

    def _write(self, name: str, values: np.ndarray) -> None:
        self._tensors[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))


def _factors(size: np.ndarray, kernel: np.ndarray | None) -> np.ndarray:
    """
    Return what every channel is divided by.

    Args:
        size: of the channels, (C,).
        kernel: largest weight that reads a channel, (C,); None before a depthwise convolution.

    """
    alive = size > _MIN * size.max()
    if kernel is not None:
        alive &= kernel > _MIN * kernel.max()
        size = np.sqrt(np.where(alive, size, 1.0) / np.where(alive, kernel, 1.0))
    if not alive.any():
        return np.ones_like(size)
    usual = np.exp(np.log(size[alive]).mean())
    return np.where(alive, np.clip(size / usual, _MIN, 1 / _MIN), 1.0)
