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

"""Sliding windows against adding them up over the whole image."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from uhr_seg_ros.evaluation.sliding_window import arg_max, slide, window_starts


def test_the_published_windows() -> None:
    deepglobe = window_starts(2448, 1408, 1056)
    assert deepglobe == [0, 1040]
    inria = window_starts(4000, 1280, 960)
    assert inria == [0, 960, 1920, 2720]


@pytest.mark.parametrize(
    ('size', 'starts'), [(50, [0]), (64, [0]), (65, [0, 1]), (112, [0, 48]), (113, [0, 48, 49])]
)
def test_the_last_window_is_moved_inside(size: int, starts: list[int]) -> None:
    assert window_starts(size, 64, 48) == starts


def scores_of(window: tuple[int, int, int, int]) -> np.ndarray:
    """Scores that depend on where the window lies, as those of a network do."""
    return np.random.default_rng(window).standard_normal((3, *window[2:])).astype(np.float32)


@pytest.mark.parametrize(
    ('size', 'window', 'stride'),
    [((100, 131), 64, 48), ((64, 64), 64, 10), ((70, 30), 48, 48), ((97, 80), 32, 7)],
)
def test_equals_adding_up(size: tuple[int, int], window: int, stride: int) -> None:
    total, count = np.zeros((3, *size)), np.zeros(size)
    answers: list[list[set[int]]] = [[set() for _ in range(size[1])] for _ in range(size[0])]
    for top in window_starts(size[0], window, stride):
        for left in window_starts(size[1], window, stride):
            height, width = min(window, size[0]), min(window, size[1])
            scores = scores_of((top, left, height, width))
            total[:, top : top + height, left : left + width] += scores
            count[top : top + height, left : left + width] += 1
            for row in range(height):
                for column, answer in enumerate(scores[:, row].argmax(0)):
                    answers[top + row][left + column].add(int(answer))
    bands = list(slide(size, window, stride, scores_of))
    assert len(bands) == len(window_starts(size[0], window, stride))
    found = np.concatenate([band.scores for band in bands], 1)
    assert found == pytest.approx(total / count, abs=1e-5)
    shared = np.concatenate([band.shared for band in bands])
    assert np.array_equal(shared, count > 1)
    differing = np.concatenate([band.differing for band in bands])
    assert np.array_equal(differing, [[len(each) > 1 for each in row] for row in answers])


def test_arg_max_is_that_of_numpy() -> None:
    scores = np.random.default_rng(0).integers(0, 4, (5, 40, 50)).astype(np.float32)
    assert np.array_equal(arg_max(scores), scores.argmax(0))
    assert arg_max(scores).dtype == np.uint8


def peak(rows: int) -> int:
    """Bytes that sliding over an image of so many rows takes at most."""
    tracemalloc.start()
    for band in slide((rows, 300), 128, 96, lambda window: np.ones((4, *window[2:]), np.float32)):
        assert band.scores.shape[2] == 300
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_height() -> None:
    peak(400)
    assert peak(4000) < 1.05 * peak(400)
