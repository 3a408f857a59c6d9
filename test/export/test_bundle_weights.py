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

"""Weights in bundles: what a training starts from is what was exported."""

from __future__ import annotations

from pathlib import Path
import shutil

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='the networks need torch')

from logged import logged
from networks_of_others import need_package

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.export.bundle_weights import read_weights, WEIGHTS_FILE
from uhr_seg_ros.export.bundle_writing import add_precision
from uhr_seg_ros.export.description import Description, KEY
from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.export.pretrained import load_pretrained
from uhr_seg_ros.export.released import blank_network
from uhr_seg_ros.networks.backbones.base import classifier_layers, SegmentationNetwork
from uhr_seg_ros.networks.presets import build_network, NETWORKS, options_of
from uhr_seg_ros.pipelines.segmenter import Segmenter

OURS = ClassSet(('a', 'b', 'c'), ((0, 0, 0),) * 3)
SHIPPED = Path(__file__).resolve().parents[2] / 'models/hlrc_s_aerial'


@pytest.fixture(scope='module')
def network() -> SegmentationNetwork:
    """Semantics alone: convolutions with and without batch norm; norms away from ones."""
    torch.manual_seed(0)
    network = build_network('semantic_s', 3)
    for name, value in network.state_dict().items():
        if 'norm' in name and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope='module')
def bundle(network: SegmentationNetwork, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp('bundle')
    return export_bundle(network, folder, name='s', preset='semantic_s', classes=OURS)


def test_weights_come_back_and_are_not_stored_twice(
    network: SegmentationNetwork, bundle: Bundle
) -> None:
    found = read_weights(bundle)
    own = network.state_dict()
    assert found.tensors.keys() == own.keys()
    for name, value in own.items():
        assert torch.allclose(found.tensors[name], value, rtol=1e-6, atol=0), name
    assert found.description.means(Description('semantic_s', options_of('semantic_s', {}), OURS))
    stored = (bundle.path / WEIGHTS_FILE).stat().st_size
    assert stored < 0.15 * sum(value.nbytes for value in own.values())


def test_a_start_from_a_bundle_resets_the_classifiers_only(
    network: SegmentationNetwork, bundle: Bundle
) -> None:
    other = ClassSet(('a', 'c', 'b'), ((0, 0, 0),) * 3)
    started = build_network('semantic_s', 3)
    before = {name: value.clone() for name, value in started.state_dict().items()}
    ours = Description('semantic_s', options_of('semantic_s', {}), other)
    with logged() as lines:
        load_pretrained(started, 'network', bundle.path, ours)
    for name, value in started.state_dict().items():
        source = before if name.startswith('body.branch.classify.') else network.state_dict()
        assert torch.allclose(source[name], value, rtol=1e-6, atol=0), name
    assert 'body.branch.classify; all others are loaded' in ''.join(lines)


def convert(*words: object) -> Bundle:
    *_, output = words
    assert main(['convert', *map(str, words[:-1]), '--output', str(output)]) == 0
    return load_bundle(output)


def test_a_bundle_is_exported_again_from_its_weights(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = convert(bundle.path, tmp_path / 'again')
    assert 'not taken over' not in capsys.readouterr().out
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    before, after = (Segmenter(each)(image, logits=True).logits for each in (bundle, again))
    assert np.allclose(before, after, atol=1e-5)


def test_what_is_made_after_an_export_is_named_where_it_is_lost(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundle.path, tmp_path / 'source')
    shutil.copy(bundle.graphs['network'].path, tmp_path / 'source/network_int8.onnx')
    add_precision(tmp_path / 'source', 'int8', {'network': 'network_int8.onnx'}, {})
    convert(tmp_path / 'source', tmp_path / 'again')
    assert 'weights do not hold it: int8 (uhr_seg quantize)\n' in capsys.readouterr().out


def test_the_mean_with_the_start_of_a_fine_tuning(
    network: SegmentationNetwork, bundle: Bundle, tmp_path: Path
) -> None:
    ours = Description('semantic_s', options_of('semantic_s', {}), OURS)
    tuned = {name: value * 2 for name, value in network.state_dict().items()}
    torch.save({'state_dict': tuned, KEY: ours.plain()}, tmp_path / 'tuned.pth')
    start = f'{bundle.path}=0.25'
    found = convert(tmp_path / 'tuned.pth', '--average', start, tmp_path / 'mean')
    for name, value in read_weights(found).tensors.items():
        factor = 1.75 if value.is_floating_point() else 2
        assert torch.allclose(value, network.state_dict()[name] * factor, rtol=1e-6, atol=0), name
    entry = found.provenance['averaged_with']
    assert entry == {'checkpoint': WEIGHTS_FILE, 'sha256': bundle.weights.sha256, 'share': 0.25}


@pytest.mark.parametrize(
    ('average', 'expected'),
    [
        ('hlrc_s_aerial=0.5', "network 'hlrc_s', expected 'semantic_s'"),
        ('hlrc_s_aerial=1', 'expected PATH=SHARE with a share between 0 and 1'),
        ('hlrc_s_aerial=nan', 'expected PATH=SHARE'),
        ('hlrc_s_aerial', 'expected PATH=SHARE'),
        ('nothing.pth=0.5', 'nothing.pth'),
    ],
)
def test_what_cannot_be_averaged(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    average: str,
    expected: str,
) -> None:
    words = 'convert', str(bundle.path), '--average', average, '--output', str(tmp_path / 'out')
    assert main(words) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_robot_may_leave_the_weights_out(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / 'copy'
    shutil.copytree(bundle.path, copy)
    (copy / WEIGHTS_FILE).unlink()
    with pytest.raises(CheckpointError, match=WEIGHTS_FILE):
        read_weights(load_bundle(copy))
    (copy / WEIGHTS_FILE).write_bytes(b'another file')
    with pytest.raises(CheckpointError, match='sha256'):
        read_weights(load_bundle(copy))
    lines = (copy / 'model.yaml').read_text(encoding='utf-8').splitlines()
    kept = [line for line in lines if not line.startswith('weights:')]
    assert len(kept) == len(lines) - 1
    (copy / 'model.yaml').write_text('\n'.join(kept), encoding='utf-8')
    with pytest.raises(CheckpointError, match='give the checkpoint of its training'):
        read_weights(load_bundle(copy))


def test_the_shipped_model_can_be_started_from() -> None:
    started = build_network('hlrc_s', 5)
    with logged() as lines:
        load_pretrained(started, 'network', 'hlrc_s_aerial')
    assert not lines
    files = [path.stat().st_size for path in SHIPPED.iterdir()]
    assert sum(files) <= 16e6


@pytest.mark.parametrize('name', [name for name in NETWORKS if not name.startswith('segformer')])
def test_every_network_names_its_classifiers(name: str) -> None:
    """They are what has another shape where there is one class more."""
    need_package(name)
    one, more = (blank_network(name, {}, count) for count in (5, 6))
    wider = more.state_dict()
    differ = {
        tensor.rpartition('.')[0]
        for tensor, value in one.state_dict().items()
        if value.shape != wider[tensor].shape
    }
    assert set(classifier_layers(one)) == differ
