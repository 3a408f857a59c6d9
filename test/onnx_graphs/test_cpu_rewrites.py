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

"""Graphs rewritten for a CPU: at any size they say what they said, in fewer copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='graphs are rewritten with onnx')

import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime as ort

from uhr_seg_ros.onnx_graphs.blocked_layout import stay_blocked
from uhr_seg_ros.onnx_graphs.cpu_rewrites import rewrite_for_cpu, UnknownGraph
from uhr_seg_ros.onnx_graphs.folding import fix_shapes
from uhr_seg_ros.onnx_graphs.given_residuals import given_residuals
from uhr_seg_ros.onnx_graphs.graph_view import attributes
from uhr_seg_ros.onnx_graphs.parted_bottlenecks import parted_bottlenecks
from uhr_seg_ros.pipelines.two_branch_maps import detail_feeds

MODEL = Path(__file__).parents[2] / 'models' / 'hlrc_s_aerial'
#: Not a size that graphs are looked at by, and with few cells: all of them lie near a border.
SIZE = (112, 80)


def _run(content: bytes, image: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(content, providers=['CPUExecutionProvider'])
    return session.run(None, detail_feeds(image, [each.name for each in session.get_inputs()]))


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 3, *SIZE)).astype(np.float32)


@pytest.fixture(scope='module')
def rewritten() -> onnx.ModelProto:
    return rewrite_for_cpu((MODEL / 'detail.onnx').read_bytes(), 'detail')


def test_says_the_same_at_another_size(rewritten: onnx.ModelProto, image: np.ndarray) -> None:
    """Only sums run in another order: float32 rounds differently."""
    expected = _run((MODEL / 'detail.onnx').read_bytes(), image)
    for before, after in zip(expected, _run(rewritten.SerializeToString(), image), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)


def without_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose constants have names, types and shapes alone."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for each in copy.graph.initializer:
        each.ClearField('raw_data')
    return copy


def test_shipped_graphs_are_rewritten_and_close(
    rewritten: onnx.ModelProto, image: np.ndarray
) -> None:
    shipped = onnx.load(MODEL / 'detail_cpu.onnx')
    kept, made = (without_values(each) for each in (shipped, rewritten))
    assert kept == made
    # Weights are multiplied by each other: the last bits are those of the machine that did it.
    for one, other in zip(shipped.graph.initializer, rewritten.graph.initializer, strict=True):
        values, again = (numpy_helper.to_array(each) for each in (one, other))
        np.testing.assert_allclose(again, values, rtol=0, atol=1e-6 * np.abs(values).max())
    exact = _run((MODEL / 'detail.onnx').read_bytes(), image)
    rounded = _run((MODEL / 'detail_int8.onnx').read_bytes(), image)
    for one, other in zip(exact, rounded, strict=True):
        assert np.square(one - other).mean() < 0.02 * np.square(one).mean()


def test_a_fusion_that_stays_blocked_says_the_same() -> None:
    """Its sum is one of convolutions, which is the only change."""
    generator = np.random.default_rng(0)
    shapes = {'tokens': (1, 32, 5, 7), 'affinity': (1, 5, 7, 144), 'local': (1, 32, 20, 28)}
    feeds = {
        name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()
    }
    plain, blocked = (
        ort.InferenceSession(MODEL / file, providers=['CPUExecutionProvider'])
        for file in ('quarter.onnx', 'quarter_cpu.onnx')
    )
    expected, found = (session.run(None, feeds)[0] for session in (plain, blocked))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    content = (MODEL / 'quarter.onnx').read_bytes()
    assert (
        stay_blocked(content, 'quarter').SerializeToString()
        == (MODEL / 'quarter_cpu.onnx').read_bytes()
    )
    with pytest.raises(UnknownGraph, match='does not add its input local'):
        stay_blocked((MODEL / 'detail.onnx').read_bytes(), 'detail')


@pytest.mark.parametrize('name', ['detail', 'detail_int8'])
def test_copies_are_gone(rewritten: onnx.ModelProto, name: str) -> None:
    """No map is split or pooled, none is enlarged to its own size, and the others late."""
    shipped = onnx.load(MODEL / 'detail_int8.onnx')
    graph = (rewritten if name == 'detail' else shipped).graph
    kinds = [node.op_type for node in graph.node]
    assert not {'Split', 'AveragePool', 'BatchNormalization'} & {*kinds}
    sizes = {each.name: list(each.dims) for each in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    enlarged = [makers[node.input[0]] for node in graph.node if node.op_type == 'Resize']
    projected = [node for node in enlarged if node.op_type == 'Conv']
    assert [sizes[node.input[1]][0] for node in projected if len(node.input) > 1][:1] == [32]
    # Nor is there a pyramid of the image: its residuals come from outside.
    assert len(enlarged) == 2
    assert [each.name for each in graph.input] == ['image', 'residuals']
    assert 'DepthToSpace' not in kinds


@pytest.mark.parametrize('place', [0, 7, 24])
def test_residuals_of_another_kind_are_computed(place: int) -> None:
    """What tells is the result: a pyramid with one other weight stays in the graph."""
    model = fix_shapes((MODEL / 'detail.onnx').read_bytes(), {'image': (1, 3, 64, 96)}, 'detail')
    assert [each.name for each in given_residuals(model).graph.input] == ['image', 'residuals']
    gaussian = next(each for each in model.graph.initializer if list(each.dims) == [1, 1, 5, 5])
    values = numpy_helper.to_array(gaussian).copy()
    values.flat[place] *= 1.05
    gaussian.CopyFrom(numpy_helper.from_array(values, gaussian.name))
    assert given_residuals(model) is model


def test_attentions_and_bottlenecks_are_narrow(rewritten: onnx.ModelProto) -> None:
    """A projection is part of its attention, and no map has all hidden channels of a block."""
    widths = {}
    for name, model in (('before', onnx.load(MODEL / 'detail.onnx')), ('after', rewritten)):
        sizes = {each.name: each.dims for each in model.graph.initializer}
        convs = [node for node in model.graph.node if node.op_type == 'Conv']
        shapes = [sizes[node.input[1]] for node in convs if node.input[1] in sizes]
        widths[name] = max(each[0] for each in shapes), max(each[1] for each in shapes)
    assert widths == {'before': (288, 288), 'after': (96, 96)}


@pytest.mark.parametrize('place', [None, 0, 1])
def test_a_bottleneck_is_the_sum_of_its_parts(place: int | None) -> None:
    """With any residual, or with a stride and without one; a block of few channels stays."""
    generator = np.random.default_rng(0)
    kernels = {'wide': (80, 8, 1, 1), 'deep': (80, 1, 3, 3), 'point': (8, 80, 1, 1)}
    biases = {f'{name}_bias': (shape[0],) for name, shape in kernels.items()}
    constants = [
        numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)
        for name, shape in {**kernels, **biases}.items()
    ]
    constants.append(numpy_helper.from_array(np.array(6, np.float32), 'most'))
    strides = [2, 2] if place is None else [1, 1]
    depth = {'group': 80, 'pads': [1, 1, 1, 1], 'strides': strides}
    nodes = [
        helper.make_node('Conv', ['image', 'wide', 'wide_bias'], ['a']),
        helper.make_node('Clip', ['a', '', 'most'], ['b']),
        helper.make_node('Conv', ['b', 'deep', 'deep_bias'], ['c'], **depth),
        helper.make_node('Relu', ['c'], ['d']),
        helper.make_node('Conv', ['d', 'point', 'point_bias'], ['e']),
    ]
    if place is not None:
        terms = ['image', 'e'] if place else ['e', 'image']
        nodes.append(helper.make_node('Add', terms, ['f']))
    image = helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 8, 10, 12])
    result = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, 'block', [image], [result], constants),
        opset_imports=[helper.make_opsetid('', 17)],
        ir_version=8,
    )
    parted = parted_bottlenecks(model)
    groups = [attributes(node).get('group', 1) for node in parted.graph.node if node.name]
    assert [group for group in groups if group > 1] == [16] * 5
    feeds = generator.normal(size=(1, 8, 10, 12)).astype(np.float32)
    before, after = (_run(each.SerializeToString(), feeds)[0] for each in (model, parted))
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5 * np.abs(before).max())
    assert parted_bottlenecks(parted) is parted


def test_refuses_what_depends_on_the_size() -> None:
    """A constant that was folded at one size would be wrong at every other one."""
    nodes = [
        helper.make_node('Shape', ['image'], ['height'], start=2, end=3),
        helper.make_node('Cast', ['height'], ['divisor'], to=TensorProto.FLOAT),
        helper.make_node('Div', ['image', 'divisor'], ['result']),
    ]
    image = helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, 'h', 'w'])
    result = helper.make_tensor_value_info('result', TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, 'sized', [image], [result]),
        opset_imports=[helper.make_opsetid('', 17)],
        ir_version=8,
    )
    with pytest.raises(UnknownGraph, match='depends on the size'):
        rewrite_for_cpu(model.SerializeToString(), 'sized')
