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

"""`uhr_seg evaluate` from files to figures, on a model whose logits can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
import shutil
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')

from rasters import write_raster
from results_files import check_provenance
from tiny_bundle import expected_logits, make_tiny_bundle
from tiny_sets import confusion, disagreement, SIZE, slid, write_set

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.evaluation import figures as figures_module
from uhr_seg_ros.evaluation import seams as seams_module
from uhr_seg_ros.pipelines import frame_budget_tiles

Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp('sets') / 'set')


@pytest.fixture
def evaluate(tiny_bundle: Path, tmp_path: Path) -> Evaluate:
    def run(root: Path, *arguments: str) -> dict[str, Any]:
        report = tmp_path / 'out' / 'figures.json'
        command = ['evaluate', '--bundle', str(tiny_bundle), '--dataset', 'folder']
        command += ['--root', str(root), '--split', 'all', '--json', str(report), *arguments]
        assert main(command) == 0
        return json.loads(report.read_text(encoding='utf-8'))

    return run


def test_whole_images(evaluate: Evaluate, root: Path) -> None:
    figures = evaluate(root)
    expected = confusion(lambda image: expected_logits(image).argmax(0))
    assert figures['confusion'] == pytest.approx(np.array(expected), abs=3)
    counts = np.array(figures['confusion'])
    assert figures['accuracy'] == pytest.approx(np.trace(counts) / counts.sum())
    assert 0.5 < figures['mean_iou'] == figures['mean_iou_evaluated'] < 1
    assert figures['images'] == [image['name'] for image in figures['per_image']] == ['a', 'b']
    assert figures['reported'] == {'figure': 'mean IoU', 'value': figures['mean_iou']}
    assert figures['seams'] is None
    assert len(figures['sha256']['fusion']) == 64
    assert figures['settings']['mode'] == 'whole'
    check_provenance(figures)


def test_sliding_windows(evaluate: Evaluate, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Near and elsewhere are both large in these small images.
    for module in (seams_module, figures_module):
        monkeypatch.setattr(module, 'REACH', 5)
    figures = evaluate(root, '--mode', 'slide', '--window', '80', '--stride', '52')
    expected = confusion(lambda image: slid(image, 80, 52).argmax(0))
    assert figures['confusion'] == pytest.approx(np.array(expected), abs=3)
    assert figures['confusion'] != evaluate(root)['confusion']
    seams = figures['seams']
    found = seams['disagreement_near'], seams['disagreement_elsewhere']
    assert found == pytest.approx(disagreement(80, 52, 5), abs=5e-4)
    assert found[0] > 2 * found[1]
    counts = np.array(figures['confusion'])
    error = 1 - np.trace(counts) / counts.sum()
    low, high = sorted((seams['error_near'], seams['error_elsewhere']))
    assert low <= error <= high


def test_scaled_images(evaluate: Evaluate, root: Path) -> None:
    def predict(image: np.ndarray) -> np.ndarray:
        small = cv2.resize(image, (160, 96), interpolation=cv2.INTER_LINEAR_EXACT)
        logits = expected_logits(small)
        return np.stack([cv2.resize(plane, SIZE[::-1]) for plane in logits]).argmax(0)

    expected = np.array(confusion(predict))
    for mode in (('whole',), ('slide', '--window', '192', '--stride', '192')):
        figures = evaluate(root, '--scale', '0.8', '--mode', *mode)
        assert figures['confusion'] == pytest.approx(expected, abs=30)


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('choice', ['all', 'flip'])
def test_test_time_augmentation(evaluate: Evaluate, root: Path, mode: str, choice: str) -> None:
    def predict(image: np.ndarray) -> np.ndarray:
        total = 0
        for turns in range(4 if choice == 'all' else 1):
            for flip in (False, True):
                seen = np.rot90(image, turns)
                seen = seen[:, ::-1] if flip else seen
                shares = np.exp(expected_logits(seen))
                shares /= shares.sum(0)
                shares = shares[..., ::-1] if flip else shares
                total = total + np.rot90(shares, -turns, axes=(1, 2))
        return total.argmax(0)

    size = ('--window', '256', '--stride', '256') if mode == 'slide' else ()
    tta = ('--tta',) if choice == 'all' else ('--tta', 'flip')
    figures = evaluate(root, '--mode', mode, *size, *tta)
    assert figures['settings']['tta'] == choice
    assert figures['confusion'] == pytest.approx(np.array(confusion(predict)), abs=3)


def test_semantic_branch(evaluate: Evaluate, root: Path) -> None:
    figures = evaluate(root, '--branch', 'semantic')
    assert figures['mean_iou'] < evaluate(root)['mean_iou'] - 0.1


@pytest.mark.parametrize('branch', ['fused', 'semantic'])
def test_refined_boundaries(evaluate: Evaluate, root: Path, branch: str) -> None:
    plain = evaluate(root, '--branch', branch)
    options = ['--refine', 'random_walker', '--passes', '2', '--beta', '130']
    refined = evaluate(root, '--branch', branch, *options)
    assert refined['settings']['refine'] == 'random_walker'
    assert (refined['settings']['passes'], refined['settings']['beta']) == (2, 130.0)
    assert refined['confusion'] != plain['confusion']


def test_tiles_against_the_image_in_one_piece(tmp_path: Path, root: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / 'bundle', sees_whole_tile=True)
    report = tmp_path / 'figures.json'
    command = ['evaluate', '--bundle', str(bundle), '--dataset', 'folder', '--split', 'all']
    command += ['--root', str(root), '--tile', '128', '--json', str(report)]
    assert main(command) == 0
    seams = json.loads(report.read_text())['seams']
    assert seams['disagreement_near'] is None
    assert 0 < seams['error_near'] < 1
    assert main([*command, '--against-whole']) == 0
    seams = json.loads(report.read_text())['seams']
    assert 0 < seams['disagreement_near'] < 0.5


def test_ignored_labels(evaluate: Evaluate, tmp_path: Path) -> None:
    figures = evaluate(write_set(tmp_path / 'set', ignored=['red'], reported='blue'))
    assert figures['ignored'] == ['red']
    assert figures['confusion'][0] == [0, 0, 0]
    # Green and blue pixels are taken for red: this counts in the published mean.
    assert figures['iou']['red'] == 0
    both = [figures['iou'][name] for name in ('green', 'blue')]
    assert figures['mean_iou'] == pytest.approx(sum(both) / 3)
    assert figures['mean_iou_evaluated'] == pytest.approx(sum(both) / 2)
    assert figures['reported'] == {'figure': 'IoU of blue', 'value': figures['iou']['blue']}
    assert figures['object_recall']['below 16^2']['objects_by_class']['red'] == 0


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(['evaluate', *arguments]) == 2
    return capsys.readouterr().err


def test_classes_have_to_be_the_same(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_set(tmp_path / 'set', ('red', 'blue', 'green'))
    arguments = ('--bundle', str(tiny_bundle), '--dataset', 'folder', '--root', str(root))
    text = fails(capsys, *arguments)
    assert 'bundle tiny has 3 classes (red, green, blue)' in text
    assert 'has 3 (red, blue, green)' in text


def test_what_is_missing_is_named(
    tiny_bundle: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = ('--bundle', str(tiny_bundle), '--dataset', 'folder', '--root')
    assert 'is no folder' in fails(capsys, *bundle, str(tmp_path / 'none'))
    assert "no split 'val'" in fails(capsys, *bundle, str(root), '--split', 'val')
    text = fails(capsys, *bundle, str(root), '--split', 'all', '--window', '512')
    assert 'window and stride are for mode slide' in text


def test_a_folder_is_known_by_its_classes(
    tiny_bundle: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / 'figures.json'
    bundle = ('--bundle', str(tiny_bundle))
    assert main(['evaluate', *bundle, '--root', str(root), '--json', str(report)]) == 0
    assert 'is not divided: all images are taken, those trained on too' in capsys.readouterr().out
    figures = json.loads(report.read_text(encoding='utf-8'))
    assert (figures['dataset'], figures['split']) == ('folder', 'all')
    text = fails(capsys, *bundle, '--dataset', 'aerial', '--root', str(root))
    assert text.rstrip().endswith('has a classes.yaml: --dataset folder reads it')
    (tmp_path / 'photos/images').mkdir(parents=True)
    text = fails(capsys, *bundle, '--root', str(tmp_path / 'photos'))
    assert 'write' in text and 'classes.yaml' in text and '--dataset folder' in text


def test_precision_is_that_of_the_segmenter(
    evaluate: Evaluate, root: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(root, '--precision', 'fp32')['provenance']['precision'] == 'fp32'
    command = ['evaluate', '--bundle', str(tiny_bundle), '--dataset', 'folder', '--split', 'all']
    assert main([*command, '--root', str(root), '--precision', 'int8']) != 0
    assert 'uhr_seg quantize' in capsys.readouterr().err


def test_image_that_ends_the_evaluation(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was done is said, and no figures of a part are written."""
    root = write_set(tmp_path / 'set')
    image = root / 'images/b.png'
    image.write_bytes(image.read_bytes()[:9000])
    options = ['--bundle', str(tiny_bundle), '--root', str(root), '--split', 'all']
    out = [f'--{name}={tmp_path / "out" / name}' for name in ('json', 'report')]
    assert main(['evaluate', *options, '--dataset', 'folder', *out]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert 'b.png' in line
    assert line.endswith('; 1 of 2 images measured, nothing was written')
    assert list((tmp_path / 'out').iterdir()) == []


@pytest.mark.parametrize('option', ['--json', '--report'])
def test_file_that_cannot_be_written_is_told_before_the_work(
    tiny_bundle: Path, tmp_path: Path, root: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ['--bundle', str(tiny_bundle), '--root', str(root), '--split', 'none_such']
    assert main(['evaluate', *options, '--dataset', 'folder', option, str(tmp_path)]) == 2
    assert f'{tmp_path}: Is a directory' in capsys.readouterr().err


def test_a_share_of_the_tiles(evaluate: Evaluate, root: Path) -> None:
    whole, semantic = evaluate(root), evaluate(root, '--branch', 'semantic')
    every = evaluate(root, '--detail-share', '1')
    none = evaluate(root, '--detail-share', '0')
    assert every['confusion'] == whole['confusion']
    # Enlarged in two steps instead of one.
    assert none['confusion'] == pytest.approx(np.array(semantic['confusion']), abs=200)
    assert none['mean_iou'] < whole['mean_iou'] - 0.2


def test_seams_between_tiles_of_a_budget(
    evaluate: Evaluate, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_budget_tiles, 'SIDE', 96)
    seams = evaluate(root, '--detail-share', '0.5', '--against-whole')['seams']
    assert 0.0 < seams['disagreement_near'] < 0.5
    assert (
        evaluate(root, '--detail-share', '1', '--against-whole')['seams']['disagreement_near'] == 0
    )


def test_images_of_more_bands_and_bits(
    tiny_bundle: Path,
    evaluate: Evaluate,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same pictures with 16 bits and their bands in another order give the same figures."""
    pytest.importorskip('rasterio', reason='bands are chosen by rasterio')
    deep = shutil.copytree(root, tmp_path / 'deep')
    for path in (deep / 'images').iterdir():
        image = cv2.imread(str(path)).astype(np.uint16) * 16 + 5
        path.unlink()
        write_raster(
            path.with_suffix('.tif'), np.stack((image[..., 1], *image.transpose(2, 0, 1)))
        )
    rules = '--bands', '4,3,2', '--stretch', '5,4085'
    expected = evaluate(root)
    figures = evaluate(deep, *rules)
    assert figures['confusion'] == expected['confusion']
    assert (figures['bands'], figures['stretch']) == ([4, 3, 2], [5.0, 4085.0])
    # Without them, those that the bundle was trained with.
    trained = shutil.copytree(tiny_bundle, tmp_path / 'trained')
    content = yaml.safe_load((trained / 'model.yaml').read_text())
    content['provenance'] = {'bands': [4, 3, 2], 'stretch': [5, 4085]}
    (trained / 'model.yaml').write_text(yaml.safe_dump(content))
    capsys.readouterr()
    assert evaluate(deep, '--bundle', str(trained))['confusion'] == expected['confusion']
    assert 'was trained with --bands 4,3,2 --stretch 5,4085: taken here' in capsys.readouterr().out
    words = '--dataset', 'folder', '--root', str(deep), '--split', 'all', '--bands', '5'
    assert main(['evaluate', '--bundle', str(tiny_bundle), *words]) == 2
    assert 'a.tif has 4 bands, --bands wants 5' in capsys.readouterr().err
