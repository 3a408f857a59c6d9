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

"""Choices of tiles: what they make of a frame, and what they lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')

from tiny_bundle import expected_logits, make_tiny_bundle, paint

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.evaluation.both_branches import BothBranches, Looks
from uhr_seg_ros.evaluation.budget_curve import BudgetCurve, changed, mended, rankings
from uhr_seg_ros.evaluation.fixed_share import FixedShare
from uhr_seg_ros.pipelines.segmenter import Segmenter

SIZE = (400, 600)


@pytest.fixture(scope='module')
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp('budget') / 'tiny')


@pytest.fixture(scope='module')
def labels() -> np.ndarray:
    """Stripes that only detail can tell apart, in one part of the frame."""
    labels = np.zeros(SIZE, np.uint8)
    labels[200:] = 1
    labels[40:160:8, 40:160] = labels[41:160:8, 40:160] = labels[42:160:8, 40:160] = 2
    labels[43:160:8, 40:160] = 2
    return labels


@pytest.fixture(scope='module')
def looks(bundle: Path, labels: np.ndarray) -> Iterator[Looks]:
    branches = BothBranches(load_bundle(bundle))
    yield branches.look(paint(labels))
    branches.close()


def test_all_tiles_give_the_whole_mask(looks: Looks, labels: np.ndarray) -> None:
    without, with_detail = looks.masks()
    np.testing.assert_array_equal(with_detail, expected_logits(paint(labels)).argmax(0))
    assert (without[40:160, 40:160] != labels[40:160, 40:160]).mean() > 0.3


def test_a_choice_is_what_the_pipeline_makes_of_it(
    bundle: Path, looks: Looks, labels: np.ndarray
) -> None:
    margin = rankings(load_bundle(bundle))['margin']
    expected = looks.mask(looks.looked(looks.sums(margin(looks, labels)), 0.25))
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        found = segmenter(paint(labels), budget=FixedShare(0.25))
    assert found.detail_share == pytest.approx(0.25, abs=0.1)
    assert (found.mask != expected).mean() < 0.005


def test_what_detail_changes_and_mends(looks: Looks, labels: np.ndarray) -> None:
    change, mend = changed(looks), mended(looks, labels)
    assert change.shape == (25, 38)
    assert change[3:10, 3:10].min() > 0.3
    assert change[14:, 14:].max() == 0.0
    np.testing.assert_allclose(mend[3:10, 3:10], change[3:10, 3:10], atol=0.2)
    unknown = np.full_like(labels, 255)
    assert not mended(looks, unknown).any()


def test_the_best_tiles_first(looks: Looks) -> None:
    worth = np.arange(len(looks.tiles), dtype=np.float32)
    chosen = looks.looked(worth, 1 / len(looks.tiles))
    tile = looks.tiles[-1]
    assert chosen[slice(*tile.rows), slice(*tile.columns)].all()
    assert chosen.sum() == (tile.rows[1] - tile.rows[0]) * (tile.columns[1] - tile.columns[0])
    assert not looks.looked(worth, 0.0).any()


def test_a_curve(bundle: Path, looks: Looks, labels: np.ndarray) -> None:
    curve = BudgetCurve(3, rankings(load_bundle(bundle)), (0.0, 0.2, 1.0))
    curve.add(looks, labels, looks.masks()[1])
    figures = curve.figures()
    assert set(figures['rankings']) == {'random', 'margin', 'changes', 'mends'}
    for points in figures['rankings'].values():
        assert points[0]['mean_iou_lost'] > 5.0
        assert points[-1]['mean_iou_lost'] == pytest.approx(0.0)
    # All that detail changes lies in one tile.
    assert figures['rankings']['changes'][1]['mean_iou_lost'] < 0.3
    assert figures['rankings']['changes'][1]['boundary_f_lost'] < 1.0
