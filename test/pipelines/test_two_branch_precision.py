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

"""Which precision a CPU runs, and what int8 graphs change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
import shutil
import sys

import numpy as np
import pytest

pytest.importorskip('onnx', reason='half graphs are made with onnx')

from tiny_bundle import edited_model
from wide_bundle import make_wide_bundle, WIDE

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import as_reference
from uhr_seg_ros.core import resources
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import BundleError, EngineError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.export.bundle_writing import add_precision
from uhr_seg_ros.pipelines.pipeline import OutputRequest, TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.two_branch import TwoBranch
from uhr_seg_ros.quantization.int8_choice import Int8Choice, Layer, matching
from uhr_seg_ros.quantization.int8_trial import Loss, LossCounter, Trial
from uhr_seg_ros.quantization.tensorrt_calibration import _Feeds
from uhr_seg_ros.synthetic.scenes import generate_scene

FRAME = generate_scene(4, 128, 192)[0]
TILES = [generate_scene(seed, 96, 128)[0] for seed in range(4)]


def quiet(items: list, text: str) -> list:
    return items


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle without int8."""
    return make_wide_bundle(tmp_path_factory.mktemp('bundles') / 'wide')


@pytest.fixture(scope='module')
def choice(plain: Path) -> Int8Choice:
    """Return the graphs of the bundle, calibrated."""
    choice = Int8Choice(load_bundle(plain), quiet)
    choice.calibrate(TILES[:2])
    return choice


@pytest.fixture
def bundle(plain: Path, choice: Int8Choice, tmp_path: Path) -> Path:
    """Return a bundle with both branches in int8."""
    path = Path(shutil.copytree(plain, tmp_path / 'both'))
    files = {name: file.name for name, file in choice.write(choice.candidates, path).items()}
    add_precision(path, 'int8', files, {'frames': 'scenes'})
    return path


@pytest.fixture(params=[True, False])
def exact(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[bool]:
    """Let the CPU have VNNI, or not."""
    info = tmp_path / 'cpuinfo'
    info.write_text(f'processor : 0\nflags\t\t: avx2{" avx_vnni" * request.param}\nbugs : none\n')
    monkeypatch.setattr(resources, 'CPU_INFO', info)
    monkeypatch.setattr(resources.platform, 'machine', lambda: 'x86_64')
    resources.has_exact_int8.cache_clear()
    yield request.param
    resources.has_exact_int8.cache_clear()


def segment(bundle: Path, precision: str = 'auto') -> tuple[np.ndarray, dict, list[str]]:
    """Return logits, provenance and reports."""
    lines: list[str] = []
    options = EngineOptions(precision=precision, report=lines.append)
    with Segmenter(bundle, 'onnxruntime', options=options) as segmenter:
        return segmenter(FRAME, logits=True).logits, segmenter.provenance, lines


def test_int8_runs_when_it_is_asked_for(bundle: Path) -> None:
    exact, facts, _ = segment(bundle)
    assert facts['precision'] == 'fp32'
    rounded, facts, _ = segment(bundle, 'int8')
    assert facts['precision'] == 'int8'
    loaded = load_bundle(bundle)
    hashes = {name: graph.sha256 for name, graph in loaded.graphs_in('int8').items()}
    assert facts['sha256'] == hashes
    assert hashes['detail'] != loaded.graphs['detail'].sha256
    counter = LossCounter()
    counter.add(exact, rounded)
    assert 0 < counter.loss.logit_error < 0.2


def test_graphs_in_float32_for_a_cpu_are_what_runs(bundle: Path) -> None:
    """Another graph in their place changes the result; a changed one is refused."""
    plain, facts, _ = segment(bundle, 'fp32')
    other = load_bundle(bundle).precisions['int8'].graphs['detail'].path
    own = Path(shutil.copy(other, bundle / 'detail_cpu.onnx'))
    loaded = add_precision(bundle, 'fp32', {'detail': own.name}, {})
    found, changed, _ = segment(bundle, 'fp32')
    assert (found != plain).any()
    assert changed['sha256'] == facts['sha256'] | {
        'detail': loaded.precisions['fp32'].graphs['detail'].sha256
    }
    own.write_bytes(own.read_bytes() + b' ')
    with pytest.raises(BundleError, match='detail_cpu.onnx'):
        load_bundle(bundle)


def test_the_bundle_says_what_auto_is(bundle: Path, exact: bool) -> None:
    with edited_model(bundle) as content:
        content['cpu_precision'] = 'int8'
    _, facts, lines = segment(bundle)
    assert facts['precision'] == ('int8' if exact else 'fp32')
    assert lines == [] if exact else 'has no VNNI' in lines[0]
    assert segment(bundle, 'fp32')[1]['precision'] == 'fp32'
    # Who asks for it gets it, warned.
    _, facts, lines = segment(bundle, 'int8')
    assert (facts['precision'], len(lines)) == ('int8', 0 if exact else 1)


def test_tensorrt_is_calibrated_with_fp32(bundle: Path, plain: Path) -> None:
    with edited_model(bundle) as content:
        content['cpu_precision'] = 'int8'
    maps = [
        next(_Feeds(load_bundle(path), TilingOptions(), FRAME.shape[:2]).quarter(FRAME))
        for path in (bundle, plain)
    ]
    assert (maps[0]['local'] == maps[1]['local']).all()


def test_other_back_ends_are_compared_with_fp32(bundle: Path) -> None:
    with edited_model(bundle) as content:
        content['cpu_precision'] = 'int8'
    options = EngineOptions(precision='int8')
    loaded, frame = load_bundle(bundle), RawFrame.of_bgr(FRAME)
    with closing(TwoBranch.open(loaded, TilingOptions(), as_reference(options))) as reference:
        found = reference.segment(frame, OutputRequest(('mask', 'quarter_logits')), StageClock())
    assert found['quarter_logits'].ndim == 3
    with Segmenter(bundle, 'onnxruntime', options=EngineOptions(precision='fp32')) as segmenter:
        assert (found['mask'] == segmenter(FRAME).mask).all()
    with Segmenter(bundle, 'onnxruntime', options=options) as segmenter:
        assert (found['mask'] != segmenter(FRAME).mask).any()


def test_fp16_runs_as_fp32_and_says_so(plain: Path) -> None:
    _, facts, lines = segment(plain, 'fp16')
    assert facts['precision'] == 'fp32'
    assert lines == ['ONNX Runtime has no fp16 on a CPU: fp32 runs']


@pytest.mark.parametrize(
    ('precision', 'text'),
    [
        ('int8', 'wide has no int8 graphs for the CPU: make them by uhr_seg quantize --frames'),
        ('int4', "precision 'int4' is unknown, known: auto, fp32, fp16, int8"),
    ],
)
def test_what_is_not_there(plain: Path, precision: str, text: str) -> None:
    with pytest.raises(EngineError, match=text):
        segment(plain, precision)


@pytest.mark.skipif(sys.platform != 'linux', reason='CPU flags are read from /proc')
def test_arm_and_unknown_machines_count_as_exact(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, 'CPU_INFO', tmp_path / 'absent')
    for machine in ('aarch64', 'x86_64'):
        monkeypatch.setattr(resources.platform, 'machine', lambda name=machine: name)
        resources.has_exact_int8.cache_clear()
        assert resources.has_exact_int8()
    resources.has_exact_int8.cache_clear()


def test_loss() -> None:
    expected = np.array([[[3.0, 0.0]], [[0.0, 4.0]]], np.float32)
    counter = LossCounter()
    counter.add(expected, expected)
    assert counter.loss == Loss(1.0, 0.0)
    counter.add(expected, expected + np.array([[[0.0, 5.0]], [[0.0, 0.0]]], np.float32))
    assert counter.loss.agreement == 0.75
    assert counter.loss.logit_error == pytest.approx((25 / 50) ** 0.5)
    assert '75.000% of the pixels' in str(counter.loss)


def test_trial_sees_what_the_graphs_change(
    choice: Int8Choice, plain: Path, tmp_path: Path
) -> None:
    trial = Trial(load_bundle(plain), TILES[2:])
    assert trial.loss({}) == Loss(1.0, 0.0)
    detail = [layer for layer in choice.candidates if layer.graph == 'detail']
    one = trial.loss(choice.write(detail, tmp_path))
    both = trial.loss(choice.write(choice.candidates, tmp_path))
    assert 0 < one.logit_error < 0.05
    assert 0 < both.logit_error < 0.05
    assert one != both
    assert trial.speed('detail', tmp_path / 'detail_int8.onnx') > 0


def test_layers_are_kept_until_the_masks_agree(choice: Int8Choice, plain: Path) -> None:
    trial = Trial(load_bundle(plain), TILES[2:])
    free = choice.choose(trial, 0.0)
    assert [layer.node for layer in free.int8] == [*WIDE, *WIDE]
    assert free.kept == []
    assert 0 < free.loss.agreement < 1
    changes = [1 - loss.agreement for loss in free.ranking.values()]
    assert len(changes) == 2 * len(WIDE)
    assert changes == sorted(changes, reverse=True)
    strict = choice.choose(trial, (1 + free.loss.agreement) / 2)
    assert strict.loss.agreement >= (1 + free.loss.agreement) / 2
    assert strict.kept == list(free.ranking)[: len(strict.kept)]
    assert not set(strict.kept) & set(strict.int8)
    assert strict.kept


def test_what_stays_float_in_any_case(choice: Int8Choice, plain: Path) -> None:
    trial = Trial(load_bundle(plain), TILES[2:])
    names = 'semantic', 'detail/third_conv'
    keep = [layer for name in names for layer in matching(choice.candidates, name)]
    found = choice.choose(trial, 0.0, keep)
    assert not set(keep) & {*found.int8, *found.ranking}
    assert Layer('detail', 'first_conv') in found.int8


def test_nothing_to_gain(choice: Int8Choice, plain: Path) -> None:
    trial = Trial(load_bundle(plain), TILES[2:])
    with pytest.raises(BundleError, match=r'no layer of bundle .* smaller --agreement'):
        choice.choose(trial, 0.0, choice.candidates)


def test_names_of_layers() -> None:
    layers = [Layer('detail', 'a/b/Conv'), Layer('detail', 'a/bc/Conv'), Layer('semantic', 'a')]
    assert matching(layers, 'detail') == layers[:2]
    assert matching(layers, 'detail/a/b') == layers[:1]
    with pytest.raises(
        BundleError, match=r"is called 'fusion': name a graph \(semantic, detail\)"
    ):
        matching(layers, 'fusion')
