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

"""``uhr_seg train`` on a small aerial set: bundle, pieces, SIGKILL, wrong options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')
pytest.importorskip('onnx', reason='the export needs onnx')

from rasters import write_raster
from tiny import log_of, write_mosaics, write_recipe

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import load_bundle, Patches
from uhr_seg_ros.core.domain import Domain, DOMAINS
from uhr_seg_ros.core.interruption import ENDING
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.training.run_logger import FileRunLogger

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def mosaics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mosaics(tmp_path_factory.mktemp('data') / 'mosaics')


def command(recipe: Path, mosaics: Path, output: Path, *options: str) -> list[str]:
    paths = ['--config', str(recipe), '--root', str(mosaics), '--output', str(output)]
    return ['train', *paths, '--device', 'cpu', *options]


def write_set_with_classes(root: Path) -> Path:
    """Write mosaics that are also a generic folder set, with five classes of its own."""
    write_mosaics(root)
    (root / 'classes.yaml').write_text(
        'classes: [{name: a, color: [1, 2, 3]}, {name: b, color: [4, 5, 6]}, '
        '{name: c, color: [7, 8, 9]}, {name: d, color: [1, 1, 1]}, {name: e, color: [2, 2, 2]}]\n'
        'domain: {view: oblique, trained_on: sand}\n'
    )
    return root


@pytest.mark.slow  # test_trainer.py compares a resumed run with one in a piece always
def test_pieces_make_the_same_run_and_a_bundle(mosaics: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / 'r.yaml')
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    assert main(command(recipe, mosaics, whole)) == 0
    assert main(command(recipe, mosaics, parts, '--minutes', '0')) == 1
    assert len(log_of(parts)) == 1
    stopped = load_bundle(parts / 'bundle').provenance
    assert (stopped['unfinished'], stopped['validation']['mean_iou']) == ('1 of 6', None)
    assert main(command(recipe, mosaics, parts, '--resume', '--stop-after-checkpoint')) == 1
    assert len(log_of(parts)) == 2
    target = tmp_path / 'model'
    more = ['--resume', '--bundle', str(target), '--name', 'trees']
    assert main(command(recipe, mosaics, parts, *more)) == 0
    assert log_of(parts) == log_of(whole)
    bundles = [load_bundle(folder) for folder in (whole / 'bundle', target)]
    assert [bundle.name for bundle in bundles] == ['whole', 'trees']
    assert {str(bundle.domain) for bundle in bundles} == {str(DOMAINS['aerial'])}
    provenance = bundles[0].provenance
    assert (provenance['steps'], provenance['weights']) == (6, 'last')
    last = log_of(whole, 'validation.jsonl')[-1]
    assert provenance['validation']['mean_iou'] == pytest.approx(last['mean_iou'], abs=1e-4)
    hashes = [{name: graph.sha256 for name, graph in b.graphs.items()} for b in bundles]
    assert hashes[0] == hashes[1]


@pytest.fixture
def send_after_two_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Return what has a signal sent to this process in its second step."""
    log = FileRunLogger.step
    earlier = {number: signal.signal(number, usual) for number, usual in ENDING.items()}

    def send(number: int) -> None:
        def step(self: FileRunLogger, step: int, *values: object) -> None:
            log(self, step, *values)
            if step == 1:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(FileRunLogger, 'step', step)

    yield send
    for number, handler in earlier.items():
        signal.signal(number, handler)


def test_ctrl_c_leaves_a_bundle(
    mosaics: Path,
    tmp_path: Path,
    send_after_two_steps: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, recipe = tmp_path / 'orchard', tmp_path / 'r.yaml'
    send_after_two_steps(signal.SIGINT)
    write_recipe(recipe, checkpoint_every=100, export='best')
    assert main(command(recipe, mosaics, run)) == 130
    error = capsys.readouterr().err.splitlines()[-1]
    assert 'ended by Ctrl-C; 3 of 6 steps trained' in error
    assert error.endswith(f'--resume; bundle: {run / "bundle"}')
    bundle = load_bundle(run / 'bundle')
    assert bundle.name == 'orchard'
    provenance = bundle.provenance
    assert (provenance['steps'], provenance['unfinished']) == (3, '3 of 6')
    # There is no best one before the first validation.
    assert (provenance['weights'], provenance['validation']['mean_iou']) == ('last', None)


def test_sigterm_names_the_command_that_makes_a_bundle(
    mosaics: Path,
    tmp_path: Path,
    send_after_two_steps: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / 'run'
    send_after_two_steps(signal.SIGTERM)
    assert main(command(write_recipe(tmp_path / 'r.yaml'), mosaics, run)) == 143
    said = f'uhr_seg convert {run}/last.pth --output {run}/bundle --name run'
    assert capsys.readouterr().err.rstrip().endswith(said)
    assert torch.load(run / 'last.pth', weights_only=True)['step'] == 3
    assert not (run / 'bundle').exists()


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(mosaics: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / 'r.yaml', steps=60, checkpoint_every=4, validate_every=10)
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    assert main(command(recipe, mosaics, whole)) == 0
    process = subprocess.Popen(
        [sys.executable, '-m', 'uhr_seg_ros.cli', *command(recipe, mosaics, killed)],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    log = killed / 'log.jsonl'
    while process.poll() is None and time.monotonic() < until:
        if log.is_file() and log.read_text().count('\n') >= 11:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = len(log_of(killed))
    step = torch.load(killed / 'last.pth', weights_only=True)['step']
    assert 8 <= step <= done < 60
    assert done - step <= 4  # at most one interval is lost
    assert main(command(recipe, mosaics, killed, '--resume')) == 0
    for name in ('log.jsonl', 'validation.jsonl'):
        assert log_of(killed, name) == log_of(whole, name)
    runs = [torch.load(folder / 'last.pth', weights_only=True) for folder in (whole, killed)]
    for name, value in runs[0]['network'].items():
        assert torch.equal(runs[1]['network'][name], value), name
    assert runs[0]['best'] == runs[1]['best']


@pytest.mark.slow  # that the best is kept, test_trainer.py shows always
def test_the_best_can_be_exported(
    mosaics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path / 'r.yaml', export='best', validate_every=1, steps=3)
    assert main(command(recipe, mosaics, tmp_path / 'run')) == 0
    best = max(entry['mean_iou'] for entry in log_of(tmp_path / 'run', 'validation.jsonl'))
    provenance = load_bundle(tmp_path / 'run/bundle').provenance
    assert provenance['weights'] == 'best'
    assert provenance['validation']['mean_iou'] == pytest.approx(best, abs=1e-4)
    assert f'validation mIoU {best:.3f}' in ' '.join(capsys.readouterr().out.split())
    state = torch.load(tmp_path / 'run/best.pth', weights_only=True)
    for value in state['state_dict'].values():
        value.fill_(0)
    torch.save(state, tmp_path / 'run/best.pth')
    assert main(command(recipe, mosaics, tmp_path / 'run', '--resume')) == 0
    with Segmenter(tmp_path / 'run/bundle', 'onnxruntime') as segmenter:
        assert not segmenter(np.full((64, 64, 3), 99, np.uint8), logits=True).logits.any()


@pytest.mark.parametrize(
    ('fields', 'options', 'text'),
    [
        ({}, ('--start', 'semantic'), "'semantic', expected PART=FILE"),
        ({}, ('--start', 'middle=x.pth'), 'PART one of semantic, detail'),
        ({}, ('--start', 'semantic=none.pth'), 'none.pth does not exist'),
        ({}, ('--resume',), 'start without --resume'),
        ({'class_weights': [1, 2]}, (), 'class_weights is [1, 2], expected one for each of 5'),
        ({'crop': 80}, (), 'field crop is 80, expected a multiple of 32, the stride of fast_scnn'),
        (
            {'data': {'dataset': 'aerial', 'hold_out': 'three', 'augmentation': 'aerial'}},
            (),
            "image 'three' to hold out is not among one, two",
        ),
        (
            {'data': {'dataset': 'folder', 'hold_out': 'one', 'augmentation': 'aerial'}},
            (),
            'classes.yaml',
        ),
    ],
)
def test_what_cannot_start_says_so(
    mosaics: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fields: dict,
    options: tuple[str, ...],
    text: str,
) -> None:
    recipe = write_recipe(tmp_path / 'r.yaml', **fields)
    assert main(command(recipe, mosaics, tmp_path / 'run', *options)) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'run' / 'last.pth').exists()


def test_a_run_with_its_own_classes_and_options_converts_to_its_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = write_set_with_classes(tmp_path / 'set'), tmp_path / 'run'
    data = {'dataset': 'folder', 'train': 'all', 'hold_out': 'one', 'augmentation': 'aerial'}
    options = {'inner': 'fast_scnn', 'warped_size': [64, 64], 'size': [16, 16], 'radius': 2}
    fields = {'network': 'deform_s', 'options': options, 'data': data, 'steps': 2}
    recipe = write_recipe(tmp_path / 'r.yaml', **fields)
    assert main(command(recipe, root, run)) == 0
    assert main(['convert', str(run / 'last.pth'), '--output', str(tmp_path / 'again')]) == 0
    trained, again = load_bundle(run / 'bundle'), load_bundle(tmp_path / 'again')
    assert again.classes == trained.classes
    assert again.classes.names == ('a', 'b', 'c', 'd', 'e')
    assert again.domain == trained.domain == Domain(('oblique',), trained_on='sand')
    assert again.provenance['options'].items() >= options.items()
    hashes = [{name: graph.sha256 for name, graph in b.graphs.items()} for b in (trained, again)]
    assert hashes[0] == hashes[1]
    path = root / 'classes.yaml'
    path.write_text(path.read_text().replace('name: b', 'name: x'))
    capsys.readouterr()
    assert main(command(recipe, root, run, '--resume')) == 2
    assert "class 1 'b' is class 1 'x' in the data set" in capsys.readouterr().err


def test_scenes_show_aerial_classes_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_set_with_classes(tmp_path / 'set')
    data = {'dataset': 'folder', 'train': 'all', 'hold_out': 'one', 'augmentation': 'aerial'}
    recipe = write_recipe(tmp_path / 'r.yaml', data={**data, 'generated': 0.5, 'scenes': 1})
    assert main(command(recipe, root, tmp_path / 'run')) == 2
    assert 'field data.generated is 0.5, expected 0' in capsys.readouterr().err


@pytest.mark.parametrize('field', ['ignore_larger', 'recolor'])
def test_classes_that_are_named_exist(
    mosaics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    data = {'dataset': 'aerial', 'hold_out': 'one', 'augmentation': 'aerial'}
    recipe = write_recipe(tmp_path / 'r.yaml', data={**data, field: {'house': 1}})
    assert main(command(recipe, mosaics, tmp_path / 'run')) == 2
    assert f'data.{field}' in (error := capsys.readouterr().err)
    assert 'house' in error and 'building' in error


def test_a_set_without_known_doubts_cannot_ignore_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_set_with_classes(tmp_path / 'set')
    data = {'dataset': 'folder', 'train': 'all', 'hold_out': 'one', 'augmentation': 'aerial'}
    recipe = write_recipe(tmp_path / 'r.yaml', data={**data, 'ignore_noisy_labels': True})
    assert main(command(recipe, root, tmp_path / 'run')) == 2
    assert 'data.ignore_noisy_labels is True, expected false' in capsys.readouterr().err


@pytest.mark.slow  # test_patch_network.py and test_patches.py do the parts always
def test_patches_are_trained_exported_and_evaluated(
    mosaics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('uhr_seg_ros.core.bundle_kinds._COMPARED_PIXELS', 2 * 64 * 64)
    recipe = write_recipe(
        tmp_path / 'patches.yaml',
        network='fctl_s',
        options={'side': 64, 'large': 'whole', 'sources': ['local', 'large']},
        crop=128,
        steps=2,
        optimizer='adam',
        losses={'focal': 1, 'refine': 0},
    )
    assert main(command(recipe, mosaics, tmp_path / 'run')) == 0
    log = log_of(tmp_path / 'run')
    assert len(log) == 2 and all(set(entry) >= {'focal', 'rate'} for entry in log)
    assert not any('refine' in entry for entry in log)
    bundle = load_bundle(tmp_path / 'run/bundle')
    assert bundle.patches == Patches(64, {'medium': 2, 'large': 'whole'})
    assert bundle.provenance['options']['sources'] == ['local', 'large']
    report = tmp_path / 'figures.json'
    arguments = ['--dataset', 'aerial', '--root', str(mosaics), '--split', 'train', '--tta']
    evaluated = main(['evaluate', '--bundle', str(bundle.path), *arguments, '--json', str(report)])
    assert evaluated == 0
    assert json.loads(report.read_text())['seams'] is None


@pytest.mark.slow
def test_bands_and_bits_are_trained_and_told(tmp_path: Path) -> None:
    """Trains twice: the same pictures as they are, and with 16 bits and another order of bands."""
    pytest.importorskip('rasterio', reason='bands are chosen by rasterio')
    roots = [write_set_with_classes(tmp_path / name) for name in ('plain', 'deep')]
    for root in roots:
        for path in (root / 'images').iterdir():
            image = cv2.imread(str(path)).astype(np.uint16)
            path.unlink()
            if root.name == 'plain':
                cv2.imwrite(str(path.with_suffix('.png')), image.astype(np.uint8))
            else:
                bands = np.stack((image[..., 0] // 3, *image.transpose(2, 0, 1))) * 16 + 5
                write_raster(path.with_suffix('.tif'), bands)
    data = {'dataset': 'folder', 'train': 'all', 'hold_out': 'one', 'augmentation': 'aerial'}
    plain = write_recipe(tmp_path / 'plain.yaml', data=data, steps=2)
    data |= {'bands': [4, 3, 2], 'stretch': [5, 4085]}
    deep = write_recipe(tmp_path / 'deep.yaml', data=data, steps=2)
    for recipe, root in zip((plain, deep), roots, strict=True):
        assert main(command(recipe, root, tmp_path / f'run_{root.name}')) == 0
    assert log_of(tmp_path / 'run_deep') == log_of(tmp_path / 'run_plain')
    checkpoint, converted = tmp_path / 'run_deep/last.pth', tmp_path / 'converted'
    assert main(['convert', str(checkpoint), '--output', str(converted)]) == 0
    for bundle in (tmp_path / 'run_deep/bundle', converted):
        said = load_bundle(bundle).provenance
        assert (said['bands'], said['stretch']) == ([4, 3, 2], [5, 4085])
