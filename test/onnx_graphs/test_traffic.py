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

"""Bytes and multiply-adds of graphs, counted by hand and by the real compiler."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('onnx', reason='graphs are read with onnx')

import onnx
from onnx import helper, numpy_helper, TensorProto

from uhr_seg_ros.benchmark.graph_traffic import engine_graphs, measure_traffic
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.onnx_graphs.graph_view import GraphView
from uhr_seg_ros.onnx_graphs.precision import to_half
from uhr_seg_ros.onnx_graphs.qdq import insert_qdq
from uhr_seg_ros.onnx_graphs.traffic import Device, Kernel, kernels_of, paper_ms

#: Bytes of a map (1, 64, 8, 8) in half precision, and of the weights of a 3x3 convolution.
MAP, WEIGHTS = 2 * 64 * 64, 2 * 64 * 64 * 9


def small_graph() -> onnx.ModelProto:
    """Make a convolution with ReLU and skip connection, a transpose and a scaled copy of it."""
    node = helper.make_node
    weights = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    arrays = {'w': weights, 's': np.float32(2), 'shape': np.array([1, 64, 64])}
    nodes = [
        node('Conv', ['x', 'w'], ['c'], pads=[1] * 4),
        node('Relu', ['c'], ['r']),
        node('Add', ['r', 'x'], ['a']),
        node('Reshape', ['a', 'shape'], ['v']),
        node('Transpose', ['v'], ['t'], perm=[0, 2, 1]),
        node('Mul', ['t', 's'], ['y']),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (('x', (1, 64, 8, 8)), ('y', (1, 64, 64)))
    ]
    constants = [numpy_helper.from_array(np.asarray(each), name) for name, each in arrays.items()]
    graph = helper.make_graph(nodes, 'small', ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def test_what_acts_value_by_value_joins_the_kernel_before_it() -> None:
    first, second = kernels_of(GraphView(to_half(small_graph())))
    assert (first.operator, first.read, first.written) == ('Conv', MAP + WEIGHTS, MAP)
    assert (first.macs, first.precision) == (64 * 64 * 64 * 9, 'fp16')
    assert len(first.nodes) == 3
    # The scale has two bytes; the reshape in between costs nothing.
    assert (second.operator, second.read, second.written) == ('Transpose', MAP + 2, MAP)
    assert (second.macs, len(second.nodes)) == (0, 2)


def test_a_map_that_two_kernels_read_is_read_twice_and_written_once() -> None:
    model = small_graph()
    model.graph.node.append(helper.make_node('Transpose', ['v'], ['z'], perm=[0, 2, 1]))
    model.graph.output.append(helper.make_tensor_value_info('z', TensorProto.FLOAT, (1, 64, 64)))
    kernels = kernels_of(GraphView(model))
    assert [kernel.written for kernel in kernels] == [2 * MAP] * 3
    assert kernels[2].read == 2 * MAP
    assert kernels[0].precision == 'fp32'


def test_a_slice_reads_what_it_gives() -> None:
    node = helper.make_node
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, length))
        for name, length in (('x', 100), ('y', 10))
    ]
    arrays = {'from': [20], 'to': [30], 'axes': [1]}
    constants = [numpy_helper.from_array(np.array(each), name) for name, each in arrays.items()]
    nodes = [node('Slice', ['x', 'from', 'to', 'axes'], ['y'])]
    graph = helper.make_graph(nodes, 'slice', ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    (kernel,) = kernels_of(GraphView(model))
    assert (kernel.read, kernel.written) == (40 + 3 * 8, 40)


def test_int8_with_float32_around_it_moves_more_than_half() -> None:
    """What is read is cast and quantized, and what comes back is float32 before it is cast."""
    model = small_graph()
    quantized = to_half(insert_qdq(model, [0], {'x': 1.0}))
    kernels = kernels_of(GraphView(quantized))
    products = [kernel for kernel in kernels if kernel.operator == 'Conv']
    assert [kernel.precision for kernel in products] == ['int8']
    # Quantized input, one byte a weight, scales of float32; the result in float32.
    assert products[0].written == 2 * MAP
    halves = kernels_of(GraphView(to_half(model)))
    activations = [
        sum(kernel.bytes for kernel in each) - weights
        for each, weights in ((kernels, WEIGHTS // 2), (halves, WEIGHTS))
    ]
    assert activations[0] > activations[1]


def test_paper_time_is_bound_by_memory_or_by_multiply_adds() -> None:
    device = Device('some', 1e9, {'fp16': 1e12})
    light = Kernel('Relu', ('a',), 3_000_000, 1_000_000, 0, 'fp16')
    heavy = Kernel('Conv', ('b',), 3_000_000, 1_000_000, 10_000_000_000, 'fp16')
    assert paper_ms([light], device, 1.0) == pytest.approx(4.0)
    assert paper_ms([light, heavy], device, 0.5) == pytest.approx(2 * (4.0 + 10.0))


def test_report_of_the_shipped_model() -> None:
    bundle = load_bundle('hlrc_s_aerial')
    report = measure_traffic(bundle, (250, 380), 'fp16')
    assert report['size'] == [250, 380]
    assert list(report['graphs']) == ['semantic', 'detail', 'quarter']
    for graph in report['graphs'].values():
        for key in ('kernels', 'read_mb', 'written_mb', 'gmac'):
            parts = [operator[key] for operator in graph['operators'].values()]
            assert graph[key] == pytest.approx(sum(parts), abs=0.05 * len(parts))
        assert 0 < graph['paper_ms']['h200'][0] < graph['paper_ms']['agx_orin'][1]


def test_half_scales_make_int8_move_less() -> None:
    bundle = load_bundle('hlrc_s_aerial')
    before, after = (
        kernels_of(GraphView(model))
        for rewrites in (False, True)
        for name, model in [next(engine_graphs(bundle, (64, 96), 'int8', rewrites=rewrites))]
    )
    assert 'Cast' in {kernel.operator for kernel in before}
    assert 'Cast' not in {kernel.operator for kernel in after}
    # Not what is read: weights are most of that for so small a frame.
    written = [sum(kernel.written for kernel in kernels) for kernels in (before, after)]
    assert written[1] < 0.8 * written[0]


@pytest.mark.slow  # it compiles three graphs; sums made by hand are compared always
def test_close_to_what_a_real_compiler_makes(tmp_path: Path) -> None:
    """TensorRT for RTX describes its kernels without a GPU; in a process with its own logger."""
    pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
    report, root = tmp_path / 'traffic.json', Path(__file__).parents[2]
    size = ['--size', '384x256', '--json', str(report)]
    command = [sys.executable, '-m', 'tools.engine_traffic', 'hlrc_s_aerial', *size]
    subprocess.run(command, check=True, cwd=root, stdout=subprocess.PIPE)
    compiled = json.loads(report.read_text())['graphs']
    graphs = measure_traffic(load_bundle('hlrc_s_aerial'), (256, 384), 'fp16')['graphs']
    assert list(compiled) == list(graphs)
    modeled = {
        name: sum(each['read_mb'] + each['written_mb'] for each in graph['operators'].values())
        for name, graph in graphs.items()
    }
    for name in ('detail', 'quarter'):
        assert modeled[name] == pytest.approx(compiled[name]['mb'], rel=0.2)
