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

"""Test-time augmentation: views lead back to the image, and are averaged."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.evaluation.tta import averaged, softmax, View, VIEWS

IMAGE = np.random.default_rng(0).integers(0, 256, (7, 12, 3), np.uint8)


@pytest.mark.parametrize('view', VIEWS['all'])
def test_back_undoes_the_view(view: View) -> None:
    seen = view.of(IMAGE)
    assert seen.flags.c_contiguous
    assert seen.shape[:2] == ((7, 12) if view.turns % 2 == 0 else (12, 7))
    assert np.array_equal(view.back(seen.transpose(2, 0, 1)), IMAGE.transpose(2, 0, 1))


def test_the_views_are_different_ones() -> None:
    square = IMAGE[:7, :7]
    assert len({view.of(square).tobytes() for view in VIEWS['all']}) == 8
    flipped = VIEWS['flip'][1].of(IMAGE)
    assert np.array_equal(flipped, IMAGE[:, ::-1])
    assert [len(views) for views in VIEWS.values()] == [1, 2, 8]


def by_place(image: np.ndarray) -> np.ndarray:
    """Logits of two classes that depend on the pixel and on where it lies in the view."""
    gray = image.mean(2, dtype=np.float32) / 64
    ramp = np.linspace(0, 2, gray.size, dtype=np.float32).reshape(gray.shape)
    return np.stack([gray, ramp])


def test_probabilities_are_averaged() -> None:
    total = np.zeros((2, 7, 12))
    for turns in range(4):
        for flip in (False, True):
            seen = np.rot90(IMAGE, turns)
            logits = by_place(np.fliplr(seen) if flip else seen)
            shares = np.exp(logits) / np.exp(logits).sum(0)
            shares = shares[..., ::-1] if flip else shares
            total += np.rot90(shares, -turns, axes=(1, 2))
    found = averaged(IMAGE, VIEWS['all'], by_place)
    assert found == pytest.approx(total / 8, abs=1e-6)
    assert found.sum(0) == pytest.approx(np.ones((7, 12)), abs=1e-6)


def test_one_view_gives_the_logits() -> None:
    assert np.array_equal(averaged(IMAGE, VIEWS['none'], by_place), by_place(IMAGE))


def test_softmax_of_large_logits() -> None:
    found = softmax(np.array([1000, 1000, -1000], np.float32).reshape(3, 1, 1))
    assert found.ravel().tolist() == [0.5, 0.5, 0]
