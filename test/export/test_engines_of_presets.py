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

import hashlib
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='networks are PyTorch')

from deformed_bundles import deformed_bundle
from networks_of_others import need_package
import onnx
from real_networks import layers_of_type, real_network, real_rtx
import torch

from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
from uhr_seg_ros.backends.tensorrt.weak_typing import float32_layers
from uhr_seg_ros.core.bundle import Graph
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS
from uhr_seg_ros.export.export import write_graphs
from uhr_seg_ros.networks.presets import build_network, NETWORKS

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


#: Made of bytes, which no TensorRT has inside a graph: the GPU path has `quarter` in their place.
BYTES = ('fusion', 'scores')
SIZES = {
    'low_height': HEIGHT // 4,
    'low_width': WIDTH // 4,
    'height': HEIGHT,
    'width': WIDTH,
    'rows': HEIGHT // 16,
    'columns': WIDTH // 16,
    'quarter_height': HEIGHT // 4,
    'quarter_width': WIDTH // 4,
    'patches': 2,
    'mediums': 2,
    'larges': 2,
}


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the input shapes of a graph for one frame size."""
    return {
        each.name: tuple(
            SIZES.get(dimension.dim_param) or dimension.dim_value
            for dimension in each.type.tensor_type.shape.dim
        )
        for each in onnx.load(path, load_external_data=False).graph.input
    }


def build_all(folder: Path, kind: str, precision: str) -> int:
    """Build all graphs of a kind that the GPU path opens; returns how many there are."""
    real = real_rtx()
    written = {path.stem for path in folder.glob('*.onnx')}
    found = BUNDLE_KINDS[kind]
    assert written >= set(found.graphs) - {*found.optional, *found.contexts}
    names = [name for name in found.graphs if name in written and name not in BYTES]
    for name in names:
        path = folder / f'{name}.onnx'
        shapes = shapes_of(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        graph = Graph(name, path, digest, tuple(shapes), ())
        graphs = SpecializedGraphs(kind, precision, EngineCache(folder / 'cache'))
        plain = graphs.load(graph, shapes, plain_norms=True)
        if kind == 'two_branch':
            assert {node.op_type for node in plain.graph.node} <= OPERATORS_OF_8_5
        if precision != 'fp32':
            network, *_alive = real_network(plain)
            held = {layer.name for layer in float32_layers(network, graphs.float32_tensors(plain))}
            assert held == layers_of_type(network, 'FLOAT'), name
        content = graphs.load(graph, shapes, plain_norms=False).SerializeToString()
        options = {'capability': (8, 9), 'precision': precision, 'workspace_mb': 1024}
        assert len(build_plan(real, content, shapes, **options).plan) > 10_000
    return len(names)


@pytest.fixture(scope='module', params=list(NETWORKS))
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """Export a preset with random weights; returns the folder and the kind of its bundles."""
    need_package(request.param)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    network = build_network(request.param).eval()
    with torch.no_grad():
        write_graphs(network, path)
    return path, network.kind


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.timeout(3600)
def test_presets(exported: tuple[Path, str]) -> None:
    """Slow: minutes and up to 5 GB each; `test_precision.py` always builds the shipped bundle."""
    assert build_all(*exported, 'fp16') >= 1


def test_learned_downsampling(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The smallest one, which other tests run as well."""
    bundle = deformed_bundle(tmp_path_factory, 'deformed')
    assert build_all(bundle.path, 'deformed', 'fp32') == 2
