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

"""Engines: open, run, and say clearly what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import hashlib
import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import onnx
import pytest

from uhr_seg_ros.backends.registry import open_engine
from uhr_seg_ros.core.bundle import Graph, load_bundle
from uhr_seg_ros.core.errors import BundleError, EngineError


@pytest.fixture
def graph(tiny_bundle: Path) -> Graph:
    """Return the detail graph of the tiny bundle."""
    return load_bundle(tiny_bundle).graphs['detail']


def test_shapes_and_provenance(graph: Graph) -> None:
    engine = open_engine(graph)
    assert engine.name == 'onnxruntime'
    assert engine.input_shapes == {'image': (1, 3, None, None)}
    assert engine.output_shapes['local'] == (1, 3, None, None)
    assert set(engine.provenance()) == {'backend', 'version', 'device', 'precision'}
    assert engine.provenance()['precision'] == 'fp32'
    engine.close()


def test_nothing_is_left_or_reported(tiny_bundle: Path, tmp_path: Path) -> None:
    """Its telemetry client would leave a session file as soon as ONNX Runtime is imported."""
    script = (
        'import sys\nfrom uhr_seg_ros.core.bundle import load_bundle\n'
        'from uhr_seg_ros.backends.registry import open_engine\n'
        "open_engine(load_bundle(sys.argv[1]).graphs['detail']).close()\n"
    )
    environment = {**os.environ, 'TMPDIR': str(tmp_path)}
    environment.pop('ORT_DISABLE_TELEMETRY', None)
    command = [sys.executable, '-c', script, str(tiny_bundle)]
    subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], check=True)
    assert os.listdir(tmp_path) == []


def test_engines_share_memory_and_give_it_back() -> None:
    """What one graph has left serves the next one; when all are closed it is the system's."""
    script = (
        'import sys\nfrom pathlib import Path\nimport numpy as np\n'
        'from uhr_seg_ros.core.bundle import load_bundle\n'
        'from uhr_seg_ros.core.memory import trim_heap\n'
        'from uhr_seg_ros.backends.registry import open_engine\n'
        'def resident():\n'
        '    trim_heap()\n'
        "    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096\n"
        "graph = load_bundle(sys.argv[1]).graphs['detail']\n"
        'image = np.ones((1, 3, 1024, 1536), np.float32)\n'
        'engines, taken = [open_engine(graph, threads=1) for _ in range(3)], [resident()]\n'
        'for engine in engines:\n'
        "    engine.run({'image': image}, ['affinity'])\n"
        '    taken.append(resident())\n'
        'for engine in engines:\n'
        '    engine.close()\n'
        'print(*taken, resident())\n'
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, '-c', script, str(root / 'models' / 'hlrc_s_aerial')]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    opened, first, *_, last, closed = map(int, done.stdout.split())
    assert first - opened > 20e6
    assert last - first < (first - opened) / 2
    assert closed - opened < (first - opened) / 2


def test_gives_the_requested_outputs_only(graph: Graph) -> None:
    engine = open_engine(graph, threads=1)
    image = np.zeros((1, 3, 32, 48), np.float32)
    results = engine.run({'image': image}, ['local'])
    assert list(results) == ['local']
    assert results['local'].shape == (1, 3, 8, 12)
    assert set(engine.run({'image': image}, ['affinity', 'local'])) == {'affinity', 'local'}


def test_input_may_be_a_slice_of_a_larger_array(graph: Graph) -> None:
    engine = open_engine(graph)
    whole = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    sliced = engine.run({'image': whole[:, :, 16:48]}, ['local'])['local']
    assert (sliced == engine.run({'image': whole}, ['local'])['local'][:, :, 4:12]).all()


@pytest.mark.parametrize('content', [b'', b'no graph at all', b'\x00\x00\x00\x00ORTM', None])
def test_corrupt_graph(graph: Graph, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / 'detail.onnx'
    path.write_bytes(graph.path.read_bytes()[:200] if content is None else content)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(BundleError, match=r'detail\.onnx is no ONNX graph \(') as caught:
        open_engine(replace(graph, path=path, sha256=sha256))
    assert '\n' not in str(caught.value)


def test_a_file_that_was_replaced_after_loading(graph: Graph, tmp_path: Path) -> None:
    copy = replace(graph, path=tmp_path / 'detail.onnx')
    other = graph.path.with_name('semantic.onnx').read_bytes()
    copy.path.write_bytes(other)
    with pytest.raises(BundleError, match=r'detail\.onnx has sha256 .*, model\.yaml expects'):
        open_engine(copy)
    copy.path.unlink()
    copy.path.symlink_to(graph.path)  # as a workspace is installed by links
    open_engine(copy).close()


def edited(graph: Graph, tmp_path: Path, edit: Callable[[onnx.ModelProto], object]) -> Graph:
    """Return a graph with another file."""
    model = onnx.load(graph.path)
    edit(model)
    onnx.save(model, tmp_path / 'edited.onnx')
    return graph.with_file(tmp_path / 'edited.onnx')


def test_an_operator_that_nobody_knows(graph: Graph, tmp_path: Path) -> None:
    foreign = onnx.helper.make_node('Imagined', ['image'], ['x'], domain='nowhere')
    strange = edited(graph, tmp_path, lambda model: model.graph.node.append(foreign))
    with pytest.raises(EngineError, match=r'cannot open graph .*edited\.onnx: ') as caught:
        open_engine(strange)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 2000


def to_double(model: onnx.ModelProto) -> None:
    """Return `local` as float64."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ['single' if name == 'local' else name for name in names]
    double = onnx.TensorProto.DOUBLE
    model.graph.node.append(onnx.helper.make_node('Cast', ['single'], ['local'], to=double))
    model.graph.output[1].type.tensor_type.elem_type = double


def to_gray(model: onnx.ModelProto) -> None:
    """Take pictures of one channel."""
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    tripled = onnx.helper.make_node('Concat', ['image'] * 3, ['triple'], axis=1)
    for node in model.graph.node:
        node.input[:] = ['triple' if name == 'image' else name for name in node.input]
    model.graph.node.insert(0, tripled)


def with_one_more_input(model: onnx.ModelProto) -> None:
    """Add an input that no pipeline gives."""
    model.graph.input.append(onnx.helper.make_tensor_value_info('time', 1, [1]))
    model.graph.node.append(onnx.helper.make_node('Identity', ['time'], ['later']))


@pytest.mark.parametrize(
    ('edit', 'text'),
    [
        (to_double, r'edited\.onnx: local is tensor\(double\) of .*, expected tensor\(float\)'),
        (to_gray, r'image is .*\(1, 1, None, None\), expected .* 4 dimensions, the second one 3'),
        (with_one_more_input, r'edited\.onnx needs time, which nobody gives'),
    ],
)
def test_tensors_of_another_form(
    graph: Graph, tmp_path: Path, edit: Callable[[onnx.ModelProto], object], text: str
) -> None:
    with pytest.raises(EngineError, match=text):
        open_engine(edited(graph, tmp_path, edit))


def test_graph_without_a_promised_tensor(graph: Graph) -> None:
    with pytest.raises(EngineError, match='has no output depth, only affinity, local'):
        open_engine(replace(graph, outputs=('local', 'depth')))
    with pytest.raises(EngineError, match='has no input photo, only image'):
        open_engine(replace(graph, inputs=('photo',)))


def test_input_that_does_not_fit(graph: Graph) -> None:
    engine = open_engine(graph)
    with pytest.raises(EngineError, match=r'failed on image \(1, 4, 32, 32\)'):
        engine.run({'image': np.zeros((1, 4, 32, 32), np.float32)}, ['local'])
