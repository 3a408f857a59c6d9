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

"""Boundary F against contours of scikit-image and distances of scipy, and by counting."""

from __future__ import annotations

from mask_pairs import CLASSES, pair
import numpy as np
import pytest

from uhr_seg_ros.evaluation.block import Block
from uhr_seg_ros.evaluation.boundary_metrics import BoundaryF


def measured(labels: np.ndarray, mask: np.ndarray) -> BoundaryF:
    metric = BoundaryF(CLASSES)
    metric.add(Block.whole(labels, mask))
    return metric


@pytest.mark.parametrize(('seed', 'grain'), [(0, 3.0), (1, 9.0)])
def test_equals_distances(seed: int, grain: float) -> None:
    segmentation = pytest.importorskip(
        'skimage.segmentation', reason='scikit-image is the reference'
    )
    ndimage = pytest.importorskip('scipy.ndimage', reason='scipy is the reference')
    labels, mask = pair(seed, (120, 140), grain, ignored=False)
    metric = measured(labels, mask)
    for index in range(CLASSES):
        true, found = (
            segmentation.find_boundaries(ids == index, connectivity=1, mode='inner')
            for ids in (labels, mask)
        )
        to_true, to_found = (ndimage.distance_transform_edt(~edge) for edge in (true, found))
        for place, radius in enumerate((2, 5, 9, 12)):
            precision = (to_true[found] <= radius).mean()
            recall = (to_found[true] <= radius).mean()
            assert metric.precision()[place, index] == pytest.approx(precision)
            assert metric.recall()[place, index] == pytest.approx(recall)
            f = 2 * precision * recall / (precision + recall)
            assert metric.f()[place, index] == pytest.approx(f)
    assert metric.mean_f() == pytest.approx(metric.f().mean(1))
    assert metric.f()[0].max() < metric.f()[3].max()


def contour(ids: np.ndarray, index: int) -> list[tuple[int, int]]:
    height, width = ids.shape
    found = []
    for row, column in zip(*np.nonzero(ids == index), strict=True):
        for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= y < height and 0 <= x < width and ids[y, x] not in (index, 255):
                found.append((row, column))
                break
    return found


@pytest.mark.parametrize('seed', [4, 5])
def test_ignored_pixels_equal_counting(seed: int) -> None:
    labels, mask = pair(seed, (40, 46))
    metric = measured(labels, mask)
    hidden = np.where(labels == 255, 255, mask)
    for index in range(CLASSES):
        true, found = contour(labels, index), contour(hidden, index)
        near = [any((y - v) ** 2 + (x - u) ** 2 <= 4 for v, u in true) for y, x in found]
        assert metric.counts[0, :2, index].tolist() == [sum(near), len(found)]
        near = [any((y - v) ** 2 + (x - u) ** 2 <= 4 for v, u in found) for y, x in true]
        assert metric.counts[0, 2:, index].tolist() == [sum(near), len(true)]


def test_classes_without_contours() -> None:
    labels = np.zeros((30, 30), np.uint8)
    labels[:, 15:] = 1
    mask = np.zeros_like(labels)
    mask[:10] = 2
    metric = measured(labels, mask)
    # 0 is contoured in both, 1 in the labels only, 2 in the mask only, 3 nowhere.
    assert metric.f()[0, 0] > 0
    assert metric.f()[0, 1:3].tolist() == [0, 0]
    assert np.isnan(metric.f()[0, 3])
    assert metric.mean_f()[0] == pytest.approx(metric.f()[0, 0] / 3)


def test_a_contour_that_is_off_by_as_many_px_as_allowed() -> None:
    labels, mask = (np.zeros((40, 60), np.uint8) for _ in range(2))
    labels[:, 30:], mask[:, 35:] = 1, 1
    assert measured(labels, mask).f()[:, 0].tolist() == [0, 1, 1, 1]
