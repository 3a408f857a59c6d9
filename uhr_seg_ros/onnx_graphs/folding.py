# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""ONNX graphs of fixed shapes, for TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory

import onnx
from onnx import helper
import onnxruntime as ort

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.text import listed, one_line

#: What the parser of TensorRT 8.5 reads.
NEWEST_OPSET = 17


def parse(content: bytes, name: object) -> onnx.ModelProto:
    """
    Read a graph.

    Args:
        content: of an ONNX file; as `Graph.read` gives it, nothing of it lies elsewhere.
        name: of the file, for errors.

    Raises:
        EngineError: it is no ONNX file.

    """
    try:
        return onnx.load_model_from_string(content)
    except Exception as err:  # of the package protobuf, which is not ours to name
        msg = f'graph {name} is no ONNX graph: {one_line(err, 300)}: export the model again'
        raise EngineError(msg) from err


def fix_shapes(
    content: bytes, shapes: Mapping[str, tuple[int, ...]], name: object
) -> onnx.ModelProto:
    """
    Read a graph, fix the shapes of its inputs and fold everything that follows from them.

    What is left is plain arithmetic: no computation of shapes, nothing that an old TensorRT
    cannot read. ONNX Runtime does the folding, at the level that keeps to standard operators.

    Args:
        content: of an ONNX file.
        shapes: input name -> shape.
        name: of the file, for errors.

    Raises:
        EngineError: the graph is not of opset 17 or older, or not of these inputs.

    """
    model = parse(content, name)
    _check_opset(model, name)
    for tensor in model.graph.input:
        dimensions = tensor.type.tensor_type.shape.dim
        if len(dimensions) != len(shapes.get(tensor.name, ())):
            msg = (
                f'graph {name} takes {tensor.name} of {len(dimensions)} dimensions, expected '
                f'{dict(shapes)}: export the model again'
            )
            raise EngineError(msg)
        for dimension, size in zip(dimensions, shapes[tensor.name], strict=True):
            dimension.Clear()
            dimension.dim_value = size
    for tensor in model.graph.output:
        tensor.type.tensor_type.ClearField('shape')
    del model.graph.value_info[:]
    folded = fold(model, f'graph {name} cannot be fixed to {dict(shapes)}')
    _check_operators(folded, name)
    del folded.opset_import[:]
    folded.opset_import.append(helper.make_opsetid('', NEWEST_OPSET))
    return onnx.shape_inference.infer_shapes(folded, strict_mode=True)


def fold(model: onnx.ModelProto, failure: str) -> onnx.ModelProto:
    """
    Fold everything that is constant, with batch norms; sizes that are symbolic stay so.

    Args:
        model: float32.
        failure: what to say before the reason when ONNX Runtime cannot read it.

    Raises:
        EngineError: ONNX Runtime cannot read it.

    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        options.optimized_model_filepath = f'{folder}/folded.onnx'
        try:
            ort.InferenceSession(
                model.SerializeToString(), options, providers=['CPUExecutionProvider']
            )
        except Exception as err:  # the classes of ONNX Runtime have no common base
            msg = f'{failure}: {one_line(err)}'
            raise EngineError(msg) from err
        folded = onnx.load(options.optimized_model_filepath)
    # ONNX Runtime names its own domains, too; at this level nothing in the graph is of them.
    own = [opset for opset in folded.opset_import if not opset.domain]
    del folded.opset_import[:]
    folded.opset_import.extend(own)
    return folded


def _check_opset(model: onnx.ModelProto, path: object) -> None:
    for opset in model.opset_import:
        if opset.domain not in ('', 'ai.onnx') or opset.version > NEWEST_OPSET:
            name = opset.domain or 'ai.onnx'
            msg = (
                f'graph {path} uses {name} {opset.version}: TensorRT 8.5 reads ai.onnx up to '
                f'{NEWEST_OPSET} only: export the model again'
            )
            raise EngineError(msg)


def _check_operators(model: onnx.ModelProto, path: object) -> None:
    foreign = sorted({f'{node.domain}.{node.op_type}' for node in model.graph.node if node.domain})
    if foreign:
        msg = f'graph {path} needs {listed(foreign)}, which TensorRT does not have'
        raise EngineError(msg)
