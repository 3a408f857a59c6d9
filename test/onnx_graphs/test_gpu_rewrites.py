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

"""Graphs rewritten for a GPU: run before and after, they say the same and move fewer bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime as ort

from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.backends.tensorrt.specialized_graphs import convert, SpecializedGraphs
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS
from uhr_seg_ros.onnx_graphs.folding import fix_shapes
from uhr_seg_ros.onnx_graphs.gpu_rewrites import rewrite_for_gpu
from uhr_seg_ros.onnx_graphs.graph_view import GraphView
from uhr_seg_ros.onnx_graphs.traffic import kernels_of

HIDDEN, CLASSES, ROWS, COLUMNS = 8, 5, 6, 10
MEETING = {
    'tokens': (1, 9 * HIDDEN, ROWS, COLUMNS),
    'affinity': (1, ROWS, COLUMNS, 144),
    'local': (1, HIDDEN, 4 * ROWS, 4 * COLUMNS),
}


@pytest.fixture(scope='module')
def published_quarter(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """Export the fusion of a decoder that begins with a 3x3 kernel, as the published ones do."""
    torch = pytest.importorskip('torch', reason='networks are PyTorch')
    from uhr_seg_ros.export.exporter import write_graph
    from uhr_seg_ros.export.two_branch import QuarterGraph
    from uhr_seg_ros.networks.hlrc.assignment import Decoder

    torch.manual_seed(0)
    network = SimpleNamespace(decoder=Decoder(4, 4, HIDDEN, CLASSES).eval(), classes=CLASSES)
    kind, path = BUNDLE_KINDS['two_branch'], tmp_path_factory.mktemp('quarter') / 'quarter.onnx'
    examples = {name: torch.rand(shape) for name, shape in MEETING.items()}
    with torch.no_grad():
        outputs = kind.graphs['quarter'].outputs
        write_graph(QuarterGraph(network), examples, outputs, kind.dynamic_axes, path)
    return fix_shapes(path.read_bytes(), MEETING, path)


@pytest.fixture(scope='module')
def shipped() -> dict[str, onnx.ModelProto]:
    """Return graphs of the shipped model at 384x256."""
    graphs = load_bundle('hlrc_s_aerial').graphs
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        'detail': {'image': (1, 3, 256, 384)},
        'quarter': {
            'tokens': (1, 32, 16, 24),
            'affinity': (1, 16, 24, 144),
            'local': (1, 32, 64, 96),
        },
    }
    return {name: fix_shapes(graphs[name].read(), shapes[name], name) for name in shapes}


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.SerializeToString())


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def feeds_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(7)
    types = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
    return {
        tensor.name: generator.standard_normal(
            [each.dim_value for each in tensor.type.tensor_type.shape.dim]
        ).astype(types[tensor.type.tensor_type.elem_type])
        for tensor in model.graph.input
    }


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, feeds_of(model))


def moved(model: onnx.ModelProto) -> int:
    return sum(kernel.bytes for kernel in kernels_of(GraphView(model)))


def assert_same(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    for expected, found in zip(run(before), run(after), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6 * scale)


def test_nine_shifted_slices_become_one_convolution(published_quarter: onnx.ModelProto) -> None:
    rewritten = rewrite_for_gpu(copied(published_quarter), half=False)
    assert operators(published_quarter).count('Slice') == 39
    # Left are those that stack the neighbors of every cell, before they are multiplied.
    assert operators(rewritten).count('Slice') == 12
    assert operators(rewritten).count('Pad') == 1
    assert operators(rewritten).count('Add') == 1
    assert_same(published_quarter, rewritten)
    for expected, found in zip(run(published_quarter), run(rewritten), strict=True):
        np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


def test_engines_of_the_published_fusion_move_half(published_quarter: onnx.ModelProto) -> None:
    plain, rewritten = (
        convert(copied(published_quarter), 'fp16', rewrites=rewrites) for rewrites in (False, True)
    )
    assert moved(rewritten) < 0.6 * moved(plain)
    for expected, found in zip(run(plain), run(rewritten), strict=True):
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, expected, atol=4e-3 * np.abs(expected).max())


def test_products_over_pairs(published_quarter: onnx.ModelProto) -> None:
    rewritten = rewrite_for_gpu(copied(published_quarter), half=True)
    view = GraphView(rewritten)
    (product,) = (node for node in view.nodes if node.op_type == 'MatMul')
    assert [view.shape(name)[-2:] for name in product.input] == [(16, 10), (10, 9 * HIDDEN)]
    assert_same(published_quarter, rewritten)


@pytest.mark.parametrize('name', ['detail', 'quarter'])
@pytest.mark.parametrize('half', [False, True])
def test_shipped_graphs(shipped: dict[str, onnx.ModelProto], name: str, half: bool) -> None:
    rewritten = rewrite_for_gpu(copied(shipped[name]), half=half)
    assert_same(shipped[name], rewritten)
    precision = 'fp16' if half else 'fp32'
    plain, ready = (
        convert(copied(shipped[name]), precision, rewrites=rewrites) for rewrites in (False, True)
    )
    assert moved(ready) < moved(plain) or (name == 'quarter' and not half)


def test_engines_get_no_identity_resize_and_no_pooled_mean(tmp_path: Path) -> None:
    graph = load_bundle('hlrc_s_aerial').graphs['detail']
    graphs = SpecializedGraphs('some', 'fp16', EngineCache(tmp_path))
    view = GraphView(graphs.load(graph, {'image': (1, 3, 128, 192)}, plain_norms=False))
    resizes = [node for node in view.nodes if node.op_type == 'Resize']
    assert resizes
    assert all(view.shape(node.input[0]) != view.shape(node.output[0]) for node in resizes)
    assert 'AveragePool' not in {node.op_type for node in view.nodes}
    assert 'ReduceMean' not in {node.op_type for node in view.nodes}


def test_the_file_of_a_bundle_is_not_rewritten() -> None:
    graph = load_bundle('hlrc_s_aerial').graphs['detail']
    content = graph.read()
    rewrite_for_gpu(fix_shapes(content, {'image': (1, 3, 64, 64)}, 'detail'), half=True)
    assert graph.read() == content
    assert 'AveragePool' in operators(onnx.load_model_from_string(content))


def make_graph(
    nodes: list[onnx.NodeProto], output: tuple[int, ...], **constants: np.ndarray
) -> onnx.ModelProto:
    """Make a graph x (1, 6, 8, 9) -> y."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (('x', (1, 6, 8, 9)), ('y', output))
    ]
    arrays = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, 'small', ends[:1], ends[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def sum_of_slices(
    mode: str, filling: float, starts: list[tuple[int, int, int]], rows: int = 8
) -> onnx.ModelProto:
    """Add slices (1, 2, rows, 9) of a padded map, which begin at these channels and places."""
    node, constants = helper.make_node, {'pads': np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    constants['filling'] = np.array(filling, np.float32)
    constants['axes'] = np.array([1, 2, 3])
    inputs = ['x', 'pads', 'filling'] if mode == 'constant' else ['x', 'pads']
    nodes, total = [node('Pad', inputs, ['padded'], mode=mode)], ''
    for index, (channel, row, column) in enumerate(starts):
        begin = np.array([channel, row, column])
        constants[f'from{index}'], constants[f'to{index}'] = begin, begin + [2, rows, 9]
        inputs = ['padded', f'from{index}', f'to{index}', 'axes']
        nodes.append(node('Slice', inputs, [f'slice{index}']))
        if total:
            nodes.append(node('Add', [total, f'slice{index}'], [f'sum{index}']))
        total = f'sum{index}' if total else f'slice{index}'
    nodes.append(node('Relu', [total], ['y']))
    used = {name for each in nodes for name in each.input}
    constants = {name: values for name, values in constants.items() if name in used}
    return make_graph(nodes, (1, 2, rows, 9), **constants)


#: Of a whole 3x3 kernel, of a part of one, and with a slice that counts twice.
KERNELS = [
    [(0, 0, 0), (2, 1, 1), (4, 2, 2)],
    [(0, 1, 0), (4, 2, 0), (1, 1, 1), (2, 2, 1)],
    [(0, 1, 1), (3, 1, 1), (0, 1, 1)],
]


@pytest.mark.parametrize('starts', KERNELS)
def test_sums_of_slices(starts: list[tuple[int, int, int]]) -> None:
    model = sum_of_slices('constant', 0.0, starts)
    rewritten = rewrite_for_gpu(copied(model), half=False)
    assert operators(rewritten) == ['Conv', 'Relu']
    assert_same(model, rewritten)


@pytest.mark.parametrize(
    ('mode', 'filling', 'count', 'rows'),
    [
        ('constant', 1.0, 3, 8),
        ('reflect', 0.0, 3, 8),
        ('edge', 0.0, 3, 8),
        ('constant', 0.0, 2, 8),
        ('constant', 0.0, 3, 5),
    ],
    ids=['ones', 'reflect', 'edge', 'few slices', 'part of the map'],
)
def test_other_sums_stay(mode: str, filling: float, count: int, rows: int) -> None:
    model = sum_of_slices(mode, filling, KERNELS[0][:count], rows)
    rewritten = rewrite_for_gpu(copied(model), half=False)
    assert operators(rewritten) == operators(model)
    assert_same(model, rewritten)


def test_a_sum_that_something_else_reads_stays() -> None:
    model = sum_of_slices('constant', 0.0, KERNELS[0])
    model.graph.output.append(
        helper.make_tensor_value_info('sum1', TensorProto.FLOAT, (1, 2, 8, 9))
    )
    rewritten = rewrite_for_gpu(copied(model), half=False)
    assert_same(model, rewritten)


def pooled(**changes: object) -> onnx.ModelProto:
    details = {'kernel_shape': [2, 3], 'strides': [2, 3]} | changes
    nodes = [
        helper.make_node('AveragePool', ['x'], ['p'], **details),
        helper.make_node('ReduceMean', ['p'], ['y'], axes=[1], keepdims=1),
    ]
    return onnx.shape_inference.infer_shapes(make_graph(nodes, (1, 1, 4, 3)))


def test_pooled_mean() -> None:
    model = pooled()
    rewritten = rewrite_for_gpu(copied(model), half=False)
    assert operators(rewritten) == ['Conv']
    assert_same(model, rewritten)


def identity(kind: str) -> onnx.ModelProto:
    node, shape = helper.make_node, np.array([1, 6, 8, 9])
    made: dict[str, Callable[[], tuple[onnx.NodeProto, dict[str, np.ndarray]]]] = {
        'Resize': lambda: (
            node('Resize', ['x', '', '', 'sizes'], ['m'], mode='linear'),
            {'sizes': shape},
        ),
        'Pad': lambda: (node('Pad', ['x', 'pads'], ['m']), {'pads': 0 * np.tile(shape, 2)}),
        'Concat': lambda: (node('Concat', ['x'], ['m'], axis=1), {}),
        'Slice': lambda: (
            node('Slice', ['x', 'from', 'to'], ['m']),
            {'from': 0 * shape, 'to': shape},
        ),
        'Transpose': lambda: (node('Transpose', ['x'], ['m'], perm=[0, 1, 2, 3]), {}),
    }
    first, constants = made[kind]()
    return make_graph([first, node('Relu', ['m'], ['y'])], (1, 6, 8, 9), **constants)


@pytest.mark.parametrize('kind', ['Resize', 'Pad', 'Concat', 'Slice', 'Transpose'])
def test_identities_go(kind: str) -> None:
    model = identity(kind)
    rewritten = rewrite_for_gpu(copied(model), half=False)
    assert operators(rewritten) == ['Relu']
    assert_same(model, rewritten)


def test_a_mirror_is_no_identity() -> None:
    node = helper.make_node
    nodes = [
        node('Slice', ['x', 'from', 'to', 'axes', 'steps'], ['m']),
        node('Relu', ['m'], ['y']),
    ]
    constants = {'from': [-1], 'to': [-100], 'axes': [3], 'steps': [-1]}
    arrays = {name: np.array(values) for name, values in constants.items()}
    model = make_graph(nodes, (1, 6, 8, 9), **arrays)
    rewritten = rewrite_for_gpu(copied(model), half=False)
    assert operators(rewritten) == ['Slice', 'Relu']
    assert_same(model, rewritten)
