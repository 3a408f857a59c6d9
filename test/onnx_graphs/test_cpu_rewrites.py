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
def rewritten() -> dict[str, onnx.ModelProto]:
    names = ('detail', 'detail_int8')
    return {name: rewrite_for_cpu((MODEL / f'{name}.onnx').read_bytes(), name) for name in names}


def test_says_the_same_at_another_size(
    rewritten: dict[str, onnx.ModelProto], image: np.ndarray
) -> None:
    """Only sums run in another order: float32 rounds differently."""
    expected = _run((MODEL / 'detail.onnx').read_bytes(), image)
    for before, after in zip(
        expected, _run(rewritten['detail'].SerializeToString(), image), strict=True
    ):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-5)


def test_int8_is_as_close_to_float32(
    rewritten: dict[str, onnx.ModelProto], image: np.ndarray
) -> None:
    """Affinity is the same; local features are rounded once less."""
    exact = _run((MODEL / 'detail.onnx').read_bytes(), image)
    before = _run((MODEL / 'detail_int8.onnx').read_bytes(), image)
    after = _run(rewritten['detail_int8'].SerializeToString(), image)
    np.testing.assert_allclose(after[0], before[0], rtol=0, atol=1e-5)
    errors = [np.square(values[1] - exact[1]).mean() for values in (before, after)]
    assert errors[1] <= 1.02 * errors[0]


@pytest.mark.parametrize('name', ['detail', 'detail_int8'])
def test_copies_are_gone(rewritten: dict[str, onnx.ModelProto], name: str) -> None:
    """No map is split or pooled, none is enlarged to its own size, and the others late."""
    graph = rewritten[name].graph
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
