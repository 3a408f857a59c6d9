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

"""`uhr_seg quantize` on a small bundle with real convolutions."""

from __future__ import annotations

from pathlib import Path
import shutil

import cv2
import pytest

pytest.importorskip('onnx', reason='graphs are quantized with onnx')
pytest.importorskip('tqdm', reason='progress is shown by tqdm')

from tiny_bundle import edited_model
from wide_bundle import make_wide_bundle

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.resources import has_exact_int8
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.quantization.int8_trial import Trial
from uhr_seg_ros.synthetic.scenes import generate_scene

DOMAIN = Domain(('oblique',), (0.02, 0.1), 'hills', season='winter', never_shown=('sea',))


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a bundle and a folder of frames, for all tests."""
    folder = tmp_path_factory.mktemp('made')
    make_wide_bundle(folder / 'wide')
    with edited_model(folder / 'wide') as content:
        content['domain'] = DOMAIN.plain()
    (folder / 'frames').mkdir()
    for seed in range(3):
        cv2.imwrite(str(folder / f'frames/{seed}.png'), generate_scene(seed, 200, 300)[0])
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Return copies that a test may change."""
    return Path(shutil.copytree(made, tmp_path / 'made'))


@pytest.fixture(autouse=True)
def estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as a CPU whose clock is not asked: what is chosen does not depend on the machine."""
    monkeypatch.setattr('uhr_seg_ros.cli.quantize.has_exact_int8', lambda: False)


def quantize(folder: Path, *more: object) -> int:
    paths = ['--bundle', folder / 'wide', '--frames', folder / 'frames']
    options = ['--crop', 96, '--agreement', 0.9, *more]
    return main(['quantize', *map(str, paths), *map(str, options)])


def test_makes_int8_in_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load_bundle(folder / 'wide')
    assert quantize(folder) == 0
    said = capsys.readouterr()
    assert 'the most sensitive of 10 layers' in said.out
    assert '10 layers in int8, 0 kept in fp32: same class as fp32 on' in said.out
    assert 'of tiles that nothing was chosen by; times faster here: semantic' in said.out
    assert 'measuring each layer: 100%' in said.err
    bundle = load_bundle(folder / 'wide')
    assert bundle.graphs == before.graphs
    assert bundle.domain == before.domain == DOMAIN
    assert bundle.cpu_precision == 'fp32'
    # A pixel costs what it costs in the precision that takes more.
    assert (before.detail_bytes_per_pixel, bundle.detail_bytes_per_pixel) == (40.0, 60.0)
    facts = bundle.precisions['int8'].provenance
    assert (facts['frames'], facts['tiles'], facts['tile']) == ('frames', [9, 5, 4], 96)
    assert 0.9 < facts['agreement'] < 1.0
    assert 0.0 < facts['logit_error'] < 0.1
    assert 'detail/first_conv' in facts['int8']
    assert facts['kept_fp32'] == []
    files = sorted(file.name for file in (folder / 'wide').iterdir())
    assert [name for name in files if 'int8' in name] == ['detail_int8.onnx', 'semantic_int8.onnx']
    with Segmenter(bundle, 'onnxruntime', options=EngineOptions(precision='int8')) as segmenter:
        assert segmenter.provenance['precision'] == 'int8'
        assert segmenter(generate_scene(7, 50, 70)[0]).mask.shape == (50, 70)


def test_what_the_clock_says_against_goes_back(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('uhr_seg_ros.cli.quantize.has_exact_int8', lambda: True)
    # What is timed: the graph as it was chosen, then without one of its runs.
    clock = {'semantic': 1.0, 'detail': 0.5}
    monkeypatch.setattr(Trial, 'gain', lambda _self, name, _before, _after: clock[name])
    assert quantize(folder) == 0
    bundle = load_bundle(folder / 'wide')
    assert list(bundle.precisions['int8'].graphs) == ['detail']
    clock['detail'] = 1.0
    assert quantize(folder) != 0
    assert 'faster in int8 on this machine' in capsys.readouterr().err
    assert load_bundle(folder / 'wide') == bundle


def test_makes_a_new_bundle_and_its_default(folder: Path) -> None:
    output = folder / 'new/int8'
    assert quantize(folder, '--output', output, '--default', '--keep-fp32', 'semantic') == 0
    bundle = load_bundle(output)
    assert bundle.domain == DOMAIN
    assert bundle.cpu_precision == 'int8'
    assert list(bundle.precisions['int8'].graphs) == ['detail']
    assert 'semantic/first_conv' in bundle.precisions['int8'].provenance['kept_fp32']
    assert load_bundle(folder / 'wide').precisions == {}
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        expected = 'int8' if has_exact_int8() else 'fp32'
        assert segmenter.provenance['precision'] == expected


def test_refuses_what_disagrees_and_leaves_the_bundle(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with edited_model(folder / 'wide') as content:
        content['agreement'] = {'int8': 1.0}
    assert quantize(folder) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert 'the int8 graphs of wide are refused: same class as fp32 on' in error
    assert 'at least 100.000% is needed: give more frames, or a larger --agreement' in error
    assert load_bundle(folder / 'wide').precisions == {}
    assert not list((folder / 'wide').glob('*int8*'))


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--crop', '300'], 'gives 3 tiles of 300 px, at least 4 are needed'),
        (['--crop', '8'], '--crop is 8 px, expected at least 16'),
        (['--agreement', '99'], '--agreement is 99, expected a share of 0 to 1'),
        (['--keep-fp32', 'detail/nothing'], "is called 'detail/nothing'"),
        (['--frames', 'nowhere'], 'no such file: nowhere'),
        (['--bundle', 'nowhere'], "no bundle 'nowhere'"),
    ],
)
def test_errors_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], text: str
) -> None:
    assert quantize(folder, *options) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('uhr_seg: error: ')
    assert text in last


def test_a_bundle_with_nothing_to_gain(
    tiny_bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(folder, '--bundle', tiny_bundle) == 2
    assert 'gains by int8' in capsys.readouterr().err.splitlines()[-1]


def test_a_bundle_of_another_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with edited_model(folder / 'wide') as content:
        content['kind'] = 'single'
        content['graphs'] = {'network': {**content['graphs']['detail'], 'outputs': ['logits']}}
    assert quantize(folder) == 2
    assert 'is of kind single: int8 is made of two_branch only' in capsys.readouterr().err
