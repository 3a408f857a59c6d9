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
from onnx import helper, TensorProto
import onnxruntime as ort

from uhr_seg_ros.onnx_graphs.blocked_layout import stay_blocked
from uhr_seg_ros.onnx_graphs.cpu_rewrites import rewrite_for_cpu, UnknownGraph

MODEL = Path(__file__).parents[2] / 'models' / 'hlrc_s_aerial'
#: Not a size that graphs are looked at by, and with few cells: all of them lie near a border.
SIZE = (112, 80)


def _run(content: bytes, image: np.ndarray) -> list[np.ndarray]:
    return ort.InferenceSession(content, providers=['CPUExecutionProvider']).run(
        None, {'image': image}
    )


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


def test_shipped_graphs_are_rewritten_and_close(
    rewritten: onnx.ModelProto, image: np.ndarray
) -> None:
    assert (MODEL / 'detail_cpu.onnx').read_bytes() == rewritten.SerializeToString()
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
    assert len(enlarged) == 3


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
