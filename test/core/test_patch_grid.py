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

"""Cutting, contexts and merging: against the released implementation, and at their limits."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.patch_grid import Context, patch_starts, PatchGrid, place_in, reduced, WHOLE
from uhr_seg_ros.pipelines.logit_accumulator import LogitAccumulator

SIDE = 508
DATA = Path(__file__).resolve().parents[1] / 'data'


@pytest.fixture(scope='module')
def fixture() -> dict[str, Any]:
    """Return the arrays of the released implementation, and `meta`."""
    with np.load(DATA / 'fctl_cutting.npz') as stored:
        return {**stored, 'meta': json.loads(str(stored['meta']))}


def published_context(image: np.ndarray, factor: float, place: tuple[int, int]) -> np.ndarray:
    """Cut one context at a place that need not fit a reduced frame."""
    context = Context(factor, SIDE)
    rows, columns = (
        context.reduction(length, start)
        for length, start in zip(image.shape[:2], place, strict=True)
    )
    return reduced(image, rows, columns)


def published_places(size: tuple[int, ...]) -> list[tuple[int, int]]:
    rows, columns = (patch_starts(length, SIDE) for length in size[:2])
    return [(top, left) for top in rows for left in columns]


def test_grids(fixture: dict[str, Any]) -> None:
    for text, (rows, columns, row_step, column_step) in fixture['meta']['patch_info'].items():
        height, width = (int(length) for length in text.split()[0].split('x'))
        for length, count, step in ((height, rows, row_step), (width, columns, column_step)):
            starts = patch_starts(length, SIDE)
            assert len(starts) == count
            assert starts == [*(round(index * step) for index in range(count - 1)), length - SIDE]


def test_patches(fixture: dict[str, Any]) -> None:
    image = fixture['image_u8']
    for index, (top, left) in enumerate(published_places(image.shape)):
        patch = image[top : top + SIDE, left : left + SIDE]
        assert np.array_equal(patch.reshape(-1)[::193], fixture[f'patch{index}@193'])


def contexts_of(fixture: dict[str, Any]) -> Iterator[tuple[float, int, str]]:
    for key in fixture:
        if key.startswith('context'):
            factor, _, index = key.partition('@')[0].removeprefix('context').partition('_patch')
            yield float(factor), int(index), key


def test_contexts(fixture: dict[str, Any]) -> None:
    image = fixture['image_u8']
    places = published_places(image.shape)
    seen = 0
    for factor, index, key in contexts_of(fixture):
        found = published_context(image, factor, places[index]).reshape(-1)[::97]
        difference = np.abs(found.astype(int) - fixture[key])
        # Pillow rounds twice, and leaves out what lies just beyond a context: at 1.5 the frame
        # goes on there.
        assert difference.mean() < 0.11
        assert (difference > 1).mean() < 0.0015
        assert difference.max() <= 8
        seen += 1
    assert seen == 15


def test_merged_scores(fixture: dict[str, Any]) -> None:
    size = fixture['image_u8'].shape[:2]
    cutting = PatchGrid(*(patch_starts(length, SIDE) for length in size), size)
    sums = LogitAccumulator(size, 3, SIDE, cutting, ['logits', 'confidence'])
    scores = fixture['fake_scores_quarter'].repeat(4, 2).repeat(4, 3)
    for row in range(2):
        for column, left in enumerate(cutting.columns):
            sums.add(scores[2 * row + column], left)
        sums.finish(row)
    logits = sums.results['logits'].reshape(-1)[::29]
    assert np.abs(logits - fixture['merged_scores@29']).max() < 1e-5
    assert np.array_equal(sums.results['mask'], fixture['merged_argmax_u8'])
    overlaps = fixture['template@19']
    assert set(np.unique(overlaps)) == {1, 2, 4}
    places = np.arange(np.prod(size))[::19]
    mean = sums.results['logits'].reshape(3, -1)[:, places] / overlaps
    expected = 255 / np.exp(mean - mean.max(0)).sum(0)
    assert np.abs(sums.results['confidence'].reshape(-1)[places] - expected).max() <= 0.51


def test_a_whole_evaluation(fixture: dict[str, Any]) -> None:
    """The stand-in network of the fixture, from the image to the mask."""
    image = fixture['square_image_u8']
    size = image.shape[:2]
    cutting = PatchGrid(*(patch_starts(length, SIDE) for length in size), size)
    sums = LogitAccumulator(size, 3, SIDE, cutting, ['mask'])
    ramp = np.linspace(0, 1, SIDE, dtype=np.float32)
    for row, top in enumerate(cutting.rows):
        for left in cutting.columns:
            red, green, blue = np.moveaxis(image[top : top + SIDE, left : left + SIDE] / 255, 2, 0)
            medium = published_context(image, 2, (top, left)) / 255
            large = published_context(image, 3, (top, left)) / 255
            scores = [
                red * (0.5 + ramp) + 0.2 * medium[..., 1],
                green * (1.5 - ramp[:, None]) * 0.9 + 0.3 * large[..., 2],
                0.55 * blue + 0.25 * ramp,
            ]
            sums.add(np.stack(scores), left)
        sums.finish(row)
    same = sums.results['mask'] == fixture['evaluator_val_argmax_u8']
    assert same.mean() > 0.999


@pytest.mark.parametrize('factors', [(2, 3), (1.5, 4), (3, WHOLE)])
@pytest.mark.parametrize('size', [(700, 1000), (128, 200), (300, 128), (60, 333)])
def test_contexts_are_windows_of_reduced_frames(
    size: tuple[int, int], factors: tuple[float, float]
) -> None:
    side = 128
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    contexts = {name: Context(f, side) for name, f in zip('ab', factors, strict=True)}
    cutting = PatchGrid.of(size, side, contexts)
    assert all(padded >= length for padded, length in zip(cutting.size, size, strict=True))
    for context in contexts.values():
        if context.is_whole:
            continue
        frame = reduced(image, *context.of_frame(size, cutting.size))
        for top in cutting.rows:
            for left in cutting.columns:
                row, column = context.start((top, left))
                window = frame[row : row + side, column : column + side]
                alone = [
                    context.reduction(length, start)
                    for length, start in zip(size, (top, left), strict=True)
                ]
                assert np.array_equal(window, reduced(image, *alone))


def test_a_reduced_frame_is_a_mean() -> None:
    image = np.full((300, 500, 3), 77, np.uint8)
    context = Context(WHOLE, 100)
    assert np.array_equal(
        reduced(image, *context.of_frame((300, 500), (300, 500))),
        np.full((100, 100, 3), 77, np.uint8),
    )


def test_places() -> None:
    assert place_in((50, 100), 20, (200, 400)) == (0.25, 0.25, 0.1, 0.05)


@pytest.mark.parametrize('factor', [0.5, 9, 'half', float('nan'), 1.2345])
def test_a_factor_that_cannot_be_cut(factor: float | str) -> None:
    with pytest.raises(ConfigError, match=f'factor {factor!r} around patches of 508 px'):
        Context(factor, 508)


def test_half_a_pixel_of_border() -> None:
    with pytest.raises(ConfigError, match='sides are whole px'):
        Context(2, 509)
