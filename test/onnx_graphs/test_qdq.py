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

"""Convolutions in int8: which ones, with which ranges, and what is around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx')

import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime as ort

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.onnx_graphs.calibration import range_end
from uhr_seg_ros.onnx_graphs.precision import float32_tensors, to_half
from uhr_seg_ros.onnx_graphs.qdq import MIN_CHANNELS, quantize

SHAPE = (1, 3, 24, 40)
GENERATOR = np.random.default_rng(5)


def feeds(count: int = 2) -> Iterator[dict[str, np.ndarray]]:
    for _ in range(count):
        yield {'x': GENERATOR.standard_normal(SHAPE).astype(np.float32)}


@pytest.fixture(scope='module')
def model() -> onnx.ModelProto:
    """
    Return a network with every case in it.

    A first convolution, two dense ones with a skip connection, one by groups, and the classifier.
    """
    wide = MIN_CHANNELS
    shapes = {
        'first': (wide, 3, 3, 3),
        'dense': (wide, wide, 3, 3),
        'again': (wide, wide, 1, 1),
        'small': (wide // 2, wide, 1, 1),
        'depth': (wide, 1, 3, 3),
        'classes': (wide, wide, 1, 1),
    }
    constants = {
        name: (GENERATOR.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in shapes.items()
    }
    constants['bias'] = np.linspace(-1, 1, wide, dtype=np.float32)

    def conv(source: str, name: str, target: str, **attributes: int) -> onnx.NodeProto:
        pads = [shapes[name][2] // 2] * 4
        inputs = [source, name] + ['bias'] * (shapes[name][0] == wide)
        return helper.make_node('Conv', inputs, [target], pads=pads, **attributes)

    relu, add = (
        lambda *n, kind=kind: helper.make_node(kind, list(n[:-1]), [n[-1]])
        for kind in ('Relu', 'Add')
    )
    nodes = [
        conv('x', 'first', 'a'),
        relu('a', 'b'),
        conv('b', 'dense', 'c'),
        relu('c', 'd'),
        conv('d', 'again', 'e'),
        add('b', 'e', 'f'),
        conv('f', 'small', 'g'),
        helper.make_node('Concat', ['g', 'g'], ['h'], axis=1),
        conv('h', 'depth', 'i', group=wide),
        add('f', 'i', 'j'),
        conv('j', 'classes', 'y'),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, *SHAPE[2:]])
        for name, channels in (('x', 3), ('y', wide))
    ]
    weights = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, 'small', ends[:1], ends[1:], weights)
    opset = helper.make_opsetid('', 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


@pytest.fixture(scope='module')
def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network in int8."""
    return quantize(model, feeds())


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString())
    return session.run(None, feed)[0]


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def readers(model: onnx.ModelProto, kind: str) -> list[tuple[str, str]]:
    """List operator and first output of what reads the outputs of a kind of node."""
    made = {each.output[0] for each in model.graph.node if each.op_type == kind}
    return [(each.op_type, each.output[0]) for each in model.graph.node if made & set(each.input)]


def test_only_wide_convolutions(quantized: onnx.ModelProto) -> None:
    onnx.checker.check_model(quantized, full_check=True)
    assert readers(quantized, 'DequantizeLinear') == [('Conv', 'c'), ('Conv', 'e')]


def test_symmetric_and_per_channel(model: onnx.ModelProto, quantized: onnx.ModelProto) -> None:
    constants = constants_of(quantized)
    pairs = [each for each in quantized.graph.node if each.op_type == 'QuantizeLinear']
    assert len(pairs) == 4
    for each in pairs:
        source, scale, zero = each.input
        assert constants[zero].dtype == np.int8
        assert not constants[zero].any()
        if source in constants:
            largest = np.abs(constants_of(model)[source]).max((1, 2, 3))
            np.testing.assert_allclose(constants[scale], largest / 127, rtol=1e-6)
            assert each.attribute[0].i == 0
        else:
            assert constants[scale].shape == ()


def test_close_to_float(model: onnx.ModelProto, quantized: onnx.ModelProto) -> None:
    feed = next(feeds(1))
    expected, found = (run(each, feed) for each in (model, quantized))
    error = np.abs(found - expected)
    assert 0 < error.max() < 0.15 * np.abs(expected).max()
    assert error.mean() < 0.01 * np.abs(expected).max()


def test_no_cast_inside_an_island(quantized: onnx.ModelProto) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    half = to_half(copy)
    onnx.checker.check_model(half, full_check=True)
    assert readers(half, 'DequantizeLinear') == [('Conv', 'c'), ('Conv', 'e')]
    kept = float32_tensors(half)
    # From one quantized convolution to the next, and nowhere else.
    assert {'c', 'd', 'e'} <= kept
    assert not kept & {'a', 'f', 'g', 'i', 'j', 'y'}


def test_same_frames_give_the_same_file(model: onnx.ModelProto) -> None:
    frames = list(feeds())
    first, second = (quantize(model, frames).SerializeToString() for _ in range(2))
    assert first == second


def test_range_clips_what_is_rare() -> None:
    values = np.random.default_rng(2).standard_normal((1, 64, 32, 32)).astype(np.float32)
    usual = range_end(values)
    assert 3.0 < usual <= np.abs(values).max()
    values[0, 0, 0, 0] = 40.0
    assert range_end(values) < 0.8 * 40.0
    assert range_end(np.zeros((1, 4, 4, 4), np.float32)) == 0.0


def test_range_of_all_frames(model: onnx.ModelProto) -> None:
    frames = list(feeds(3))
    frames[1] = {'x': 4 * frames[1]['x']}
    scales = [constants_of(quantize(model, chosen))['b_scale'] for chosen in (frames, frames[1:2])]
    assert scales[0] == scales[1]


def test_dead_channels_have_a_scale(model: onnx.ModelProto) -> None:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == 'dense':
            values = numpy_helper.to_array(tensor).copy()
            values[7] = 0.0
            tensor.CopyFrom(numpy_helper.from_array(values, 'dense'))
    found = quantize(changed, [{'x': np.zeros(SHAPE, np.float32)}])
    assert (constants_of(found)['dense_scale'] > 0).all()
    assert np.isfinite(run(found, next(feeds(1)))).all()


def test_nothing_worth_it(tiny_bundle: Path) -> None:
    detail = onnx.load(load_bundle(tiny_bundle).graphs['detail'].path)
    assert quantize(detail, ()) is detail


def test_without_frames(model: onnx.ModelProto) -> None:
    with pytest.raises(EngineError, match='graph small: int8 needs frames to calibrate with'):
        quantize(model, ())


def test_frames_that_do_not_fit(model: onnx.ModelProto) -> None:
    with pytest.raises(EngineError, match='graph small cannot be calibrated: .*image'):
        quantize(model, [{'image': np.zeros(SHAPE, np.float32)}])
