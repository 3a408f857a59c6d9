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

"""Outlines around many objects and wrong labels are left out; everything else stays."""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.data.label_noise import (
    blocks_of_buildings,
    larger_regions,
    MaskNoisyLabels,
    NoisyRegion,
)
from uhr_seg_ros.data.sample import ArraySample, Crop

HOUSE, LAND = 0, 1


def mosaic() -> ArraySample:
    """Land with a house of 4x5 px, a block of 20x30 px and two houses that meet in a corner."""
    labels = np.full((60, 90), LAND, np.uint8)
    labels[3:7, 4:9] = HOUSE
    labels[20:40, 30:60] = HOUSE
    labels[50:54, 70:74] = labels[54:58, 74:78] = HOUSE
    return ArraySample('m', np.zeros((60, 90, 3), np.uint8), labels)


def test_only_the_block_is_ignored() -> None:
    whole = mosaic()
    expected = whole.labels.copy()
    expected[20:40, 30:60] = 255
    image = MaskNoisyLabels(whole, {HOUSE: 32})
    assert (image.name, image.ground, image.size) == ('m', 'm', (60, 90))
    assert np.array_equal(image.read_labels(), expected)
    assert np.array_equal(image.read_image(), whole.image)


def test_limit_is_the_largest_region_that_stays() -> None:
    region = mosaic().labels == HOUSE
    assert not larger_regions(region, 600).any()
    assert larger_regions(region, 599).sum() == 600
    # The two that meet in a corner are one region of 32 px.
    assert larger_regions(region, 31).sum() == 632
    assert larger_regions(region, 19).sum() == 652


def test_windows_are_those_of_the_whole() -> None:
    image = MaskNoisyLabels(mosaic(), {HOUSE: 32, LAND: 10})
    labels = image.read_labels()
    assert (labels[10] == 255).all()
    for window in ((0, 0, 60, 90), (19, 29, 22, 32), (25, 33, 3, 1), (59, 89, 1, 1), (0, 8, 7, 8)):
        top, left, height, width = window
        part = labels[top : top + height, left : left + width]
        assert np.array_equal(image.read_labels(window), part)
        assert np.array_equal(Crop(image, window).read_labels(), part)


def test_regions_are_those_of_the_whole_image() -> None:
    """A window that cuts a house off a block does not make it a house."""
    image = MaskNoisyLabels(mosaic(), {HOUSE: 32})
    assert (image.read_labels((20, 30, 4, 4)) == 255).all()


def test_only_the_doubted_classes_are_ignored_in_a_window() -> None:
    whole = mosaic()
    expected = whole.labels.copy()
    expected[20:30, 30:60] = 255
    image = MaskNoisyLabels(whole, {}, [NoisyRegion((15, 20, 15, 70), (HOUSE,))])
    assert np.array_equal(image.read_labels(), expected)
    both = MaskNoisyLabels(whole, {HOUSE: 599}, [NoisyRegion((0, 0, 10, 90), (HOUSE, LAND))])
    expected[20:40, 30:60] = expected[:10] = 255
    assert np.array_equal(both.read_labels(), expected)


def test_blocks_are_told_from_roofs_by_what_is_inside() -> None:
    """A hall of 80x80 px is plain but for ribs; a block of the same size is full of houses."""
    labels = np.full((100, 300), LAND, np.uint8)
    hall, block, hut = np.s_[10:90, 10:90], np.s_[10:90, 110:190], np.s_[40:60, 240:260]
    image = np.full((100, 300, 3), 150, np.uint8)
    for place in (hall, block, hut):
        labels[place] = HOUSE
    image[10:90, 10:90:26] = 190
    yards = np.indices((80, 80)).sum(0) // 4 % 2 * 90 + 80
    image[block] = yards[..., None]
    image[hut] = yards[:20, :20, None]
    found = blocks_of_buildings(image, labels == HOUSE, 1000)
    assert found[block].all()
    assert found.sum() == 80 * 80  # not the hall; the hut is too small to be one
    ignored = MaskNoisyLabels(ArraySample('m', image, labels), {}, (), {HOUSE: 1000})
    assert np.array_equal(ignored.read_labels() == 255, found)
