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

"""Symmetries, rotation, padding."""

from __future__ import annotations

import numpy as np
import pytest
from written import ids, picture

from uhr_seg_ros.core.bundle import IMAGENET_MEAN
from uhr_seg_ros.data.geometric import PAD, pad, rotate, take_symmetry

IMAGE, LABELS = picture(0, 64, 64), ids(0, 64, 64, 5)


def test_all_eight_symmetries_and_nothing_else() -> None:
    seen = set()
    for seed in range(60):
        image, labels = take_symmetry(IMAGE, LABELS, np.random.default_rng(seed))
        seen.add(image.tobytes())
        # What was moved to a place of the image was moved to the same place of the labels.
        both, _ = take_symmetry(np.stack([LABELS] * 3, 2), LABELS, np.random.default_rng(seed))
        assert np.array_equal(both[..., 0], labels)
    expected = {
        np.rot90(view, quarters).tobytes()
        for view in (IMAGE, IMAGE[:, ::-1])
        for quarters in range(4)
    }
    assert seen == expected


@pytest.mark.parametrize(('angle', 'quarters'), [(90.0, -1), (180.0, 2), (270.0, 1)])
def test_rotation_is_clockwise_about_the_centre(angle: float, quarters: int) -> None:
    image, labels = rotate(IMAGE, LABELS, angle, (64, 64))
    assert np.array_equal(labels, np.rot90(LABELS, quarters))
    assert np.abs(image.astype(int) - np.rot90(IMAGE, quarters)).max() <= 1


def test_corners_are_black_and_ignored() -> None:
    image, labels = rotate(np.full_like(IMAGE, 200), np.zeros_like(LABELS), 45.0, (64, 64))
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert not image[corner].any()
        assert labels[corner] == 255
    # The octagon that two squares share has 2 (sqrt 2 - 1) of the area of one.
    assert (labels == 0).mean() == pytest.approx(0.828, abs=0.01)
    assert np.array_equal(labels == 0, image[..., 0] >= 100)


def test_the_centre_is_kept() -> None:
    image, labels = rotate(IMAGE, LABELS, 180.0, (20, 30))
    assert np.array_equal(labels, LABELS[22:42, 17:47][::-1, ::-1])
    assert np.abs(image.astype(int) - IMAGE[22:42, 17:47][::-1, ::-1]).max() <= 1


def test_padding_is_zero_after_normalisation() -> None:
    assert tuple(round(mean) for mean in IMAGENET_MEAN[::-1]) == PAD
    image, labels = pad(IMAGE[:40, :50], LABELS[:40, :50], (64, 72))
    assert np.array_equal(image[:40, :50], IMAGE[:40, :50])
    assert np.array_equal(labels[:40, :50], LABELS[:40, :50])
    assert (image[40:] == PAD).all() and (image[:, 50:] == PAD).all()
    assert (labels[40:] == 255).all() and (labels[:, 50:] == 255).all()
    assert labels.shape == (64, 72)
