# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Q/DQ nodes around convolutions, with the ranges that real frames show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    quantize_static,
    QuantType,
)

#: What TensorRT takes as int8: symmetric, weights with Q/DQ of their own, no integer biases, and
#: the Q after the activation that follows a convolution.
_EXTRA = {
    'ActivationSymmetric': True,
    'WeightSymmetric': True,
    'QuantizeBias': False,
    'AddQDQPairToWeight': True,
    'OpTypesToExcludeOutputQuantization': ['Conv'],
}


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Iterable[Mapping[str, np.ndarray]]) -> None:
        self._feeds: Iterator[Mapping[str, np.ndarray]] = iter(feeds)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._feeds, None)


def quantize(
    model: onnx.ModelProto, feeds: Iterable[Mapping[str, np.ndarray]]
) -> onnx.ModelProto:
    """
    Quantise the convolutions of a graph to int8.

    What reads the frame and what gives the results stays as it is: there a step of int8 is a
    step of the mask.

    Args:
        model: as `precision.fix_shapes` gives it, float32.
        feeds: inputs of the graph, of its shapes, float32; taken one at a time.

    Returns:
        The graph with Q/DQ nodes, everything else in float32.

    """
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        source, target = (Path(folder) / name for name in ('float.onnx', 'int8.onnx'))
        onnx.save(model, source)
        # It advises to optimise the graph first, which `fix_shapes` has done.
        logging.getLogger().setLevel(logging.ERROR)
        quantize_static(
            source,
            target,
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=['Conv'],
            nodes_to_exclude=sensitive_nodes(model),
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options=_EXTRA,
        )
        return onnx.load(target)


def sensitive_nodes(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions that read an input or give an output of the graph."""
    inputs = {tensor.name for tensor in model.graph.input}
    outputs = {tensor.name for tensor in model.graph.output}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == 'Conv' and (inputs & set(node.input) or outputs & set(node.output))
    ]
