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

"""Graphs of fixed shapes in every precision, run by ONNX Runtime and built for real."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

import onnx
from onnx import helper, numpy_helper, TensorProto
from onnx.reference import ReferenceEvaluator
import onnxruntime as ort

from uhr_seg_ros.backends.tensorrt.api import describe
from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
from uhr_seg_ros.core.bundle import Bundle, Graph, load_bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.graph_files import hash_graph
from uhr_seg_ros.onnx_graphs.folding import fix_shapes, split_layer_norms
from uhr_seg_ros.onnx_graphs.precision import float32_tensors, to_half
from uhr_seg_ros.onnx_graphs.qdq import quantize
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.synthetic.scenes import generate_scene

ROOT = Path(__file__).parents[2]
GRAPHS = ('semantic', 'detail', 'quarter')
#: Of the shipped model where its graphs meet.
CHANNELS = 32
SIZE = (256, 384)


@pytest.fixture(scope='module')
def bundle() -> Bundle:
    """Return the shipped model."""
    return load_bundle('hlrc_s_aerial')


def shapes_of(height: int, width: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the input shapes of the shipped model's graphs."""
    rows, columns = height // 16, width // 16
    meeting = {
        'tokens': (1, CHANNELS, rows, columns),
        'affinity': (1, rows, columns, 144),
        'local': (1, CHANNELS, 4 * rows, 4 * columns),
    }
    low_res = {'low_res': (1, 3, height // 4, width // 4)}
    return {'semantic': low_res, 'detail': {'image': (1, 3, height, width)}, 'quarter': meeting}


@pytest.fixture(scope='module')
def fixed(bundle: Bundle) -> dict[str, onnx.ModelProto]:
    """Return the graphs of the shipped model at `SIZE`."""
    shapes = shapes_of(*SIZE)
    return {name: fix_shapes(bundle.graphs[name].read(), shapes[name], name) for name in GRAPHS}


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model, since converting changes it."""
    return onnx.ModelProto.FromString(model.SerializeToString())


def feeds_of(bundle: Bundle, image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs of both branches."""
    planes, low_res = Preprocessor(bundle).whole(image)
    return {'image': planes.copy(), 'low_res': low_res.copy()}


def run(models: dict[str, onnx.ModelProto], feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run the three graphs one after the other and give every tensor between them."""
    found = dict(feeds)
    for name in GRAPHS:
        session = ort.InferenceSession(
            models[name].SerializeToString(), providers=['CPUExecutionProvider']
        )
        types = {'tensor(float)': np.float32, 'tensor(float16)': np.float16}
        given = {
            each.name: found[each.name].astype(types[each.type]) for each in session.get_inputs()
        }
        names = [each.name for each in session.get_outputs()]
        found |= dict(zip(names, session.run(names, given), strict=True))
    return found


def mask_of(found: dict[str, np.ndarray]) -> np.ndarray:
    """Enlarge the logits and take the arg max."""
    quarter = found['quarter_logits'][0].astype(np.float32)
    size = 4 * quarter.shape[2], 4 * quarter.shape[1]
    return np.stack([cv2.resize(plane, size) for plane in quarter]).argmax(0)


@pytest.mark.parametrize('name', GRAPHS)
def test_fixed_graph_is_plain_arithmetic(
    bundle: Bundle, fixed: dict[str, onnx.ModelProto], name: str
) -> None:
    model = fixed[name]
    onnx.checker.check_model(model, full_check=True)
    used = {node.op_type for node in model.graph.node}
    assert not used & {'Shape', 'Gather', 'Range', 'Mod', 'Xor', 'ConstantOfShape', 'HardSwish'}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [('', 17)]
    assert len(model.graph.node) < len(onnx.load(bundle.graphs[name].path).graph.node)


def test_fixed_graphs_compute_the_same(bundle: Bundle, fixed: dict[str, onnx.ModelProto]) -> None:
    feeds = feeds_of(bundle, generate_scene(3, *SIZE)[0])
    original = {name: onnx.load(bundle.graphs[name].path) for name in GRAPHS}
    expected, found = run(original, feeds), run(fixed, feeds)
    for name in ('tokens', 'affinity', 'local', 'quarter_logits'):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', GRAPHS)
def test_half_graph(fixed: dict[str, onnx.ModelProto], name: str) -> None:
    model = to_half(copied(fixed[name]))
    onnx.checker.check_model(model, full_check=True)
    for tensor in (*model.graph.input, *model.graph.output):
        assert tensor.type.tensor_type.elem_type == TensorProto.FLOAT16
    kept, floats = float32_tensors(model), float32_tensors(fixed[name])
    operators = Counter(node.op_type for node in model.graph.node)
    for node in model.graph.node:
        if node.op_type in ('Softmax', 'ReduceSum', 'ReduceMean', 'BatchNormalization'):
            assert set(node.output) & floats <= kept
        if node.op_type == 'Conv':
            assert not set(node.output) & kept
    weights = {each.name: each for each in model.graph.initializer}
    halves = [each for each in weights.values() if each.data_type == TensorProto.FLOAT16]
    assert operators['Conv'] <= len(halves)


def test_half_weights_keep_their_sums(fixed: dict[str, onnx.ModelProto]) -> None:
    pairs = zip(
        *(
            [
                numpy_helper.to_array(weights[node.input[1]])
                for node in model.graph.node
                if node.op_type == 'Conv'
            ]
            for model in (fixed['semantic'], to_half(copied(fixed['semantic'])))
            for weights in [{each.name: each for each in model.graph.initializer}]
        ),
        strict=True,
    )
    errors = np.array(
        [
            [
                np.abs((other - weight).sum((1, 2, 3))).max()
                for other in (half, weight.astype('f2'))
            ]
            for weight, half in pairs
        ]
    )
    assert errors[:, 0].mean() < 0.2 * errors[:, 1].mean()


def test_half_agrees(bundle: Bundle, fixed: dict[str, onnx.ModelProto]) -> None:
    half = {name: to_half(copied(model)) for name, model in fixed.items()}
    for seed in range(3):
        feeds = feeds_of(bundle, generate_scene(seed, *SIZE)[0])
        expected, found = run(fixed, feeds), run(half, feeds)
        assert all(np.isfinite(values).all() for values in found.values())
        assert (mask_of(found) == mask_of(expected)).mean() > 0.999


def test_sums_that_are_normalized_later_do_not_overflow() -> None:
    """Linear attention over 4096 values of 30: a sum of 3.7e6 divided by one of 1.2e5."""
    inputs = [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 4096, 4])]
    nodes = [
        helper.make_node('Transpose', ['x'], ['t'], perm=[0, 2, 1]),
        helper.make_node('MatMul', ['t', 'x'], ['products']),
        helper.make_node('ReduceSum', ['x', 'axis'], ['sums'], keepdims=1),
        helper.make_node('Div', ['products', 'sums'], ['y']),
    ]
    outputs = [helper.make_tensor_value_info('y', TensorProto.FLOAT, [1, 4, 4])]
    axis = numpy_helper.from_array(np.array([1]), 'axis')
    graph = helper.make_graph(nodes, 'attention', inputs, outputs, [axis])
    opset = helper.make_opsetid('', 17)
    model = to_half(helper.make_model(graph, opset_imports=[opset], ir_version=8))
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {'x': np.full((1, 4096, 4), 30, np.float16)})
    np.testing.assert_allclose(found, 30, rtol=1e-3)


def layer_norm(path: Path) -> Path:
    """Write a graph with a layer normalization between two products."""
    weights = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    constants = {
        'w': weights,
        'scale': weights[0],
        'bias': weights[1],
    }
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a']),
        helper.make_node('LayerNormalization', ['a', 'scale', 'bias'], ['b'], epsilon=1e-5),
        helper.make_node('MatMul', ['b', 'w'], ['y']),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 'n', 8]) for name in 'xy']
    arrays = [numpy_helper.from_array(each, name) for name, each in constants.items()]
    graph = helper.make_graph(nodes, 'norm', [ends[0]], [ends[1]], arrays)
    opset = helper.make_opsetid('', 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


@pytest.mark.parametrize('half', [False, True])
def test_layer_norm_for_tensorrt_8_5(tmp_path: Path, half: bool) -> None:
    model = fix_shapes(layer_norm(tmp_path / 'norm.onnx').read_bytes(), {'x': (1, 5, 8)}, 'norm')
    plain = split_layer_norms(copied(model))
    assert not any(node.op_type == 'LayerNormalization' for node in plain.graph.node)
    plain = to_half(plain) if half else plain
    onnx.checker.check_model(plain, full_check=True)
    x = np.random.default_rng(1).standard_normal((1, 5, 8)).astype(np.float32)
    results = [
        ort.InferenceSession(each.SerializeToString()).run(None, {'x': x.astype(dtype)})[0]
        for each, dtype in ((model, np.float32), (plain, np.float16 if half else np.float32))
    ]
    np.testing.assert_allclose(*results, atol=2e-2 if half else 1e-5)


def test_squares_in_split_norms_do_not_overflow(tmp_path: Path) -> None:
    """Squares of more than 256 overflow in half. ONNX Runtime on a CPU would not show it."""
    path = layer_norm(tmp_path / 'norm.onnx')
    graph = Graph('norm', path, hash_graph(path), ('x',), ('y',))
    graphs = SpecializedGraphs('some', 'fp16', EngineCache(tmp_path))
    models = [graphs.load(graph, {'x': (1, 5, 8)}, plain_norms=plain) for plain in (False, True)]
    assert [len(model.graph.node) > 6 for model in models] == [False, True]
    x = (150 * np.random.default_rng(1).standard_normal((1, 5, 8))).astype(np.float16)
    results = [ReferenceEvaluator(model).run(None, {'x': x})[0] for model in models]
    np.testing.assert_allclose(*results, atol=2e-2)


def test_missing_onnx_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt = import_module('uhr_seg_ros.backends.tensorrt.backend')
    monkeypatch.setitem(sys.modules, 'onnx', None)
    for name in ('backends.tensorrt.specialized_graphs', 'onnx_graphs'):
        for module in [each for each in sys.modules if each.startswith(f'uhr_seg_ros.{name}')]:
            monkeypatch.delitem(sys.modules, module)
    with pytest.raises(EngineError, match='pip install onnx'):
        tensorrt._specialized_graphs('some', 'fp16', EngineCache())


def test_int8_graph(bundle: Bundle, fixed: dict[str, onnx.ModelProto]) -> None:
    feeds = [
        {'image': feeds_of(bundle, generate_scene(seed, *SIZE)[0])['image']} for seed in range(2)
    ]
    model = to_half(quantize(fixed['detail'], feeds))
    onnx.checker.check_model(model, full_check=True)
    makers = {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == 'Conv']
    fed = [
        makers[node.input[0]].op_type == 'DequantizeLinear'
        for node in convolutions
        if node.input[0] in makers
    ]
    assert 0 < sum(fed) < len(convolutions)
    sources = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type in ('QuantizeLinear', 'DequantizeLinear')
    }
    weights = {each.name: each for each in model.graph.initializer}
    kernels = [
        weights[sources[sources[node.input[1]]]]
        for node in convolutions
        if node.input[1] in sources
    ]
    assert len(kernels) == sum(fed)
    assert all(min(kernel.dims[:2]) >= 64 for kernel in kernels)
    for node in model.graph.node:
        if node.op_type == 'DequantizeLinear':
            users = [each for each in model.graph.node if node.output[0] in each.input]
            # A cast in between would keep TensorRT from fusing them.
            assert 'Cast' not in {each.op_type for each in users}
    zeros = [each for each in model.graph.initializer if each.name.endswith('_zero_point')]
    assert all(each.data_type == TensorProto.INT8 for each in zeros)
    assert all(not numpy_helper.to_array(each).any() for each in zeros)


def real_crops(tiles: tuple[int, ...], count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Cut real frames out of the aerial mosaics."""
    folder = ROOT.parent / 'shared/data/aerial/images'
    if not folder.is_dir():
        pytest.skip('../shared is not there')
    crops = []
    for tile in tiles:
        mosaic = cv2.imread(str(folder / f'tile{tile}.jpg'))
        generator = np.random.default_rng(tile)
        for _ in range(count):
            top, left = (
                generator.integers(0, most - side)
                for most, side in zip(mosaic.shape, size, strict=False)
            )
            crops.append(np.ascontiguousarray(mosaic[top:, left:][: size[0], : size[1]]))
    return crops


@pytest.mark.slow
def test_aims_on_real_frames(bundle: Bundle) -> None:
    """Half: 99.9 % of the pixels get the same class; int8: 99 %."""
    size = (768, 1024)
    shapes = shapes_of(*size)
    fixed = {name: fix_shapes(bundle.graphs[name].read(), shapes[name], name) for name in GRAPHS}
    seen = [feeds_of(bundle, image) for image in real_crops((4, 6, 7), 2, size)]
    between = [run(fixed, feeds) for feeds in seen]
    quantized = {
        name: quantize(
            fixed[name], ({each: found[each] for each in shapes[name]} for found in between)
        )
        for name in GRAPHS
    }
    half, int8 = (
        {name: to_half(copied(model)) for name, model in models.items()}
        for models in (fixed, quantized)
    )
    same: dict[str, list[float]] = {'half': [], 'int8': []}
    for image in real_crops((2, 5), 2, size):
        feeds = feeds_of(bundle, image)
        expected = mask_of(run(fixed, feeds))
        same['half'].append((mask_of(run(half, feeds)) == expected).mean())
        same['int8'].append((mask_of(run(int8, feeds)) == expected).mean())
    assert min(same['half']) >= 0.999
    assert min(same['int8']) >= 0.99


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
def test_tensorrt_builds_the_shipped_model(
    bundle: Bundle, fixed: dict[str, onnx.ModelProto], precision: str
) -> None:
    """For real, by TensorRT for RTX, whose parser and builder need no GPU."""
    real = describe(pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed'))
    shapes = shapes_of(*SIZE)
    for name in GRAPHS:
        model = copied(fixed[name])
        if precision == 'int8':
            generator = np.random.default_rng(0)
            feeds = {
                each: generator.random(shape, np.float32) for each, shape in shapes[name].items()
            }
            model = quantize(model, [feeds])
        if precision != 'fp32':
            model = to_half(model)
        content = model.SerializeToString()
        built = build_plan(
            real, content, shapes[name], capability=(8, 9), precision=precision, workspace_mb=512
        )
        assert len(built.plan) > 10_000


def test_opset_that_tensorrt_8_5_cannot_read(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.graphs['quarter'].path)
    model.opset_import[0].version = 18
    onnx.save(model, tmp_path / 'new.onnx')
    with pytest.raises(EngineError, match=r'new\.onnx uses ai\.onnx 18: TensorRT 8\.5 reads'):
        fix_shapes((tmp_path / 'new.onnx').read_bytes(), shapes_of(*SIZE)['quarter'], 'new.onnx')


def test_operators_of_another_domain(bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.graphs['quarter'].path)
    model.opset_import.append(helper.make_opsetid('com.microsoft', 1))
    onnx.save(model, tmp_path / 'foreign.onnx')
    with pytest.raises(EngineError, match='uses com.microsoft 1'):
        fix_shapes(
            (tmp_path / 'foreign.onnx').read_bytes(), shapes_of(*SIZE)['quarter'], 'foreign'
        )


def test_shapes_that_do_not_fit(bundle: Bundle) -> None:
    shapes = {**shapes_of(*SIZE)['quarter'], 'tokens': (1, CHANNELS + 1, 16, 24)}
    with pytest.raises(EngineError, match=r'quarter\.onnx cannot be fixed to .*tokens'):
        fix_shapes(bundle.graphs['quarter'].read(), shapes, 'quarter.onnx')
