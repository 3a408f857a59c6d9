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

"""Boundary IoU against erosions by scikit-image, and counted pixel by pixel."""

from __future__ import annotations

from math import sqrt

from mask_pairs import CLASSES, pair
import numpy as np
import pytest

from uhr_seg_ros.evaluation.block import Block
from uhr_seg_ros.evaluation.boundary_metrics import BoundaryIou


def measured(labels: np.ndarray, mask: np.ndarray, share: float) -> BoundaryIou:
    metric = BoundaryIou(CLASSES, share)
    metric.add(Block.whole(labels, mask))
    return metric


@pytest.mark.parametrize('share', [0.002, 0.02, 0.06])
@pytest.mark.parametrize('seed', [0, 1])
def test_equals_erosion(seed: int, share: float) -> None:
    morphology = pytest.importorskip('skimage.morphology', reason='scikit-image is the reference')
    labels, mask = pair(seed, (80, 111), grain=6.0, ignored=False)
    distance = max(1, round(share * sqrt(80**2 + 111**2)))
    footprint = np.ones((3, 3), np.uint8)

    def band(member: np.ndarray) -> np.ndarray:
        eroded = np.pad(member, 1)
        for _ in range(distance):
            eroded = morphology.erosion(eroded, footprint, mode='ignore')
        return member & ~eroded[1:-1, 1:-1]

    expected = []
    for index in range(CLASSES):
        true, found = band(labels == index), band(mask == index)
        expected.append((true & found).sum() / (true | found).sum())
    metric = measured(labels, mask, share)
    assert metric.margin(labels.shape) == distance
    assert metric.iou() == pytest.approx(expected)
    assert metric.mean_iou() == pytest.approx(np.mean(expected))


def brute_force(labels: np.ndarray, mask: np.ndarray, distance: int) -> list[float]:
    """Look around every pixel; what is outside the image is another class, ignored is none."""
    height, width = labels.shape

    def in_band(ids: np.ndarray, row: int, column: int) -> bool:
        for y in range(row - distance, row + distance + 1):
            for x in range(column - distance, column + distance + 1):
                if not (0 <= y < height and 0 <= x < width):
                    return True
                if labels[y, x] != 255 and ids[y, x] != ids[row, column]:
                    return True
        return False

    both, either = np.zeros(CLASSES), np.zeros(CLASSES)
    for row, column in zip(*np.nonzero(labels != 255), strict=True):
        true = {int(labels[row, column])} if in_band(labels, row, column) else set()
        found = {int(mask[row, column])} if in_band(mask, row, column) else set()
        both[list(true & found)] += 1
        either[list(true | found)] += 1
    return [float(b / e) if e else float('nan') for b, e in zip(both, either, strict=True)]


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_ignored_pixels_equal_counting(seed: int) -> None:
    labels, mask = pair(seed, (24, 31))
    labels[labels == 3] = 1
    mask[mask == 3] = 0
    metric = measured(labels, mask, 0.06)
    assert metric.margin(labels.shape) == 2
    assert metric.iou() == pytest.approx(brute_force(labels, mask, 2), nan_ok=True)
    assert np.isnan(metric.iou()[3])


def test_a_region_that_ignored_pixels_cut_has_no_contour_there() -> None:
    labels = np.ones((40, 40), np.uint8)
    labels[:, 20:] = 255
    metric = measured(labels, np.ones_like(labels), 0.05)
    # The band is 3 px wide along the upper, lower and left border only.
    assert metric.counts[1].tolist() == [0, 40 * 20 - 34 * 17, 0, 0]
