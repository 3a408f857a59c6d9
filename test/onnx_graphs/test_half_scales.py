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

"""Int8 convolutions with scales in half: nothing is cast, and the results are the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='graphs are read with onnx')

import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime as ort

from uhr_seg_ros.backends.tensorrt.api import describe
from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.graph_files import hash_graph
from uhr_seg_ros.onnx_graphs.graph_view import GraphView
from uhr_seg_ros.onnx_graphs.half_scales import half_scale, halve_scales, SMALLEST_SCALE
from uhr_seg_ros.onnx_graphs.precision import to_half
from uhr_seg_ros.onnx_graphs.qdq import quantize
from uhr_seg_ros.onnx_graphs.traffic import kernels_of

WIDE = 64
SHAPE = (1, WIDE, 12, 16)


def feeds() -> Iterator[dict[str, np.ndarray]]:
    generator = np.random.default_rng(3)
    for _ in range(2):
        yield {'x': generator.standard_normal(SHAPE).astype(np.float32)}


@pytest.fixture(scope='module')
def network() -> onnx.ModelProto:
    """
    Make a residual block of two dense convolutions, then a softmax over channels and a classifier.

    One output channel of the first convolution has weights near zero.
    """
    generator, node = np.random.default_rng(4), helper.make_node
    arrays = {
        name: (generator.standard_normal((count, WIDE, side, side)) / (8 * side)).astype('f4')
        for name, count, side in (('first', WIDE, 3), ('second', WIDE, 1), ('last', 5, 1))
    }
    arrays['first'][7] *= 1e-6
    arrays['bias'] = np.linspace(-1, 1, WIDE, dtype=np.float32)
    nodes = [
        node('Conv', ['x', 'first', 'bias'], ['a'], pads=[1] * 4),
        node('Relu', ['a'], ['b']),
        node('Conv', ['b', 'second', 'bias'], ['c']),
        node('Add', ['x', 'c'], ['d']),
        node('Softmax', ['c'], ['e'], axis=1),
        node('ReduceMean', ['e'], ['f'], axes=[2, 3], keepdims=1),
        node('Add', ['d', 'f'], ['g']),
        node('Conv', ['g', 'last'], ['y']),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, *SHAPE[2:]])
        for name, channels in (('x', WIDE), ('y', 5))
    ]
    weights = [numpy_helper.from_array(values, name) for name, values in arrays.items()]
    graph = helper.make_graph(nodes, 'block', ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


@pytest.fixture(scope='module')
def quantized(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return the block in int8, with float32 around its convolutions."""
    return to_half(quantize(network, feeds()))


@pytest.fixture(scope='module')
def halved(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """Return the block in int8 with half around its convolutions."""
    return halve_scales(onnx.ModelProto.FromString(quantized.SerializeToString()))


def run(model: onnx.ModelProto) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {'x': next(feeds())['x'].astype(np.float16)})[0]


def test_same_results(quantized: onnx.ModelProto, halved: onnx.ModelProto) -> None:
    onnx.checker.check_model(halved, full_check=True)
    assert halved.opset_import[0].version == 19
    expected, found = run(quantized), run(halved)
    assert found.dtype == np.float16
    error = np.abs(found.astype('f4') - expected)
    # A value may be rounded to the next step of int8: one of 127.
    assert error.max() < 0.03 * np.abs(expected).max()
    assert error.mean() < 0.003 * np.abs(expected).max()
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.98


def test_nothing_is_cast_around_convolutions(
    quantized: onnx.ModelProto, halved: onnx.ModelProto
) -> None:
    # Around the softmax and the mean behind it, which stay float32.
    view = GraphView(halved)
    casts = [node for node in view.nodes if node.op_type == 'Cast']
    assert {node.input[0] for node in casts} == {'c', 'f'}
    for node in view.nodes:
        if node.op_type in ('QuantizeLinear', 'DequantizeLinear'):
            assert view.types[node.input[1]] == TensorProto.FLOAT16
        if node.op_type == 'Conv':
            assert view.types[node.output[0]] == TensorProto.FLOAT16
    assert view.types['e'] == TensorProto.FLOAT
    moved = [
        sum(each.bytes for each in kernels_of(GraphView(model))) for model in (quantized, halved)
    ]
    assert moved[1] < moved[0]


def test_weights_are_quantized_by_the_scale_as_it_is_rounded(
    network: onnx.ModelProto, halved: onnx.ModelProto
) -> None:
    view = GraphView(halved)
    original = {each.name: numpy_helper.to_array(each) for each in network.graph.initializer}
    found = [node for node in view.nodes if node.input[0] in view.constants]
    assert [node.op_type for node in found] == ['DequantizeLinear'] * 2
    for node, name in zip(found, ('first', 'second'), strict=True):
        weights, scales = (view.values(each) for each in node.input[:2])
        assert weights is not None
        assert scales is not None
        assert weights.dtype == np.int8
        steps = scales.astype('f4')[:, None, None, None]
        # Half a step, and nothing clipped.
        assert (np.abs(weights * steps - original[name]) <= 0.5001 * steps).all()
    first = view.values(found[0].input[1])
    assert first is not None
    assert first[7] == np.float16(SMALLEST_SCALE)


def test_scales_are_rounded_up_and_never_vanish() -> None:
    scales = np.geomspace(1e-9, 100, 1000).astype(np.float32)
    halves = half_scale(scales)
    assert halves.dtype == np.float16
    assert (halves >= scales).all()
    assert (halves >= np.float16(SMALLEST_SCALE)).all()
    normal = scales > SMALLEST_SCALE
    np.testing.assert_allclose(halves[normal].astype('f4'), scales[normal], rtol=1e-3)


def test_a_graph_that_is_not_quantized_stays(network: onnx.ModelProto) -> None:
    model = to_half(onnx.ModelProto.FromString(network.SerializeToString()))
    assert halve_scales(model) is model


def test_engines_before_tensorrt_10_get_opset_17(tmp_path: Path, network: onnx.ModelProto) -> None:
    onnx.save(network, tmp_path / 'block.onnx')
    path = tmp_path / 'block.onnx'
    graph = Graph('block', path, hash_graph(path), ('x',), ('y',))
    graphs = SpecializedGraphs('some', 'int8', EngineCache(tmp_path / 'cache'))
    graphs.calibrate(graph, {'x': SHAPE}, feeds())
    versions = [
        graphs.load(graph, {'x': SHAPE}, plain_norms=False, half_scales=half_scales)
        .opset_import[0]
        .version
        for half_scales in (False, True)
    ]
    assert versions == [17, 19]


def test_a_real_compiler_takes_it(halved: onnx.ModelProto) -> None:
    real = describe(pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed'))
    content = halved.SerializeToString()
    assert build_plan(
        real, content, {'x': SHAPE}, precision='int8', workspace_mb=256, capability=(8, 9)
    ).plan
