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

"""Weak typing: the layers of TensorRT 8 that are held in float32, on real parsed graphs."""

from __future__ import annotations

import pytest

pytest.importorskip('onnx', reason='graphs are made with onnx')

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
from real_networks import layers_of_type, real_network
from standin_tensorrt import make_tensorrt

from uhr_seg_ros.backends.tensorrt.api import describe
from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.backends.tensorrt.weak_typing import constrain_types, float32_layers
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.onnx_graphs.folding import fix_shapes, split_layer_norms
from uhr_seg_ros.onnx_graphs.precision import float32_tensors, to_half

IMAGE = {'image': (1, 3, 64, 96)}


@pytest.fixture(scope='module')
def half() -> onnx.ModelProto:
    """Return the shipped detail graph in half, with linear attention, norms and a softmax."""
    graph = load_bundle('hlrc_s_aerial').graphs['detail']
    return split_layer_norms(to_half(fix_shapes(graph.read(), IMAGE, graph.path)))


def build(version: str, model: onnx.ModelProto, precision: str) -> dict[str, list[str]]:
    """Build on the stand-in, and return which layers were told a type, and which one."""
    tensorrt = describe(make_tensorrt(version))
    build_plan(
        tensorrt,
        model.SerializeToString(),
        IMAGE,
        capability=(8, 9),
        precision=precision,
        workspace_mb=64,
        float32_tensors=float32_tensors(model),
    )
    return tensorrt.module.notes.held


@pytest.mark.parametrize('version', ['8.5.3.1', '8.6.0'])
def test_layers_are_held(half: onnx.ModelProto, version: str) -> None:
    held = build(version, half, 'fp16')
    assert set(map(tuple, held.values())) == {('FLOAT', 'FLOAT')}
    nodes = {node.name: node for node in half.graph.node}
    kinds = {nodes[name].op_type for name in held if name in nodes}
    assert {'Softmax', 'ReduceMean', 'MatMul', 'TopK'} <= kinds
    assert kinds.isdisjoint({'Conv', 'Cast', 'Resize'})


def test_a_softmax_is_held_and_not_only_its_name(half: onnx.ModelProto) -> None:
    """The parser calls a transposition behind it what the file calls the softmax."""
    softmax = next(node for node in half.graph.node if node.op_type == 'Softmax')
    assert softmax.output[0] in float32_tensors(half)
    assert softmax.name in build('8.6.0', half, 'fp16')


@pytest.mark.parametrize('version', ['10.3.0', '11.4.0.106'])
def test_strong_typing_holds_nothing(half: onnx.ModelProto, version: str) -> None:
    assert build(version, half, 'fp16') == {}


@pytest.mark.parametrize('name', ['semantic', 'detail', 'quarter'])
def test_real_layers_have_the_types_that_strong_typing_gives(name: str) -> None:
    """What weak typing is told is what the same graph is in a strongly typed network."""
    graph = load_bundle('hlrc_s_aerial').graphs[name]
    shapes = {
        'semantic': {'low_res': (1, 3, 32, 48)},
        'detail': {'image': (1, 3, 128, 192)},
        'quarter': {
            'tokens': (1, 32, 8, 12),
            'affinity': (1, 32, 48, 9),
            'local': (1, 32, 32, 48),
        },
    }[name]
    model = split_layer_norms(to_half(fix_shapes(graph.read(), shapes, graph.path)))
    network, *_alive = real_network(model)
    held = {layer.name for layer in float32_layers(network, float32_tensors(model))}
    assert held == layers_of_type(network, 'FLOAT')
    assert bool(held) == (name == 'detail')


def test_layers_without_a_name_of_the_file(half: onnx.ModelProto) -> None:
    """The real parser makes some; none of them may be forgotten, or held beside half."""
    network, *_alive = real_network(half)
    names = {name for node in half.graph.node for name in node.output}
    held = float32_layers(network, float32_tensors(half))
    unnamed = {layer.type.name for layer in held if layer.get_output(0).name not in names}
    assert 'SOFTMAX' in unnamed


def test_comparisons_are_of_float32() -> None:
    """In half, two numbers may be equal that are not; truth values have no type to be told."""
    zero = numpy_helper.from_array(np.zeros(1, np.float32), 'z')
    nodes = [
        helper.make_node('Softmax', ['x'], ['soft'], 'soft', axis=1),
        helper.make_node('Greater', ['soft', 'z'], ['is_larger'], 'greater'),
        helper.make_node('Where', ['is_larger', 'soft', 'z'], ['y'], 'where'),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in 'xy']
    graph = helper.make_graph(nodes, 'graph', ends[:1], ends[1:], [zero])
    opset = [helper.make_opsetid('', 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    network, *_alive = real_network(model)
    held = {layer.name for layer in float32_layers(network, float32_tensors(model))}
    assert {'soft', 'greater', 'where'} <= held
    assert held == layers_of_type(network, 'FLOAT')
    tensorrt = describe(make_tensorrt('8.6.0'))
    config = tensorrt.make('Builder').create_builder_config()
    stand_in = tensorrt.module._Network()
    stand_in._model = model.SerializeToString()
    constrain_types(tensorrt.module, stand_in, config, 'fp16', float32_tensors(model))
    assert tensorrt.module.notes.held['greater'] == ['FLOAT']
    assert tensorrt.module.notes.held['where'] == ['FLOAT', 'FLOAT']
