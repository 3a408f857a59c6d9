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


"""What half cannot hold: sums over all places of a map, their scales, counts and epsilons."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('onnx', reason='half graphs are made with onnx')

from emulated_half import emulate_half, run_graph, run_half
import onnx
from onnx import helper, numpy_helper, TensorProto
from onnx.utils import Extractor

from uhr_seg_ros.backends.tensorrt.api import describe
from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.onnx_graphs.folding import fix_shapes
from uhr_seg_ros.onnx_graphs.long_sums import BLOCK, shorten_sums
from uhr_seg_ros.onnx_graphs.precision import float32_tensors, to_half
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.synthetic.scenes import generate_scene

#: Rows and columns at stride 16 of 1080p, 4K and 8K frames.
PLACES = {'1080p': (68, 120), '4K': (135, 240), '8K': (270, 480)}
#: First attention of the shipped detail graph: its input, queries, keys and values, its quotient.
NAME = '/region/trunk/stages.2/stages.2.'
FED, TRIPLES = f'{NAME}0/point/conv/Conv_output_0', f'{NAME}1/block/Concat_output_0'
QUOTIENT = f'{NAME}1/block/Div_1_output_0'
#: Channels of a head of the map itself, and of one of its aggregate.
HEADS = [*range(96), *range(288, 384)]
COUNT = 32_400


@pytest.fixture(scope='module')
def detail() -> Extractor:
    """Return the parts of the shipped detail graph."""
    model = onnx.load(load_bundle('hlrc_s_aerial').graphs['detail'].path)
    return Extractor(onnx.shape_inference.infer_shapes(model))


@pytest.fixture(scope='module')
def seen(detail: Extractor) -> np.ndarray:
    """Return queries, keys and values of two heads on a small frame."""
    image = generate_scene(3, 256, 384)[0]
    planes = Preprocessor(load_bundle('hlrc_s_aerial')).whole(image)[0]
    before = detail.extract_model(['image'], [TRIPLES])
    return run_graph(before, {'image': planes.copy()})[TRIPLES][:, HEADS]


def attention_at(
    detail: Extractor, seen: np.ndarray, size: str
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Return the attention of two heads at a size, and what it takes, continued by mirroring."""
    for axis, length in zip((2, 3), PLACES[size], strict=True):
        period = np.concatenate((seen, np.flip(seen, axis)), axis)
        seen = np.take(period, np.arange(length) % period.shape[axis], axis)
    # Of the input of the block only the size counts.
    feeds = {FED: seen[:, :96], TRIPLES: seen}
    content = detail.extract_model([*feeds], [QUOTIENT])
    for tensor in content.graph.input:
        tensor.type.tensor_type.shape.dim[1].dim_value = feeds[tensor.name].shape[1]
    shapes = {name: values.shape for name, values in feeds.items()}
    return fix_shapes(content.SerializeToString(), shapes, 'attention'), feeds


def made(
    nodes: list[onnx.NodeProto],
    shapes: dict[str, list[int]],
    constants: dict[str, object],
    output: str = 'y',
) -> onnx.ModelProto:
    """Make a graph of nodes."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    arrays = [
        numpy_helper.from_array(np.array(value, np.int64 if name == 'axes' else np.float32), name)
        for name, value in constants.items()
    ]
    graph = helper.make_graph(nodes, 'graph', inputs, outputs, arrays)
    opset = helper.make_opsetid('', 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model, since converting changes it."""
    return onnx.ModelProto.FromString(model.SerializeToString())


def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    """Make a node of names with blanks between them."""
    return helper.make_node(operator, inputs.split(), output.split(), **attributes)


@pytest.mark.parametrize(
    ('size', 'flush'), [('1080p', False), ('4K', False), ('4K', True), ('8K', True)]
)
def test_attention_of_the_shipped_model(
    detail: Extractor, seen: np.ndarray, size: str, flush: bool
) -> None:
    """Keys divided by their number are below 6.1e-5: half has few digits for them, or none."""
    model, feeds = attention_at(detail, seen, size)
    (expected,) = run_graph(model, feeds).values()
    half = to_half(model)
    (found,) = run_half(half, feeds, flush=flush).values()
    assert np.abs(found - expected).max() < 4e-3 * np.abs(expected).max()


def test_attention_moves_halves(detail: Extractor) -> None:
    """What is float32 is sums, what normalizes them, and what is cast right before a sum."""
    shape = {FED: (1, 96, *PLACES['4K'])}
    content = detail.extract_model([FED], [QUOTIENT]).SerializeToString()
    model = to_half(fix_shapes(content, shape, 'attention'))
    makers = {name: each for each in model.graph.node for name in each.output}
    readers: dict[str, set[str]] = {}
    for each in model.graph.node:
        for name in each.input:
            readers.setdefault(name, set()).add(each.op_type)
    kept = float32_tensors(model)
    shapes = {
        each.name: [dimension.dim_value for dimension in each.type.tensor_type.shape.dim]
        for each in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    large = {name for name in kept & set(makers) if np.prod(shapes[name]) > 32 * COUNT}
    assert {makers[name].op_type for name in large} == {'Cast', 'MatMul', 'Div'}
    for name in large:
        if makers[name].op_type == 'Cast':
            assert readers[name] <= {'MatMul', 'ReduceSum'}
    products = [each for each in model.graph.node if each.op_type == 'MatMul']
    long = [shapes[each.input[0]] for each in products if shapes[each.input[0]][-1] > BLOCK // 2]
    assert long == [[1, 6, 16, 32, 2025]]


def test_tensorrt_builds_split_sums(detail: Extractor) -> None:
    real = describe(pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed'))
    shapes = {FED: (1, 96, *PLACES['4K'])}
    content = detail.extract_model([FED], [QUOTIENT]).SerializeToString()
    content = to_half(fix_shapes(content, shapes, 'attention')).SerializeToString()
    assert build_plan(
        real, content, shapes, precision='fp16', workspace_mb=1024, capability=(8, 9)
    ).plan


def test_shorter_sums_are_the_same(detail: Extractor, seen: np.ndarray) -> None:
    model, feeds = attention_at(detail, seen, '1080p')
    (expected,) = run_graph(model, feeds).values()
    short = shorten_sums(copied(model))
    onnx.checker.check_model(short, full_check=True)
    assert [each.op_type for each in short.graph.node].count('MatMul') == 3
    (found,) = run_graph(short, feeds).values()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def linear_attention(*scaling: onnx.NodeProto, places: int = COUNT) -> onnx.ModelProto:
    """Make an attention whose keys `k` go through nodes that end in `scaled`."""
    nodes = [
        *scaling,
        node('MatMul', 'v scaled', 'context'),
        node('ReduceSum', 'scaled axes', 'total', keepdims=1),
        node('MatMul', 'q context', 'products'),
        node('MatMul', 'q ones', 'queries'),
        node('Mul', 'queries total', 'sums'),
        node('Div', 'products sums', 'y'),
    ]
    shapes = {'v': [1, 4, places], 'k': [1, places, 1], 'q': [1, 1, 4], 'ones': [1, 4, 1]}
    return made(nodes, shapes, {'axes': [1], 'count': places, 'share': 1 / places})


SCALINGS = {
    'divided': [node('Relu', 'k', 'r'), node('Div', 'r count', 'scaled')],
    'multiplied': [node('Relu', 'k', 'r'), node('Mul', 'r share', 'scaled')],
    'commuted': [node('Relu', 'k', 'r'), node('Mul', 'share r', 'scaled')],
    'then_relu': [node('Div', 'k count', 'd'), node('Relu', 'd', 'scaled')],
    'then_sum': [node('Div', 'k count', 'd'), node('Add', 'd d', 'scaled')],
}


@pytest.mark.parametrize('flush', [False, True])
@pytest.mark.parametrize('scaling', SCALINGS)
def test_scaled_keys(scaling: str, flush: bool) -> None:
    model = linear_attention(*copies(SCALINGS[scaling]))
    generator = np.random.default_rng(0)
    feeds = {
        'v': generator.random((1, 4, COUNT), np.float32),
        'k': generator.random((1, COUNT, 1), np.float32) / 4,
        'q': np.full((1, 1, 4), 0.25, np.float32),
        'ones': np.ones((1, 4, 1), np.float32),
    }
    (expected,) = run_graph(model, feeds).values()
    (found,) = run_half(to_half(model), feeds, flush=flush).values()
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def copies(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Copy nodes, which converting changes."""
    return [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]


NUMBERS = {
    # 65504 is the largest half.
    'count': (
        [node('Div', 'x c', 'd'), node('Mul', 'd c', 'y')],
        {'c': 129_600.0},
        lambda x: x,
    ),
    # It is zero in half.
    'floor': (
        [node('Max', 'x c', 'm'), node('Div', 'x m', 'y')],
        {'c': 1e-12},
        np.sign,
    ),
    'mean': (
        [node('ReduceSum', 'x axes', 's', keepdims=0), node('Div', 's c', 'y')],
        {'c': 8100.0, 'axes': [1]},
        lambda x: x.mean(1),
    ),
    'squares': (
        [
            node('Mul', 'x x', 's'),
            node('ReduceMean', 's', 'm', axes=[1], keepdims=1),
            node('Sqrt', 'm', 'r'),
            node('Div', 'r c', 'y'),
        ],
        {'c': 10.0},
        lambda x: np.sqrt((x * x).mean(1, keepdims=True)) / 10,
    ),
    'sum_of_squares': (
        [
            node('ReduceSumSquare', 'x', 's', axes=[1], keepdims=1),
            node('Mul', 's c', 'm'),
            node('Sqrt', 'm', 'r'),
            node('Div', 'x r', 'y'),
        ],
        {'c': 1 / 8100},
        lambda x: x / np.sqrt((x * x).mean(1, keepdims=True)),
    ),
}


@pytest.mark.parametrize('flush', [False, True])
@pytest.mark.parametrize('kind', NUMBERS)
def test_numbers_out_of_range(kind: str, flush: bool) -> None:
    nodes, constants, function = NUMBERS[kind]
    x = np.random.default_rng(1).uniform(0, 400, (4, 8100)).astype(np.float32)
    x[x < 1] = 0
    x = x.astype(np.float16).astype(np.float32)
    model = to_half(made(copies(nodes), {'x': [4, 8100]}, constants))
    (found,) = run_half(model, {'x': x}, flush=flush).values()
    np.testing.assert_allclose(found, function(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('operator', ['GlobalAveragePool', 'ReduceL2', 'ReduceSumSquare'])
def test_sums_inside_operators(operator: str) -> None:
    model = to_half(
        made([node(operator, 'x', 's'), node('Relu', 's', 'y')], {'x': [1, 2, 9, 9]}, {})
    )
    assert 's' in float32_tensors(model)


@pytest.mark.parametrize('flush', [False, True])
def test_shares_of_many_places(flush: bool) -> None:
    """Softmax over 32400 places gives each 3e-5."""
    nodes = [
        node('Softmax', 'x', 'shares', axis=-1),
        node('Transpose', 'shares', 'moved', perm=[1, 0]),
        node('MatMul', 'v moved', 'y'),
    ]
    model = made(nodes, {'x': [2, COUNT], 'v': [3, COUNT]}, {})
    generator = np.random.default_rng(2)
    feeds = {
        'x': generator.random((2, COUNT), np.float32),
        'v': generator.random((3, COUNT), np.float32),
    }
    (expected,) = run_graph(model, feeds).values()
    (found,) = run_half(to_half(model), feeds, flush=flush).values()
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_few_shares_stay_half() -> None:
    nodes = [node('Softmax', 'x', 'shares', axis=-1), node('MatMul', 'shares v', 'y')]
    model = to_half(made(nodes, {'x': [49, 49], 'v': [49, 32]}, {}))
    assert not float32_tensors(model) & {'y', 'v'}


def test_what_is_no_sum_stays_half() -> None:
    """What depends on no sum is as large as any map: a norm needs float32 for itself only."""
    nodes = [
        node('Conv', 'x w', 'a'),
        node('Add', 'a x', 'b'),
        node('Relu', 'b', 'c'),
        node('ReduceSum', 'c axes', 'sum', keepdims=1),
        node('Div', 'c sum', 'y'),
    ]
    weights = np.ones((4, 4, 1, 1))
    model = to_half(made(nodes, {'x': [1, 4, 8, 8]}, {'w': weights, 'axes': [2, 3]}))
    assert not float32_tensors(model) & {'a', 'b', 'c'}
    assert 'sum' in float32_tensors(model)


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (node('Identity', 'scaled', 'y'), 'an output'),
        (node('Mul', 'scaled q', 'y'), 'a product'),
    ],
)
def test_scales_that_others_need(change: onnx.NodeProto, text: str) -> None:
    nodes = [
        node('Div', 'k count', 'scaled'),
        node('ReduceSum', 'scaled axes', 'total', keepdims=1),
        *copies([change]),
    ]
    model = made(nodes, {'k': [1, 64, 1], 'q': [1, 1, 1]}, {'count': 64.0, 'axes': [1]})
    before = [each.op_type for each in model.graph.node]
    assert [each.op_type for each in shorten_sums(model).graph.node] == before, text


@pytest.mark.parametrize('places', [4096, 8191])
def test_sums_that_stay_whole(places: int) -> None:
    """They are short, or of a length that has no divisor."""
    model = linear_attention(*copies(SCALINGS['divided']), places=places)
    operators = [each.op_type for each in shorten_sums(model).graph.node]
    assert operators.count('Reshape') == 0
    # Of the context and of the total, which are smaller than the keys.
    assert operators.count('Div') == 3


@pytest.mark.parametrize('flush', [False, True])
def test_emulation_rounds_every_tensor(flush: bool) -> None:
    nodes = [
        node('Add', 'x c', 'a'),
        node('Sub', 'a c', 'b'),
        node('Mul', 'b c', 'y'),
    ]
    model = to_half(made(nodes, {'x': [5]}, {'c': 1.0}))
    x = np.array([2.0**-11 * 1.01, 2.0**-12, 0.5, 1e5, 3e-5], np.float32)
    (found,) = run_half(model, {'x': x}, flush=flush).values()
    np.testing.assert_array_equal(found, np.array([2.0**-10, 0, 0.5, np.inf, 0], np.float32))
    only = to_half(made([node('Mul', 'x c', 'y')], {'x': [3]}, {'c': 1.0}))
    small = np.array([3e-5, 1e-9, 6.2e-5], np.float32)
    (found,) = run_half(only, {'x': small}, flush=flush).values()
    halves = small.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(found, [0, 0, halves[2]] if flush else halves)
    assert emulate_half(only, flush=flush).graph.input[0].name == 'x_given'
