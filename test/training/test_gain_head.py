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

"""The head that predicts where detail pays: it learns, and it gets into a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')

from tiny_bundle import make_tiny_bundle
from tiny_sets import scene, write_set

from uhr_seg_ros.backends.registry import open_engine
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS
from uhr_seg_ros.core.errors import BundleError, TrainingError
from uhr_seg_ros.export.bundle_writing import add_graph
from uhr_seg_ros.training.gain_head import Example, fit_gain, write_gain

KIND = BUNDLE_KINDS['two_branch']


def example(seed: int, size: tuple[int, int] = (24, 30)) -> Example:
    """Make a frame whose cells gain where two classes are alike, or by a token."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (1, 3, *size)).astype(np.float32)
    tokens = generator.normal(0, 1, (1, 4, *size)).astype(np.float32)
    low, high = np.sort(logits[0], 0)[1:]
    gain = 0.4 * (high - low < 1.0) + 0.4 * (tokens[0, 2] > 0.5)
    return Example(tokens, logits, gain.astype(np.float32))


def test_it_learns_and_is_exported(tmp_path: Path) -> None:
    losses: list[float] = []
    head = fit_gain([example(0), example(1)], seed=0, steps=150, note=losses.append)
    assert len(losses) == 150
    unseen = example(2, (17, 19))
    with torch.no_grad():
        expected = head(torch.from_numpy(unseen.tokens), torch.from_numpy(unseen.logits)).numpy()
    assert 0.0 <= expected.min() <= expected.max() <= 1.0
    assert np.corrcoef(expected.ravel(), unseen.gain.ravel())[0, 1] > 0.45

    bundle = make_tiny_bundle(tmp_path / 'tiny')
    path = tmp_path / 'gain.onnx'
    write_gain(head, KIND.dynamic_axes, path)
    graph = add_graph(bundle, 'detail_gain', path, {'seed': 0}).graphs['detail_gain']
    feeds = {'tokens': unseen.tokens, 'semantic_logits': unseen.logits}
    found = open_engine(graph).run(feeds, ['detail_gain'])['detail_gain']
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_same_seed_gives_the_same() -> None:
    first, second, other = (fit_gain([example(0)], seed, steps=3) for seed in (4, 4, 5))
    assert torch.equal(first.join.weight, second.join.weight)
    assert not torch.equal(first.join.weight, other.join.weight)


def test_nothing_to_gain() -> None:
    given = example(0)
    with pytest.raises(TrainingError, match='gains nothing anywhere in 1 images'):
        fit_gain([Example(given.tokens, given.logits, np.zeros_like(given.gain))], seed=0)


def test_a_graph_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / 'tiny')
    before = load_bundle(bundle).graphs
    head = fit_gain([example(0)], seed=0, steps=1)
    for seed in (0, 1):
        head.join.bias.data += seed
        write_gain(head, KIND.dynamic_axes, tmp_path / 'gain.onnx')
        found = add_graph(bundle, 'detail_gain', tmp_path / 'gain.onnx', {'seed': seed})
    assert found.provenance['detail_gain'] == {'seed': 1}
    assert found.provenance['weights'] == 'by hand'
    assert {name: found.graphs[name] for name in before} == before
    assert [path.name for path in bundle.glob('detail_gain*')] == [
        found.graphs['detail_gain'].path.name
    ]
    with pytest.raises(BundleError, match='takes no graph other, only: detail_gain'):
        add_graph(bundle, 'other', tmp_path / 'gain.onnx', {})


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, root = make_tiny_bundle(tmp_path / 'tiny'), write_set(tmp_path / 'set')
    command = ['budget', 'fit', '--bundle', str(bundle), '--frames', str(root / 'images')]
    assert main([*command, '--steps', '2']) == 0
    made = load_bundle(bundle).provenance['detail_gain']
    assert made['frames'] == 'images'
    assert made['images'] == 2

    figures, chart = tmp_path / 'curve.json', tmp_path / 'curve.svg'
    command = ['budget', 'curve', '--bundle', str(bundle), '--root', str(root)]
    command += ['--dataset', 'folder', '--split', 'all', '--json', str(figures)]
    assert main([*command, '--chart', str(chart)]) == 0
    rankings = json.loads(figures.read_text(encoding='utf-8'))['rankings']
    assert list(rankings) == ['random', 'margin', 'head', 'changes', 'mends']
    assert 'looks at the answer' in chart.read_text(encoding='utf-8')

    picture, figures = tmp_path / 'ground.png', tmp_path / 'flicker.json'
    cv2.imwrite(str(picture), scene(0)[1])
    command = ['budget', 'flicker', '--bundle', str(bundle), '--image', str(picture)]
    assert main([*command, '--size', '96x64', '--frames', '3', '--json', str(figures)]) == 0
    found = json.loads(figures.read_text(encoding='utf-8'))
    assert found['still']['budget']['detail_shares'][0] <= 1.0
    assert '% inside of areas' in capsys.readouterr().out

    command = ['budget', 'time', '--bundle', str(bundle), '--image', str(picture)]
    assert main([*command, '--size', '96x64', '--repeat', '2', '--json', str(figures)]) == 0
    times = json.loads(figures.read_text(encoding='utf-8'))['ms']
    assert list(times) == ['whole', '0.0', '0.1', '0.2', '0.3', '0.4', '0.5']
    assert {len(taken) for taken in times.values()} == {2}
