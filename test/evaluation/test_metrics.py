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

"""Metrics of the confusion matrix against scikit-learn and counting pixel by pixel."""

from __future__ import annotations

from mask_pairs import pair
import numpy as np
import pytest

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix


def brute_force_iou(labels: np.ndarray, mask: np.ndarray, classes: int) -> list[float]:
    values = []
    for index in range(classes):
        both = either = 0
        for truth, found in zip(labels.ravel(), mask.ravel(), strict=True):
            if truth != 255:
                both += truth == found == index
                either += index in (truth, found)
        values.append(both / either if either else float('nan'))
    return values


def test_iou_equals_counting() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 255], (20, 30)).astype(np.uint8)
    mask = rng.integers(0, 3, (20, 30)).astype(np.uint8)
    matrix = ConfusionMatrix(4)
    matrix.add(labels[:7], mask[:7])
    matrix.add(labels[7:], mask[7:])
    expected = brute_force_iou(labels, mask, 4)
    assert matrix.iou() == pytest.approx(expected, nan_ok=True)
    assert matrix.mean_iou() == pytest.approx(np.mean(expected[:3]))
    known = labels != 255
    assert matrix.accuracy() == pytest.approx((labels == mask)[known].mean())


def test_nothing_labelled() -> None:
    matrix = ConfusionMatrix(2)
    matrix.add(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8))
    assert np.isnan(matrix.mean_iou())
    assert np.isnan(matrix.accuracy())


def test_what_cannot_be_compared() -> None:
    matrix = ConfusionMatrix(2)
    with pytest.raises(DataError, match=r'labels are \(2, 2\), the mask \(2, 3\)'):
        matrix.add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(DataError, match='mask id 2 with 2 classes'):
        matrix.add(np.zeros((2, 2), np.uint8), np.full((2, 2), 2, np.uint8))


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_equals_scikit_learn(seed: int) -> None:
    reference = pytest.importorskip('sklearn.metrics', reason='scikit-learn is the reference')
    labels, mask = pair(seed, (90, 110))
    # One class is never found, one has no label, one is neither labelled nor found.
    mask[mask == 3] = 2
    labels[labels == 0] = 1
    matrix = ConfusionMatrix(5)
    matrix.add(labels, mask)
    known = labels != 255
    true, found = labels[known], mask[known]
    ids = list(range(5))
    assert np.array_equal(matrix.counts, reference.confusion_matrix(true, found, labels=ids))
    options = {'labels': ids, 'average': None, 'zero_division': np.nan}
    for name, ours in (
        ('precision_score', matrix.precision()),
        ('recall_score', matrix.recall()),
        ('f1_score', matrix.f1()),
        ('jaccard_score', matrix.iou()),
    ):
        if name == 'jaccard_score':
            options |= {'zero_division': 0}
            ours = np.nan_to_num(ours)
        assert ours == pytest.approx(getattr(reference, name)(true, found, **options), nan_ok=True)
    options |= {'average': 'weighted'}
    weighted = reference.jaccard_score(true, found, **options)
    assert matrix.frequency_weighted_iou() == pytest.approx(weighted)
    assert matrix.accuracy() == pytest.approx(reference.accuracy_score(true, found))
    assert matrix.mean_f1() == pytest.approx(np.nanmean(matrix.f1()))


def test_a_class_without_labels_that_is_found_counts_as_zero() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([[255, 255, 1, 2]], np.uint8), np.array([[0, 1, 0, 2]], np.uint8))
    assert matrix.iou().tolist() == [0, 0, 1]
    assert matrix.mean_iou() == pytest.approx(1 / 3)
    unseen = ConfusionMatrix(3)
    unseen.add(np.array([[255, 255, 1, 2]], np.uint8), np.array([[0, 1, 1, 2]], np.uint8))
    assert np.isnan(unseen.iou()[0])
    assert unseen.mean_iou() == 1
