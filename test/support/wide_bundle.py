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

"""A tiny bundle whose branches have convolutions that are worth int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
from tiny_bundle import make_tiny_bundle, TINY_CLASSES

from uhr_seg_ros.export.bundle_writing import write_bundle

WIDTH = 32
CLASSES = len(TINY_CLASSES)

#: Nodes that are worth int8, in the order of the graph.
WIDE = ('first_conv', 'depth_conv', 'second_conv', 'sum', 'third_conv')


def make_wide_bundle(directory: Path) -> Path:
    """
    Write a bundle with random weights whose branches are `branch_graph`.

    Args:
        directory: made if it is not there.

    """
    make_tiny_bundle(directory)
    generator = np.random.default_rng(3)
    onnx.save(
        branch_graph('low_res', ['tokens', 'semantic_logits'], generator),
        directory / 'semantic.onnx',
    )
    onnx.save(branch_graph('image', ['affinity', 'local'], generator), directory / 'detail.onnx')
    return write_bundle(
        directory,
        name='wide',
        network='tiny',
        kind='two_branch',
        classes=TINY_CLASSES,
        detail_bytes_per_pixel=40.0,
    ).path


def branch_graph(
    source: str, outputs: list[str], generator: np.random.Generator
) -> onnx.ModelProto:
    """
    Return a branch: the mean of 4x4 px, convolutions with a residual, and a skip to the output.

    Only `WIDE` are worth int8: the stem reads 3 channels, the others give as few. Channels differ
    by a factor of 100.
    """
    shapes = {
        'stem': (WIDTH, 3, 3, 3),
        'first': (WIDTH, WIDTH, 3, 3),
        'depth': (WIDTH, 1, 3, 3),
        'second': (WIDTH, WIDTH, 3, 3),
        'third': (WIDTH, WIDTH, 3, 3),
        'last': (CLASSES, WIDTH, 1, 1),
        'skip': (CLASSES, WIDTH, 1, 1),
    }
    constants = {
        name: generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) / 2)
        for name, shape in shapes.items()
    }
    constants['depth'] *= np.logspace(-1, 1, WIDTH)[:, None, None, None]
    constants['second'] /= np.logspace(-1, 1, WIDTH)[:, None, None]
    constants |= {
        f'{name}_bias': 0.1 * generator.standard_normal(shape[0]) for name, shape in shapes.items()
    }
    result = outputs[1] if 'local' in outputs else outputs[0]
    nodes = [
        helper.make_node('AveragePool', [source], ['means'], kernel_shape=[4, 4], strides=[4, 4]),
        *_conv('means', 'stem'),
        *_conv('stem_relu', 'first'),
        *_conv('first_relu', 'depth', group=WIDTH),
        *_conv('depth_relu', 'second'),
        helper.make_node('Add', ['first_relu', 'second_relu'], ['sum']),
        *_conv('sum', 'third'),
        helper.make_node('Conv', ['third_relu', 'last', 'last_bias'], ['last_conv']),
        helper.make_node('Conv', ['stem_relu', 'skip', 'skip_bias'], ['skip_conv']),
        helper.make_node('Add', ['last_conv', 'skip_conv'], [result]),
        *_second_output(outputs),
    ]
    graph = helper.make_graph(
        nodes,
        'branch',
        [_info(source, [1, 3, 'h', 'w'])],
        [_info(*each) for each in zip(outputs, [[1, None, None, None]] * 2, strict=True)],
        [numpy_helper.from_array(np.float32(values), name) for name, values in constants.items()],
    )
    opset = helper.make_opsetid('', 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _conv(source: str, name: str, **attributes: int) -> list[onnx.NodeProto]:
    pads = [1, 1, 1, 1]
    inputs = [source, name, f'{name}_bias']
    return [
        helper.make_node('Conv', inputs, [name + '_conv'], pads=pads, **attributes),
        helper.make_node('Relu', [name + '_conv'], [name + '_relu']),
    ]


def _second_output(outputs: list[str]) -> list[onnx.NodeProto]:
    if 'local' not in outputs:
        return [helper.make_node('Identity', ['tokens'], ['semantic_logits'])]
    return [
        helper.make_node('AveragePool', ['means'], ['cells'], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node('ReduceMean', ['cells'], ['brightness'], axes=[1], keepdims=1),
        helper.make_node('Transpose', ['brightness'], ['affinity'], perm=[0, 2, 3, 1]),
    ]


def _info(name: str, shape: list[object]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
