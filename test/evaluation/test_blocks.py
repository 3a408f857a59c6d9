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

"""Every metric from blocks is what it is from the whole image."""

from __future__ import annotations

from functools import cache

from mask_pairs import CLASSES, measured, pair
import numpy as np
import pytest

from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.data.sample import ArraySample
from uhr_seg_ros.evaluation.block import Block, blocks_of, MemmapMask
from uhr_seg_ros.evaluation.evaluator import Evaluator
from uhr_seg_ros.evaluation.figures import Figures

NAMES = [f'class {index}' for index in range(CLASSES)]


@cache
def whole_image(grain: float) -> tuple[np.ndarray, np.ndarray, Evaluator]:
    labels, mask = pair(3, (420, 631), grain)
    return labels, mask, measured(labels, mask, 1000)


@pytest.mark.parametrize('side', [37, pytest.param(64, marks=pytest.mark.slow), 200])
@pytest.mark.parametrize('grain', [1.0, 12.0])
def test_blocks_give_the_same_figures(side: int, grain: float) -> None:
    labels, mask, whole = whole_image(grain)
    blocks = measured(labels, mask, side)
    assert Figures(NAMES).of(whole) == Figures(NAMES).of(blocks)
    # The margins matter in these pictures: otherwise the test would prove nothing.
    assert whole.boundary_accuracy.margin(labels.shape) == 3
    assert whole.boundary_ious[0].margin(labels.shape) == 15
    assert 0.1 < whole.boundary_f.mean_f()[0] < 0.95


def test_without_a_margin_the_figures_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, mask = pair(3, (160, 200))
    whole = Figures(NAMES).of(measured(labels, mask, 1000))
    monkeypatch.setattr(Block, 'within', lambda block, margin: _without_surroundings(block))
    blocks = Figures(NAMES).of(measured(labels, mask, 37))
    for name in ('boundary_iou', 'boundary_f', 'mean_boundary_accuracy'):
        assert whole[name] != blocks[name], name
    assert whole['iou'] == blocks['iou']


def _without_surroundings(block: Block) -> Block:
    return Block.whole(block.part(block.labels), block.part(block.mask))


def test_several_images_add_up() -> None:
    results = Evaluator(CLASSES, StageClock())
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    for seed, size in ((0, (50, 60)), (9, (70, 31))):
        labels, mask = pair(seed, size)
        with MemmapMask(size) as stored:
            stored.append(mask[:20])
            stored.append(mask[20:])
            results.add(ArraySample(str(seed), np.zeros((*size, 3), np.uint8), labels), stored)
        single = measured(labels, mask, 1000)
        counts += single.matrix.counts
        assert results.images[-1].mean_iou == single.matrix.mean_iou()
        assert results.boundary_accuracy.per_image[-1] == single.boundary_accuracy.value()
    assert np.array_equal(results.matrix.counts, counts)
    assert [image.name for image in results.images] == ['0', '9']
    assert results.boundary_accuracy.value() == np.mean(results.boundary_accuracy.per_image)


def test_blocks_cover_an_image_once_and_know_their_surroundings() -> None:
    size, covered = (50, 70), np.zeros((50, 70), int)
    ids = np.arange(3500).reshape(size) % 251

    def read(window: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        top, left, height, width = window
        assert 0 <= top <= top + height <= 50
        assert 0 <= left <= left + width <= 70
        part = ids[top : top + height, left : left + width]
        return part, part

    for block in blocks_of(size, 9, read, side=32):
        top, left, height, width = block.place
        covered[top : top + height, left : left + width] += 1
        near = block.within(4)
        expected = ids[max(top - 4, 0) : top + height + 4, max(left - 4, 0) : left + width + 4]
        assert np.array_equal(near.labels, expected)
        assert np.array_equal(near.part(near.mask), ids[top : top + height, left : left + width])
    assert (covered == 1).all()
