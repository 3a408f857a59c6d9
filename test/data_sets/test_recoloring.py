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

"""Recolouring changes one class and nothing else, and differs from crop to crop."""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.data.augmentation import Augmentation
from uhr_seg_ros.data.crops import CropSampler
from uhr_seg_ros.data.palettes import palettes_of, Tones
from uhr_seg_ros.data.photometric import recolour
from uhr_seg_ros.data.sample import ArraySample

WATER = 4
#: Changes nothing by itself.
STILL = Augmentation(
    scale=(1.0, 1.0), brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0
)


def mosaic() -> ArraySample:
    """Grey noise, the left half of it water."""
    rng = np.random.default_rng(0)
    labels = np.ones((96, 128), np.uint8)
    labels[:, :64] = WATER
    return ArraySample('m', rng.integers(90, 110, (96, 128, 1), np.uint8).repeat(3, 2), labels)


def test_the_region_alone_changes() -> None:
    image, region = mosaic().image, mosaic().labels == WATER
    found = [recolour(image, region, np.random.default_rng(seed)) for seed in range(20)]
    assert all(each.dtype == np.uint8 and each.shape == image.shape for each in found)
    assert all(np.array_equal(each[~region], image[~region]) for each in found)
    colors = np.stack([each[region].mean(0) for each in found])
    assert (colors.std(0) > 5).all()
    again = recolour(image, region, np.random.default_rng(3))
    assert np.array_equal(again, found[3])


def test_waves_are_rougher_than_the_image() -> None:
    """Some crops get waves; without any, only the tint would differ, which is smooth."""
    flat = np.full((96, 128, 3), 100, np.uint8)
    region = np.ones((96, 128), bool)
    found = [recolour(flat, region, np.random.default_rng(seed)) for seed in range(20)]
    rough = [np.abs(np.diff(each[..., 1].astype(int), axis=1)).mean() for each in found]
    assert max(rough) > 2
    assert min(rough) < 0.5


def test_crops_are_recoloured_as_often_as_asked() -> None:
    plain = CropSampler([mosaic()], 64, STILL)
    for share, low, high in ((0.0, 0, 0), (0.5, 20, 80), (1.0, 100, 100)):
        sampler = CropSampler([mosaic()], 64, STILL, {WATER: share})
        changed = shown = 0
        for seed in range(100):
            image, labels = sampler.draw(np.random.default_rng(seed))
            other, same = plain.draw(np.random.default_rng(seed))
            assert np.array_equal(labels, same)
            assert np.array_equal(image[labels != WATER], other[labels != WATER])
            shown += WATER in labels
            changed += not np.array_equal(image, other)
        assert shown > 50
        assert low <= 100 * changed / shown <= high


def test_colors_are_those_of_the_class() -> None:
    """Natural water may be green, but never as red as tiles, nor vegetation blue."""
    names = ('building', 'water', 'vegetation', 'car')
    palettes = palettes_of(names, 'natural')
    assert set(palettes) == {0, 1, 2}  # of a class without a palette, any
    assert palettes_of(names, 'any') == {}
    rng = np.random.default_rng(0)
    for index, blue in ((1, True), (2, False)):
        drawn = [family.draw(rng) for family in palettes[index] for _ in range(50)]
        colored = [(hue, saturation) for hue, saturation, _ in drawn if saturation > 60]
        assert any(85 <= hue <= 125 for hue, _ in colored) == blue
        assert not any(130 <= hue <= 170 for hue, _ in colored)
    image = np.full((64, 64, 3), 128, np.uint8)
    red = [Tones((0, 0), (200, 200), (200, 200))]
    found = recolour(image, np.ones((64, 64), bool), rng, red, waves=0.0)
    assert found[..., 2].mean() > found[..., 0].mean() + 20


def test_crops_take_the_palette_of_their_class() -> None:
    red = {WATER: [Tones((0, 0), (255, 255), (220, 220))]}
    sampler = CropSampler([mosaic()], 64, STILL, {WATER: 1.0}, red)
    crops = [sampler.draw(np.random.default_rng(seed)) for seed in range(12)]
    means = [image[labels == WATER].mean(0) for image, labels in crops if (labels == WATER).any()]
    assert all(red >= blue - 2 for blue, _, red in means)
    assert max(red - blue for blue, _, red in means) > 20
