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

"""A bundle whose semantic branch keeps ONNX Runtime busy for a long time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from tiny_bundle import make_tiny_bundle, TINY_CLASSES

from uhr_seg_ros.export.bundle_writing import write_bundle


def make_slow_bundle(directory: Path, size: int = 1500, repetitions: int = 40) -> Path:
    """
    Write the tiny bundle with so many matrix products before its tokens that it takes long.

    That is 3 s a frame on a fast core, and 6 s on a slow one. Frames of one color, as the one that
    warms the node up, are quick.

    Args:
        directory: of the bundle.
        size: of the square matrix.
        repetitions: number of products.

    """
    make_tiny_bundle(directory)
    model = onnx.load(directory / 'semantic.onnx')
    graph = model.graph
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == 'tokens':
                node.output[index] = 'quick_tokens'
        for index, name in enumerate(node.input):
            if name == 'tokens':
                node.input[index] = 'quick_tokens'
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(size - 1, np.int64), 'more'),
            numpy_helper.from_array(np.ones(2, np.int64), 'ones'),
            numpy_helper.from_array(np.array(1 / size, np.float32), 'part'),
            numpy_helper.from_array(np.zeros((), np.float32), 'nothing'),
        ]
    )
    # Everything depends on the input, or ONNX Runtime would do the work while it loads.
    channels = {'axes': [0, 2, 3], 'keepdims': 0}
    nodes = [
        helper.make_node('ReduceMax', ['low_res'], ['highest'], **channels),
        helper.make_node('ReduceMin', ['low_res'], ['lowest'], **channels),
        helper.make_node('Sub', ['highest', 'lowest'], ['ranges']),
        helper.make_node('ReduceMax', ['ranges'], ['range'], keepdims=0),
        helper.make_node('Cast', ['range'], ['is_varied'], to=onnx.TensorProto.BOOL),
        helper.make_node('Cast', ['is_varied'], ['varied'], to=onnx.TensorProto.INT64),
        helper.make_node('Mul', ['varied', 'more'], ['grown']),
        helper.make_node('Add', ['ones', 'grown'], ['square']),
        helper.make_node('ReduceMean', ['low_res'], ['mean'], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node('Mul', ['mean', 'nothing'], ['null']),
        helper.make_node('Add', ['null', 'part'], ['same_part']),
        helper.make_node('Expand', ['same_part', 'square'], ['factor']),
        helper.make_node('Expand', ['mean', 'square'], ['product_0']),
    ]
    for index in range(repetitions):
        nodes.append(
            helper.make_node('MatMul', [f'product_{index}', 'factor'], [f'product_{index + 1}'])
        )
    nodes += [
        helper.make_node('ReduceMean', [f'product_{repetitions}'], ['late'], keepdims=0),
        helper.make_node('Mul', ['late', 'nothing'], ['zero']),
        helper.make_node('Add', ['quick_tokens', 'zero'], ['tokens']),
    ]
    graph.node.extend(nodes)
    onnx.save(model, directory / 'semantic.onnx')
    write_bundle(directory, name='slow', network='tiny', kind='two_branch', classes=TINY_CLASSES)
    return directory
