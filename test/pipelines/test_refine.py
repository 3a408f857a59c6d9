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

"""Whole frames: tiles, time budget, and whether it helps."""

from __future__ import annotations

import threading

import cv2
import numpy as np
from pictures import coarse, picture, regions
import pytest
from skimage.segmentation import random_walker

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.pipelines.refinement import refine as refining
from uhr_seg_ros.pipelines.refinement.refine import refine, Refinement
from uhr_seg_ros.pipelines.refinement.thinning import thinned_band


def test_tiles_do_not_show() -> None:
    truth = regions(420, 450)
    mask, image = coarse(truth), picture(truth, texture=25.0)
    how = Refinement()
    band = thinned_band(mask, how.passes)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    labels = np.where(band, 0, mask.astype(int) + 1)
    wanted = random_walker(gray / 255.0, labels, how.beta, mode='bf') - 1
    found = refine(mask, image, how)
    assert found.share == 1.0
    assert (found.mask == wanted)[band].mean() >= 0.999
    assert (found.mask == mask)[~band].all()


def test_threads_are_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = regions(420, 450)
    mask, image = coarse(truth), picture(truth)
    walk, seen = refining.walk, set()

    def noting(*arguments: np.ndarray) -> object:
        seen.add(threading.get_ident())
        return walk(*arguments)

    monkeypatch.setattr(refining, 'walk', noting)
    alone = refine(mask, image, Refinement(), threads=1)
    assert len(seen) == 1
    np.testing.assert_array_equal(refine(mask, image, Refinement(), threads=3).mask, alone.mask)
    assert len(seen) <= 4


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_boundaries_move_to_the_truth(dtype: type) -> None:
    truth = regions(200, 300)
    mask = coarse(truth).astype(dtype)
    before = mask.copy()
    found = refine(mask, picture(truth), Refinement()).mask
    assert found.dtype == dtype
    assert (mask == before).all()
    assert (found != truth).sum() < 0.5 * (mask != truth).sum()


def test_budget_keeps_the_rest() -> None:
    truth = regions(600, 600)
    mask, image = coarse(truth), picture(truth)
    found = refine(mask, image, Refinement(budget_ms=1e-3))
    assert found.share == 0.0
    assert (found.mask == mask).all()
    assert refine(mask, image, Refinement(budget_ms=1e6)).share == 1.0


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (7, 1), (192, 193), (385, 20)])
def test_any_size(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).integers(0, 4, size, np.uint8)
    found = refine(mask, picture(mask), Refinement())
    assert found.mask.shape == size
    assert found.share == 1.0
    assert set(np.unique(found.mask)) <= set(np.unique(mask))


def test_nothing_to_do() -> None:
    mask = np.full((50, 60), 3, np.uint8)
    found = refine(mask, picture(mask), Refinement())
    assert (found.mask == 3).all()
    assert found.share == 1.0


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'passes': 0}, 'passes of thinning are 0, expected 1 to 64'),
        ({'beta': 0.0}, 'beta is 0.0, expected a number above 0'),
        ({'beta': float('nan')}, 'beta is nan'),
        ({'budget_ms': -1.0}, 'time budget is -1.0 ms'),
    ],
)
def test_options_that_mean_nothing(options: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Refinement(**options)


def test_libraries_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refining, 'find_spec', lambda name: None)
    mask = regions(20, 20)
    text = 'needs scipy and threadpoolctl: pip install scipy threadpoolctl'
    with pytest.raises(ConfigError, match=text):
        refine(mask, picture(mask), Refinement())
