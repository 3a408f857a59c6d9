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

"""The graphs of every preset as TensorRT engines, built for real by TensorRT for RTX."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('torch', reason='networks are PyTorch')

import onnx
import torch

from uhr_seg_ros.backends.tensorrt.api import describe
from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.export.export import write_graphs
from uhr_seg_ros.networks.presets import build_network, NETWORKS
from uhr_seg_ros.onnx_graphs.folding import fix_shapes, split_layer_norms
from uhr_seg_ros.onnx_graphs.precision import to_half

HEIGHT, WIDTH = 192, 320

#: Of what the presets use, the operators that the parser of TensorRT 8.5 has.
OPERATORS_OF_8_5 = {
    'Add',
    'AveragePool',
    'BatchNormalization',
    'Cast',
    'Concat',
    'Conv',
    'DepthToSpace',
    'Div',
    'Equal',
    'Erf',
    'Gemm',
    'Greater',
    'HardSigmoid',
    'MatMul',
    'Mul',
    'Pad',
    'ReduceMean',
    'ReduceSum',
    'Relu',
    'Reshape',
    'Resize',
    'Slice',
    'Softmax',
    'Split',
    'Sqrt',
    'Squeeze',
    'Sub',
    'TopK',
    'Transpose',
    'Unsqueeze',
    'Where',
}


#: Networks of one branch have no strategy for TensorRT.
TWO_BRANCH = sorted(name for name in NETWORKS if name.startswith('hlrc'))


#: The published networks, which are twenty times as large, are built with `--all`.
SLOW = ('hlrc_cityscapes', 'hlrc_inria', 'hlrc_deepglobe')
PARAMS = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in TWO_BRANCH
]


@pytest.fixture(scope='module', params=PARAMS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a preset with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    with torch.no_grad():
        write_graphs(build_network(request.param).eval(), path)
    return path


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the input shapes of a graph for one frame size."""
    sizes = {
        'low_height': HEIGHT // 4,
        'low_width': WIDTH // 4,
        'height': HEIGHT,
        'width': WIDTH,
        'rows': HEIGHT // 16,
        'columns': WIDTH // 16,
        'quarter_height': HEIGHT // 4,
        'quarter_width': WIDTH // 4,
    }
    return {
        each.name: tuple(
            sizes.get(dimension.dim_param) or dimension.dim_value
            for dimension in each.type.tensor_type.shape.dim
        )
        for each in onnx.load(path, load_external_data=False).graph.input
    }


@pytest.mark.parametrize('name', ['semantic', 'detail', 'quarter'])
def test_preset_builds_in_half(folder: Path, name: str) -> None:
    real = describe(pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed'))
    path = folder / f'{name}.onnx'
    shapes = shapes_of(path)
    fixed = fix_shapes(path.read_bytes(), shapes, path)
    plain = split_layer_norms(fixed)
    assert {node.op_type for node in plain.graph.node} <= OPERATORS_OF_8_5
    model = to_half(fixed)
    content = model.SerializeToString()
    assert build_plan(
        real, content, shapes, capability=(8, 9), precision='fp16', workspace_mb=1024
    ).plan
