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

"""The random walker against scikit-image, and where the answer is known."""

from __future__ import annotations

import cv2
import numpy as np
from pictures import coarse, picture, regions
import pytest
from skimage.segmentation import random_walker

from uhr_seg_ros.pipelines.refinement.random_walker import edge_weights, Walk, walk
from uhr_seg_ros.pipelines.refinement.thinning import thinned_band


def spread_out(found: Walk, size: tuple[int, int], classes: np.ndarray) -> np.ndarray:
    """Return probabilities (K, H, W), 0 outside the band."""
    result = np.zeros((len(classes), *size))
    flat = result.reshape(len(classes), -1)
    for index, each in enumerate(found.classes):
        flat[np.flatnonzero(classes == each)[0], found.pixels] = found.probabilities[:, index]
    return result


@pytest.mark.parametrize('beta', [30.0, 130.0, 500.0])
def test_equals_scikit_image(beta: float) -> None:
    truth = regions(150, 200)
    mask = coarse(truth)
    gray = cv2.cvtColor(picture(truth), cv2.COLOR_BGR2GRAY)
    band = thinned_band(mask, 3)
    found = walk(band, mask, gray, edge_weights(beta, gray.std()))
    labels = np.where(band, 0, mask.astype(int) + 1)
    wanted = random_walker(gray / 255.0, labels, beta, mode='bf', return_full_prob=True)
    ours = spread_out(found, band.shape, np.unique(mask))
    assert np.abs(ours - wanted)[:, band].max() < 1e-3
    same = ours.argmax(0) == wanted.argmax(0)
    assert same[band].mean() >= 0.999


def test_even_image_gives_straight_lines() -> None:
    # One row between two seeds: the probability falls evenly from one to the other.
    mask = np.array([[3, 3, 3, 3, 3, 8]], np.uint16)
    band = np.array([[False, True, True, True, True, False]])
    found = walk(band, mask, np.full((1, 6), 90, np.uint8), edge_weights(130.0, 20.0))
    assert list(found.classes) == [3, 8]
    assert np.allclose(found.probabilities[:, 0], [0.8, 0.6, 0.4, 0.2], atol=1e-6)
    assert np.allclose(found.probabilities.sum(1), 1.0)


def test_walkers_stay_where_the_image_has_an_edge() -> None:
    mask = np.array([[0, 0, 0, 0, 0, 1]], np.uint8)
    gray = np.array([[10, 10, 200, 200, 200, 200]], np.uint8)
    band = np.array([[False, True, True, True, True, False]])
    found = walk(band, mask, gray, edge_weights(130.0, 90.0))
    assert list(found.classes[found.probabilities.argmax(1)]) == [0, 1, 1, 1]


def test_band_without_seeds_keeps_its_classes() -> None:
    mask = np.full((4, 5), 2, np.uint8)
    found = walk(np.ones((4, 5), bool), mask, mask, edge_weights(130.0, 0.0))
    assert list(found.classes) == [2]
    assert (found.probabilities == 1).all()
    mask[:, 3:] = 7
    found = walk(np.ones((4, 5), bool), mask, np.zeros((4, 5), np.uint8), edge_weights(130.0, 1.0))
    assert np.isfinite(found.probabilities).all()
    assert set(found.classes) == {2, 7}


def test_contrast_of_everything_against_everything() -> None:
    # A chess board: no weight is above the least one.
    board = np.indices((30, 40)).sum(0) % 2
    mask = (np.indices((30, 40))[1] >= 20).astype(np.uint8)
    band = thinned_band(mask, 3)
    found = walk(band, mask, (255 * board).astype(np.uint8), edge_weights(1e5, 20.0))
    assert np.isfinite(found.probabilities).all()
    assert found.probabilities.min() > -1e-6
