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

"""ONNX graphs of fixed shapes and plain operators, for TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
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
        EngineError: it is not an ONNX file.

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


def split_layer_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write layer normalization in operators that TensorRT 8.5 has."""
    nodes: list[onnx.NodeProto] = []
    for place, node in enumerate(model.graph.node):
        if node.op_type == 'LayerNormalization':
            nodes += _plain_layer_norm(model, node, f'layer_norm_{place}')
        else:
            nodes.append(node)
    return replace_nodes(model, nodes)


def _plain_layer_norm(
    model: onnx.ModelProto, node: onnx.NodeProto, name: str
) -> list[onnx.NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, over the last axis."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if attributes.get('axis', -1) != -1:
        msg = f'layer normalization {node.name} is over axis {attributes["axis"]}, expected -1'
        raise EngineError(msg)
    epsilon = np.array(attributes.get('epsilon', 1e-5), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(epsilon, f'{name}_epsilon'))
    source, weight, *bias = node.input
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ('ReduceMean', [source], 'mean', {'axes': [-1], 'keepdims': 1}),
        ('Sub', [source, f'{name}_mean'], 'centered', {}),
        ('Mul', [f'{name}_centered', f'{name}_centered'], 'square', {}),
        ('ReduceMean', [f'{name}_square'], 'variance', {'axes': [-1], 'keepdims': 1}),
        ('Add', [f'{name}_variance', f'{name}_epsilon'], 'safe', {}),
        ('Sqrt', [f'{name}_safe'], 'deviation', {}),
        ('Div', [f'{name}_centered', f'{name}_deviation'], 'normal', {}),
        ('Mul', [f'{name}_normal', weight], 'weighted', {}),
    ]
    if bias:
        steps.append(('Add', [f'{name}_weighted', *bias], 'biased', {}))
    nodes = [
        helper.make_node(operator, inputs, [f'{name}_{result}'], f'{name}_{result}', **others)
        for operator, inputs, result, others in steps
    ]
    nodes[-1].output[0] = node.output[0]
    return nodes


def replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Return a model with other nodes, without the constants that none of them uses."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    used = {name for node in nodes for name in node.input}
    constants = [each for each in model.graph.initializer if each.name in used]
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for field, values in (('node', nodes), ('initializer', constants)):
        result.graph.ClearField(field)
        getattr(result.graph, field).extend(values)
    del result.graph.value_info[:]
    return result


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a graph of fixed shapes, as far as it states them."""
    graph = model.graph
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    for tensor in (*graph.input, *graph.value_info, *graph.output):
        dimensions = tensor.type.tensor_type.shape.dim
        shapes[tensor.name] = tuple(dimension.dim_value for dimension in dimensions)
    return shapes


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """Return the ONNX types of the tensors of a graph, as far as it states them."""
    graph = model.graph
    types = {each.name: each.data_type for each in graph.initializer}
    for tensor in (*graph.input, *graph.value_info, *graph.output):
        types[tensor.name] = tensor.type.tensor_type.elem_type
    return types


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
