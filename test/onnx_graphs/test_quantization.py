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

"""int8 for the CPU: which nodes, which ranges, what float32 nodes read, equal channels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='graphs are quantized with onnx')

import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime as ort
from wide_bundle import branch_graph, WIDE

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.onnx_graphs.cross_layer_equalization import equalize
from uhr_seg_ros.onnx_graphs.int8_nodes import Int8Nodes
from uhr_seg_ros.onnx_graphs.latency_model import LatencyModel
from uhr_seg_ros.onnx_graphs.quantization import Quantizer


def feeds(count: int = 3, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield {'image': generator.standard_normal((1, 3, 96, 128)).astype(np.float32)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write the detail branch of the wide bundle."""
    model = branch_graph('image', ['affinity', 'local'], np.random.default_rng(3))
    onnx.save(model, tmp_path / 'detail.onnx')
    return tmp_path / 'detail.onnx'


@pytest.fixture
def quantizer(path: Path) -> Quantizer:
    """Return the branch, equalized and calibrated."""
    quantizer = Quantizer(path.read_bytes(), path)
    quantizer.equalize(feeds())
    quantizer.calibrate(feeds())
    return quantizer


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString())
    return session.run(['local'], feed)[0]


def error(model: onnx.ModelProto, reference: onnx.ModelProto) -> float:
    """Return the largest error, relative to the largest value."""
    (feed,) = feeds(1, seed=9)
    expected = run(reference, feed)
    return float(np.abs(run(model, feed) - expected).max() / np.abs(expected).max())


def readers(model: onnx.ModelProto, tensor: str) -> set[str]:
    return {node.name for node in model.graph.node if tensor in node.input}


def test_candidates_are_wide_and_give_no_output(quantizer: Quantizer) -> None:
    assert quantizer.candidates == list(WIDE)


def test_every_candidate_is_int8_at_run_time(quantizer: Quantizer, tmp_path: Path) -> None:
    chosen = quantizer.profitable(quantizer.candidates)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / 'optimized.onnx')
    options.log_severity_level = 3
    ort.InferenceSession(quantizer.quantize(chosen).SerializeToString(), options)
    kinds = [node.op_type for node in onnx.load(tmp_path / 'optimized.onnx').graph.node]
    assert (kinds.count('QLinearConv'), kinds.count('QLinearAdd')) == (4, 1)
    assert kinds.count('Relu') == 0  # each is the lower end of a range, or fused


def test_any_size_and_close_to_float(quantizer: Quantizer, path: Path) -> None:
    model = quantizer.quantize(WIDE)
    onnx.checker.check_model(model, full_check=True)
    assert 0 < error(model, onnx.load(path)) < 0.05
    assert run(model, {'image': np.zeros((1, 3, 32, 16), np.float32)}).shape == (1, 3, 8, 4)


def test_weights_per_channel_activations_unsigned(quantizer: Quantizer) -> None:
    model = quantizer.quantize(WIDE)
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    assert constants['first_quantized'].dtype == np.int8
    assert constants['first_scale'].shape == (32,)
    assert constants['first_relu_zero_point'].dtype == np.uint8
    assert constants['first_relu_zero_point'] == 0  # nothing is below a ReLU


def test_float_nodes_read_what_was_not_rounded(quantizer: Quantizer) -> None:
    model = quantizer.quantize(WIDE)
    # The skip reads the stem as it is; the convolution beside it reads bytes.
    assert readers(model, 'stem_relu') == {'skip_conv', 'stem_relu_QuantizeLinear'}
    # What a quantized convolution gives exists as bytes only.
    assert readers(model, 'first_relu') == {'first_relu_QuantizeLinear'}


def test_ranges_hold_all_frames(path: Path) -> None:
    (feed,) = feeds(1)
    frames = [feed, {'image': 4 * feed['image']}, feed]
    scales = []
    for chosen in (frames, frames[1:2]):
        quantizer = Quantizer(path.read_bytes(), path)
        quantizer.calibrate(chosen)
        model = quantizer.quantize(WIDE)
        constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        scales.append(constants['stem_relu_scale'])
    assert scales[0] == scales[1]


def test_nothing_chosen_is_the_same_model(quantizer: Quantizer, path: Path) -> None:
    assert error(quantizer.quantize([]), onnx.load(path)) < 1e-5


def test_without_frames_or_with_others(path: Path) -> None:
    with pytest.raises(EngineError, match='int8 needs frames to calibrate with'):
        Quantizer(path.read_bytes(), path).calibrate(())
    with pytest.raises(EngineError, match='graph branch cannot be calibrated: '):
        photo = np.zeros((1, 3, 16, 16), np.float32)
        Quantizer(path.read_bytes(), path).calibrate([{'photo': photo}])


def test_not_a_graph(tmp_path: Path) -> None:
    model = branch_graph('image', ['affinity', 'local'], np.random.default_rng(3))
    model.graph.node[0].input[0] = 'nowhere'
    onnx.save(model, tmp_path / 'broken.onnx')
    with pytest.raises(EngineError, match=r'broken\.onnx cannot be quantized: .*nowhere'):
        Quantizer((tmp_path / 'broken.onnx').read_bytes(), 'broken.onnx')


def test_a_lonely_convolution_does_not_pay(path: Path) -> None:
    nodes = Quantizer(path.read_bytes(), path)._nodes
    # 3x3 on 32 channels saves 1.7 ms per million values; conversions cost 0.75 and 1.2.
    sizes = dict.fromkeys(nodes.activations(WIDE), 1_000_000)
    latency = LatencyModel(nodes, sizes)
    assert latency.gain(['first_conv']) == pytest.approx(6e-3 * 9 * 32 - 0.75 - 1.2)
    assert latency.best_of(['first_conv']) == set()
    assert latency.best_of(WIDE) == set(WIDE)
    # Two that do not touch are no better.
    assert latency.best_of(['first_conv', 'third_conv']) == set()


def test_ends_of_a_chain_that_cost_more_are_left_out(path: Path) -> None:
    nodes = Quantizer(path.read_bytes(), path)._nodes
    sizes = dict.fromkeys(nodes.activations(WIDE), 1_000_000)
    # To enter before the first convolution costs 7.5 ms, it saves 1.7.
    sizes['stem_relu'] = 10_000_000
    assert 'first_conv' not in LatencyModel(nodes, sizes).best_of(WIDE)


def test_an_island_goes_as_a_whole(path: Path) -> None:
    nodes = Quantizer(path.read_bytes(), path)._nodes
    sizes = dict.fromkeys(nodes.activations(WIDE), 1_000_000)
    # What passes between these two is so large that either alone would cost more than both.
    sizes |= {'first_relu': 2_000_000, 'depth_relu': 4_000_000, 'third_relu': 10_000_000}
    latency = LatencyModel(nodes, sizes)
    both = latency.gain(['depth_conv', 'second_conv'])
    assert max(latency.gain(['depth_conv']), latency.gain(['second_conv'])) < both < 0
    assert latency.best_of(['depth_conv', 'second_conv', 'third_conv']) == {'third_conv'}


def attention() -> onnx.ModelProto:
    """Return two convolutions whose results are multiplied over all positions, and a third."""
    generator = np.random.default_rng(1)
    constants = [
        numpy_helper.from_array(generator.standard_normal((32, 32, 1, 1)).astype(np.float32), name)
        for name in ('wq', 'wk', 'wv')
    ]
    nodes = [
        helper.make_node('Conv', ['x', 'wv'], ['v'], 'v'),
        helper.make_node('Conv', ['v', 'wq'], ['q'], 'q'),
        helper.make_node('Conv', ['v', 'wk'], ['k'], 'k'),
        helper.make_node('Relu', ['q'], ['q_relu'], 'q_relu'),
        helper.make_node('Transpose', ['k'], ['k_turned'], 'k_turned', perm=[0, 1, 3, 2]),
        helper.make_node('MatMul', ['q_relu', 'k_turned'], ['y'], 'y'),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 32, 8, 8]) for name in 'xy']
    graph = helper.make_graph(nodes, 'attention', ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def test_long_sums_stay_float(quantizer: Quantizer) -> None:
    assert Int8Nodes(attention()).candidates == ['v']


def test_equalized_channels_compute_the_same(path: Path, quantizer: Quantizer) -> None:
    model = onnx.load(path)
    for node in model.graph.node:
        node.name = node.output[0]
    nodes = Int8Nodes(model)
    pairs = [('depth_conv', 'second_conv'), ('third_conv', 'last_conv')]
    assert nodes.pairs() == pairs  # the sum reads what the first one gives, too
    equalize(model, nodes, feeds())
    assert error(model, onnx.load(path)) < 1e-4


def test_equalizing_makes_one_range_serve_all_channels(path: Path) -> None:
    errors = []
    for equal in (False, True):
        quantizer = Quantizer(path.read_bytes(), path)
        if equal:
            quantizer.equalize(feeds())
        quantizer.calibrate(feeds())
        errors.append(error(quantizer.quantize(['depth_conv', 'second_conv']), onnx.load(path)))
    assert errors[1] < 0.5 * errors[0]


def test_a_dead_channel_is_left_alone(path: Path) -> None:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name in ('first', 'first_bias'):
            values = numpy_helper.to_array(tensor).copy()
            values[5] = 0.0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)
    quantizer = Quantizer(path.read_bytes(), path)
    quantizer.equalize(feeds())
    quantizer.calibrate(feeds())
    found = quantizer.quantize(WIDE)
    assert np.isfinite(run(found, next(feeds(1)))).all()
    assert error(found, model) < 0.05
