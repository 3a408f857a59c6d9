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

"""Seams: where they lie, and what is counted along them."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.evaluation.block import Block
from uhr_seg_ros.evaluation.seams import ELSEWHERE, Grid, NEAR, REACH, Seams


def test_windows_end_inside() -> None:
    grid = Grid.of_windows((2448, 2448), 1408, 1056)
    assert grid.rows == grid.columns == (1040, 1408)
    assert Grid.of_windows((1024, 2048), 2048, 1024).rows == ()


def test_tiles_end_inside() -> None:
    grid = Grid.of_spans((100, 90), [(0, 64), (48, 112)], [(0, 96)])
    assert grid.rows == (48, 64)
    assert grid.columns == ()


def test_the_band_by_distance() -> None:
    grid = Grid((200, 300), (70,), (100, 140))
    near = grid.near((10, 20, 150, 200), (200, 300))
    for row in range(0, 150, 7):
        for column in range(0, 200, 3):
            y, x = row + 10.5, column + 20.5
            distance = min(abs(y - 70), abs(x - 100), abs(x - 140))
            assert near[row, column] == (distance <= REACH)


def test_the_band_of_a_scaled_image() -> None:
    grid = Grid((80, 80), (40,), ())
    # 16 px of 80 are 20 px of 100.
    assert np.nonzero(grid.near((0, 0, 100, 1), (100, 100))[:, 0])[0].tolist() == list(
        range(30, 70)
    )


def test_counts() -> None:
    seams = Seams(grid=Grid((100, 100), (), (50,)))
    labels, mask = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    labels[:10] = 255
    mask[:, :50] = 1
    for left in (0, 60):
        width = 60 if left == 0 else 40
        part = np.s_[:, left : left + width]
        rows, columns = slice(0, 100), slice(0, width)
        place = (0, left, 100, width)
        seams.add(Block(labels[part], mask[part], rows, columns, place, (100, 100)))
    assert seams.known.tolist() == [90 * 32, 90 * 68]
    assert seams.wrong.tolist() == [90 * 16, 90 * 34]
    assert seams.error().tolist() == [0.5, 0.5]
    assert np.isnan(seams.disagreement()).all()
    shared = np.zeros((20, 100), bool)
    shared[:, 40:80] = True
    differing = np.zeros_like(shared)
    differing[:5, 40:50] = True
    seams.compare(30, shared, differing)
    assert seams.compared[NEAR] == 20 * 26
    assert seams.compared[ELSEWHERE] == 20 * 14
    assert seams.disagreement().tolist() == [pytest.approx(50 / 520), 0]


def test_an_image_in_one_piece_has_no_seams() -> None:
    seams = Seams()
    seams.add(Block.whole(np.zeros((5, 5), np.uint8), np.ones((5, 5), np.uint8)))
    assert not seams.known.any()
