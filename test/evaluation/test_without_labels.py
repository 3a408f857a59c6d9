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

"""Figures say that there is nothing to measure, instead of 1.0 or 0.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tools.refinement_study import measured, Sample
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.evaluation.block import Block
from uhr_seg_ros.evaluation.boundary_metrics import BoundaryF, BoundaryIou
from uhr_seg_ros.evaluation.evaluator import Evaluator
from uhr_seg_ros.evaluation.figures import Figures
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix
from uhr_seg_ros.evaluation.seams import Grid

pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')

from tiny_bundle import paint, TINY_CLASSES
from tiny_sets import write_set

from uhr_seg_ros.cli.main import main

SIZE = (120, 200)


def halves(left: int, right: int) -> np.ndarray:
    """Write two class ids side by side."""
    ids = np.full(SIZE, left, np.uint8)
    ids[:, SIZE[1] // 2 :] = right
    return ids


@pytest.mark.parametrize('mask', [halves(1, 1), halves(1, 2)])
@pytest.mark.parametrize('labels', [halves(1, 1), halves(1, 255)])
def test_no_mean_over_a_single_class(labels: np.ndarray, mask: np.ndarray) -> None:
    matrix, band, contour = ConfusionMatrix(3), BoundaryIou(3), BoundaryF(3)
    matrix.add(labels, mask)
    for metric in (band, contour):
        metric.add(Block.whole(labels, mask))
    assert np.isnan(matrix.mean_iou())
    assert np.isnan(matrix.mean_f1())
    assert np.isnan(matrix.frequency_weighted_iou())
    assert np.isnan(band.mean_iou())
    assert np.isnan(contour.mean_f()).all()


def test_two_labelled_classes_keep_the_published_mean() -> None:
    matrix = ConfusionMatrix(4)
    matrix.add(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 2]]))
    assert matrix.mean_iou() == pytest.approx((1 + 0.5 + 0) / 3)
    assert matrix.labeled().tolist() == [True, True, False, False]
    assert matrix.found().tolist() == [True, True, True, False]


def test_refinement_of_images_without_thin_or_small_parts() -> None:
    labels = np.full((60, 60), 255, np.uint8)
    labels[:, 30:] = 3
    sample = Sample(np.zeros((60, 60, 3), np.uint8), labels, {})
    figures = measured([sample], [np.zeros((60, 60), np.uint8)])
    assert set(figures.values()) == {None}
    json.dumps(figures, allow_nan=False)


def test_windows_can_disagree_where_nothing_is_labelled() -> None:
    results = Evaluator(3, StageClock())
    results.seams.grid = Grid(SIZE, (), (100,))
    results.seams.compare(0, np.ones(SIZE, bool), halves(0, 1) > 0)
    seams = Figures(TINY_CLASSES.names).of(results)['seams']
    assert seams['disagreement_near'] == 0.5
    assert seams['error_near'] is None


def evaluated(
    root: Path, labels: list[np.ndarray], bundle: Path, out: Path
) -> tuple[dict[str, Any], str]:
    """Evaluate images of all three colours against other labels; give JSON and page."""
    write_set(root)
    for name, ids in zip('ab', labels, strict=True):
        seen = np.resize(np.arange(3, dtype=np.uint8).repeat(40), SIZE)
        cv2.imwrite(str(root / f'images/{name}.png'), paint(seen))
        cv2.imwrite(str(root / f'labels/{name}.png'), ids)
    command = ['evaluate', '--bundle', str(bundle), '--dataset', 'folder', '--root', str(root)]
    command += ['--split', 'all', '--json', str(out / 'figures.json')]
    assert main([*command, '--report', str(out / 'page.html')]) == 0

    def refuse(text: str) -> None:
        raise AssertionError(text)  # NaN and Infinity are no JSON

    content = json.loads((out / 'figures.json').read_text(), parse_constant=refuse)
    return content, (out / 'page.html').read_text(encoding='utf-8')


def means(figures: dict[str, Any]) -> list[float | None]:
    names = ('mean_iou', 'mean_iou_evaluated', 'mean_f1', 'frequency_weighted_iou')
    inner = [*figures['boundary_iou'].values(), *figures['boundary_f'].values()]
    return [*(figures[name] for name in names), *(each['mean'] for each in inner)]


def test_one_labelled_class(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [halves(1, 1), halves(255, 255)]
    figures, page = evaluated(tmp_path / 'set', labels, tiny_bundle, tmp_path)
    assert set(means(figures)) == {None}
    assert figures['reported']['value'] is figures['mean_boundary_accuracy'] is None
    red, green, blue = TINY_CLASSES.names
    assert figures['classes_without_labels'] == [red, blue]
    assert figures['classes_found_without_labels'] == [red, blue]
    assert 0 < figures['iou'][green] < 1
    empty = figures['per_image'][1]
    assert (empty['name'], empty['mean_iou'], empty['accuracy']) == ('b', None, None)
    out, err = (' '.join(text.split()) for text in capsys.readouterr())
    for text in (
        f'No pixel is labelled {red}, {blue}.',
        f'Found, but labelled nowhere: {red}, {blue}. By definition',
        f'Only {green} is labelled: there is nothing to tell apart',
        'No pixel is labelled in 1 of 2 images: b.',
    ):
        assert text in out and text in page
    assert 'mean IoU –, accuracy 0.' in out
    assert f'warning: split all: no pixel is labelled {red}, {blue}' in err
    assert '1 of 2 images are ignored throughout: b' in err
    assert 'nothing is label' in page  # beside the pictures of the second image


def test_a_class_without_labels(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [halves(0, 1), halves(1, 0)]
    figures, page = evaluated(tmp_path / 'set', labels, tiny_bundle, tmp_path)
    assert figures['classes_without_labels'] == ['blue']
    assert None not in means(figures)
    assert figures['mean_iou'] == pytest.approx(sum(figures['iou'].values()) / 3)
    out = capsys.readouterr().out
    assert 'No pixel is labelled blue.' in out and 'blue (no labels)' in out
    assert 'No pixel is labelled blue.' in page and 'blue (no labels)' in page


def test_labels_without_a_contour(tiny_bundle: Path, tmp_path: Path) -> None:
    labels = halves(0, 1)
    labels[:, 90:110] = 255
    figures, page = evaluated(tmp_path / 'set', [labels, labels], tiny_bundle, tmp_path)
    assert figures['mean_iou'] is not None
    for each in figures['boundary_f'].values():
        assert {each['mean'], *each['classes'].values(), *each['precision'].values()} == {None}
    assert 'The labels have no contour between two classes' in page


@pytest.mark.parametrize(
    ('labels', 'fields', 'text'),
    [
        (halves(255, 255), {}, 'hold no value but 255, so that no pixel is labelled red, green'),
        (halves(0, 255), {}, 'hold no value but 0 and 255, so that no pixel is labelled green'),
        (halves(0, 0), {'ignored': ['red']}, 'split all: no pixel of 2 images is labelled'),
        (halves(0, 7), {}, 'a.png holds the value 7, expected 0 to 2 or 255'),
    ],
)
def test_labels_that_cannot_be_evaluated(
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    labels: np.ndarray,
    fields: dict[str, Any],
    text: str,
) -> None:
    root = write_set(tmp_path / 'set', **fields)
    for name in 'ab':
        cv2.imwrite(str(root / f'labels/{name}.png'), labels)
    command = ['evaluate', '--bundle', str(tiny_bundle), '--dataset', 'folder', '--split', 'all']
    assert main([*command, '--root', str(root), '--json', str(tmp_path / 'out.json')]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'out.json').exists()
