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

"""Recall of objects against components of scikit-image, in blocks of any size."""

from __future__ import annotations

from functools import cache

from mask_pairs import CLASSES, measured, pair
import numpy as np
import pytest

from uhr_seg_ros.evaluation.object_recall import BINS, ObjectRecall


def expected(labels: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    measure = pytest.importorskip('skimage.measure', reason='scikit-image is the reference')
    objects, found = (np.zeros((len(BINS), CLASSES), int) for _ in range(2))
    for index in range(CLASSES):
        right = (mask == index).astype(float)
        ids = measure.label(labels == index, connectivity=2)
        for region in measure.regionprops(ids, intensity_image=right):
            size = sum(region.area >= edge for edge in (256, 1024, 9216))
            objects[size, index] += 1
            found[size, index] += region.intensity_mean >= 0.5
    return objects, found


@cache
def counted(grain: float, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    labels, mask = pair(7, size, grain)
    return labels, mask, *expected(labels, mask)


@pytest.mark.parametrize('side', [5, 16, 33, 1000])
@pytest.mark.parametrize(
    ('grain', 'size'),
    [
        (0.6, (61, 74)),
        (4.0, (120, 130)),
        pytest.param(30, (210, 260), marks=pytest.mark.slow),
    ],
)
def test_equals_components(side: int, grain: float, size: tuple[int, int]) -> None:
    labels, mask, objects, found = counted(grain, size)
    metric = measured(labels, mask, side).objects
    assert np.array_equal(metric.objects, objects)
    assert np.array_equal(metric.found, found)


def test_all_bins_occur() -> None:
    pairs = (pair(7, (120, 130), 4.0), pair(7, (210, 260), 30))
    assert (sum(expected(*each)[0] for each in pairs).sum(1) > 0).all()


def spiral(size: int) -> np.ndarray:
    """Draw one path of 1 px that comes back to every block again and again."""
    path = np.zeros((size, size), np.uint8)
    row, column, turn = 0, 0, 0
    path[0, 0] = 1
    blocked = 0
    while blocked < 2:
        step_row, step_column = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
        ahead = row + step_row, column + step_column
        beyond = row + 2 * step_row, column + 2 * step_column
        is_free = all(0 <= place < size for place in ahead)
        is_open = not all(0 <= place < size for place in beyond) or not path[beyond]
        if is_free and is_open and not path[ahead]:
            row, column = ahead
            path[ahead] = 1
            blocked = 0
        else:
            turn += 1
            blocked += 1
    return path


@pytest.mark.parametrize('side', [4, 7, 9])
def test_one_object_over_many_blocks(side: int) -> None:
    labels = spiral(41)
    metric = measured(labels, labels, side).objects
    area = int(labels.sum())
    assert 256 < area < 1024
    assert metric.objects[:, 1].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize('side', [1, 2, 3])
def test_corners_connect(side: int) -> None:
    for labels in (np.eye(8, dtype=np.uint8), np.eye(8, dtype=np.uint8)[::-1].copy()):
        metric = measured(labels, labels, side).objects
        assert metric.objects[0].tolist() == [1, 1, 0, 0]


def test_half_of_an_object_is_enough() -> None:
    labels = np.zeros((30, 30), np.uint8)
    labels[5:9, 5:9], labels[20:24, 20:24] = 1, 1
    mask = np.zeros_like(labels)
    mask[5:7, 5:9] = 1  # 8 of 16
    mask[20:22, 20:24] = 1
    mask[20, 20] = 0  # 7 of 16
    metric = measured(labels, mask, 1000).objects
    assert (metric.objects[0, 1], metric.found[0, 1]) == (2, 1)
    assert metric.recall()[0, 1] == 0.5
    assert metric.total_recall()[0] == 0.5
    assert np.isnan(metric.recall()[0, 2])


def test_an_image_without_labels() -> None:
    labels = np.full((9, 9), 255, np.uint8)
    metric: ObjectRecall = measured(labels, np.zeros_like(labels), 4).objects
    assert metric.objects.sum() == 0
