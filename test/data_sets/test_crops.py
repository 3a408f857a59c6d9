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

"""Random crops: what they show, and that they are what the published pipeline gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from written import ids, picture

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.augmentation import Augmentation, AUGMENTATIONS
from uhr_seg_ros.data.crops import CropSampler, View
from uhr_seg_ros.data.image_io import Window
from uhr_seg_ros.data.sample import ArraySample, Crop, Sample
from uhr_seg_ros.synthetic.scenes import generate_scene

NEUTRAL = Augmentation(
    scale=(1.0, 1.0), brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0
)
#: Nothing but position and scale.
PLAIN = replace(NEUTRAL, symmetries=False)


class Watched(Crop):
    """A whole image that remembers the windows that were read."""

    def __init__(self, whole: Sample) -> None:
        super().__init__(whole, (0, 0, *whole.size))
        object.__setattr__(self, 'seen', [])

    def _image(self, window: Window) -> np.ndarray:
        self.seen.append(window)
        return super()._image(window)


def _mosaic(height: int, width: int, classes: int = 5, name: str = 'm') -> ArraySample:
    return ArraySample(name, picture(0, height, width), ids(0, height, width, classes))


def _crops(sampler: CropSampler, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [sampler.draw(np.random.default_rng(seed)) for seed in range(count)]


def test_crops_keep_image_and_labels_together() -> None:
    labels = ids(0, 320, 400, 5)
    sampler = CropSampler([ArraySample('m', np.stack([labels * 50] * 3, 2), labels)], 96, NEUTRAL)
    for image, crop in _crops(sampler, 20):
        assert image.shape == (96, 96, 3)
        assert image.dtype == crop.dtype == np.uint8
        assert np.array_equal(image[..., 0], crop * 50)


def test_the_same_seed_gives_the_same_crop_in_any_thread() -> None:
    sampler = CropSampler([_mosaic(200, 300)], 64, AUGMENTATIONS['aerial_strong'])
    first = _crops(sampler, 24)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda seed: sampler.draw(np.random.default_rng(seed)), range(24)))
    for (image, labels), (image_again, labels_again) in zip(first, again, strict=True):
        assert np.array_equal(image, image_again)
        assert np.array_equal(labels, labels_again)
    assert len({image.tobytes() for image, _ in first}) == 24


def test_crops_are_no_views_of_the_image() -> None:
    mosaic = _mosaic(64, 64)
    for image, labels in _crops(CropSampler([mosaic], 64, PLAIN), 4):
        assert not np.shares_memory(image, mosaic.image)
        assert not np.shares_memory(labels, mosaic.labels)


def test_images_in_proportion_to_their_area() -> None:
    small = ArraySample(
        's', np.zeros((40, 40, 3), np.uint8), np.tile(np.uint8([[0, 1]]), (40, 20))
    )
    large = ArraySample(
        'l', np.zeros((80, 80, 3), np.uint8), np.tile(np.uint8([[2, 3]]), (80, 40))
    )
    crops = _crops(CropSampler([small, large], 16, PLAIN), 200)
    assert np.mean([labels.min() == 2 for _, labels in crops]) == pytest.approx(0.8, abs=0.08)


def test_no_images() -> None:
    with pytest.raises(DataError, match='no images'):
        CropSampler([], 64)


@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize('scale', [0.5, 0.8, 1.25, 2.0])
def test_a_view_is_a_crop_of_the_whole_resized_image(scale: float, antialias: bool) -> None:
    """As published: resize the whole, then crop. Only the border may differ."""
    mosaic = _mosaic(200, 320)
    size = round(320 * scale), round(200 * scale)
    shrunk = cv2.INTER_AREA if antialias and scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(mosaic.image, size, interpolation=shrunk)
    labels = cv2.resize(mosaic.labels, size, interpolation=cv2.INTER_NEAREST)
    # Whole px of both: 40 px are 20, 32, 50 or 80.
    window = (40, 80, 80, 120)
    top, left, height, width = (round(side * scale) for side in window)
    expected = np.s_[top : top + height, left : left + width]
    view = View(mosaic, scale, 0.0, window, (height, width))
    part, part_labels = view.read(antialias=antialias)
    assert np.array_equal(part_labels, labels[expected])
    inside = np.s_[2:-2, 2:-2]
    difference = np.abs(part.astype(int) - image[expected])
    assert difference[inside].max() <= 1
    assert difference.mean() < 1


def test_only_the_window_is_read() -> None:
    """Of Inria's 5000x5000 px, fitted into 4000x4000, a crop of 64 px shows 80."""
    watched = Watched(_mosaic(500, 500))
    preset = replace(AUGMENTATIONS['inria'], fit=(400, 400))
    crops = _crops(CropSampler([watched], 64, preset), 20)
    assert {window[2:] for window in watched.seen} == {(80, 80)}
    # However many places were tried, one image is read for one crop.
    assert len(watched.seen) == len(crops)
    assert len({window[:2] for window in watched.seen}) == 20


def test_scales_of_cityscapes() -> None:
    watched = Watched(_mosaic(64, 128))
    sampler = CropSampler([watched], 64, AUGMENTATIONS['cityscapes'])
    fitted = replace(sampler.augmentation, fit=(128, 64))
    crops = _crops(CropSampler([watched], 64, fitted), 200)
    sides = np.array([window[3] for window in watched.seen])
    # A crop of 64 px at a scale of 0.5 to 2 shows 32 to 128 px, one half of them 51 or less.
    assert sides.min() < 34 and sides.max() > 110
    assert np.mean(sides <= 51) == pytest.approx(0.5, abs=0.1)
    # At a scale below 1 the image has fewer rows than the crop: they are padded.
    padded = np.array([(labels[-1] == 255).all() for _, labels in crops])
    assert np.array_equal(padded, np.array([window[3] for window in watched.seen]) > 64)
    for (image, labels), window in zip(crops, watched.seen, strict=True):
        rows = (labels != 255).any(1).sum()
        assert rows == min(64, round(64 * 64 / window[3])) or abs(rows - 64 * 64 / window[3]) < 2
        assert (image[rows:] == (104, 116, 124)).all()


def test_the_whole_image_is_fitted_inside_both_sides() -> None:
    watched = Watched(_mosaic(100, 300))
    sampler = CropSampler([watched], 20, replace(PLAIN, fit=(200, 100)))
    _crops(sampler, 5)
    # 300 px become 200.
    assert {window[2:] for window in watched.seen} == {(30, 30)}


def test_a_small_image_is_rotated_about_its_own_centre() -> None:
    mosaic = _mosaic(40, 50)
    turned = replace(PLAIN, rotation=1.0, angle=(180.0, 180.0))
    image, labels = CropSampler([mosaic], 64, turned).draw(np.random.default_rng(0))
    assert np.array_equal(labels[:40, :50], mosaic.labels[::-1, ::-1])
    assert (labels[40:] == 255).all() and (labels[:, 50:] == 255).all()
    assert (image[40:] == (104, 116, 124)).all()


def test_a_crop_larger_than_its_image_is_padded_as_unknown() -> None:
    labels = np.arange(4, dtype=np.uint8).repeat(8)[None].repeat(20, 0)
    sampler = CropSampler([ArraySample('m', np.stack([labels] * 3, 2), labels)], 64, NEUTRAL)
    for image, crop in _crops(sampler, 8):
        assert (crop != 255).sum() == labels.size
        assert (image[crop == 255] == (104, 116, 124)).all()


@pytest.mark.parametrize('preset', [NEUTRAL, replace(NEUTRAL, keep_image=True)])
def test_crops_avoid_one_class_alone(preset: Augmentation) -> None:
    labels = np.zeros((400, 400), np.uint8)
    labels[:, 330:] = np.tile(np.arange(1, 5, dtype=np.uint8), 100)[:, None]
    mosaic = ArraySample('m', np.zeros((400, 400, 3), np.uint8), labels)

    def alone(share: float) -> float:
        sampler = CropSampler([mosaic], 100, replace(preset, max_share=share))
        return float(np.mean([not crop.any() for _, crop in _crops(sampler, 40)]))

    assert alone(1.0) > 0.5
    assert alone(0.75) < 0.3


def test_crops_avoid_what_is_not_labelled() -> None:
    labels = np.full((400, 400), 255, np.uint8)
    labels[:, :200] = ids(0, 400, 200, 5)
    mosaic = ArraySample('m', np.zeros((400, 400, 3), np.uint8), labels)
    crops = _crops(CropSampler([mosaic], 100, NEUTRAL), 30)
    assert all((crop != 255).any() for _, crop in crops)


def test_another_try_stays_in_its_image_as_published() -> None:
    mixed = _mosaic(100, 100, name='mixed')
    one = ArraySample('one', np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.uint8))

    def share_of_one(keep: bool) -> float:
        sampler = CropSampler([mixed, one], 50, replace(PLAIN, keep_image=keep))
        return float(np.mean([not crop.any() for _, crop in _crops(sampler, 100)]))

    assert share_of_one(keep=True) == pytest.approx(0.5, abs=0.15)
    assert share_of_one(keep=False) < 0.05


def test_balanced_crops_show_rare_classes() -> None:
    labels = np.zeros((800, 800), np.uint8)
    labels[:, ::2] = 1
    labels[40:80, 40:80] = 2
    mosaic = ArraySample('m', np.zeros((800, 800, 3), np.uint8), labels)

    def shown(balanced: float) -> float:
        sampler = CropSampler([mosaic], 200, replace(PLAIN, balanced=balanced))
        return float(np.mean([(crop == 2).any() for _, crop in _crops(sampler, 80)]))

    assert shown(1.0) > 2 * shown(0.0)


def test_rotation() -> None:
    mosaic = _mosaic(400, 400)
    empty = []
    for fill in (False, True):
        turned = replace(PLAIN, rotation=1.0, angle=(45.0, 45.0), fill_corners=fill)
        # In the middle of the mosaic, so that there is ground around.
        sampler = CropSampler([Crop(mosaic, (100, 100, 200, 200))], 120, turned)
        crops = _crops(sampler, 10)
        empty.append(np.mean([(labels == 255).mean() for _, labels in crops]))
        assert all(labels.shape == (120, 120) for _, labels in crops)
    assert empty[0] == pytest.approx(0.172, abs=0.01)
    assert empty[1] == 0.0


def test_half_of_the_crops_are_rotated_and_flipped() -> None:
    labels = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
    mosaic = ArraySample('m', np.stack([labels] * 3, 2), labels)
    preset = replace(AUGMENTATIONS['deepglobe'], fit=(100, 100))
    crops = _crops(CropSampler([mosaic], 60, preset), 300)
    turned = [(labels == 255).any() or labels[0, 0] != labels[-1, 0] for _, labels in crops]
    assert np.mean(turned) == pytest.approx(0.5, abs=0.08)
    flipped = [
        labels[0, 0] > labels[0, -1]
        for (_, labels), is_turned in zip(crops, turned, strict=True)
        if not is_turned
    ]
    assert np.mean(flipped) == pytest.approx(0.5, abs=0.1)


def test_augmentation_changes_colours_not_labels() -> None:
    mosaic = ArraySample('m', *generate_scene(3, 128, 128))
    plain = _crops(CropSampler([mosaic], 128, NEUTRAL), 8)
    changed = _crops(CropSampler([mosaic], 128, Augmentation(scale=(1.0, 1.0))), 8)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(plain, changed, strict=True))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(plain, changed, strict=True))


def test_the_default_is_what_the_aerial_model_was_trained_with() -> None:
    """The choices of the default, made here one after the other."""
    mosaic = _mosaic(400, 500)
    sampler = CropSampler([mosaic], 96, replace(NEUTRAL, scale=Augmentation().scale, max_share=1))
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rng.choice(1, p=[1.0])
        side = round(96 / np.exp(rng.uniform(np.log(0.5), np.log(1.5))))
        top, left = int(rng.integers(400 - side + 1)), int(rng.integers(500 - side + 1))
        labels = mosaic.labels[top : top + side, left : left + side]
        labels = cv2.resize(labels, (96, 96), interpolation=cv2.INTER_NEAREST)
        labels = np.rot90(labels, int(rng.integers(4)))
        labels = labels[:, ::-1] if rng.random() < 0.5 else labels
        assert np.array_equal(sampler.draw(np.random.default_rng(seed))[1], labels)


@pytest.mark.parametrize('preset', ['aerial_strong', 'cityscapes', 'deform'])
def test_crops_that_are_wider_than_high(preset: str) -> None:
    labels = ids(0, 300, 420, 5)
    mosaic = ArraySample('m', np.stack([labels * 50] * 3, 2), labels)
    still = replace(
        AUGMENTATIONS[preset], fit=None, scale=(1.0, 1.0), shade=0.0, gamma=(1.0, 1.0), blur=0.0,
        noise=0.0, brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0, rotation=0.0,
    )  # fmt: skip
    for image, crop in _crops(CropSampler([mosaic], (48, 120), still), 12):
        assert image.shape == (48, 120, 3) and crop.shape == (48, 120)
        assert (crop < 5).all()
        assert np.array_equal(image[..., 0], crop * 50)
    turned = CropSampler([mosaic], (48, 120), AUGMENTATIONS['aerial_strong'])
    assert all((crop < 5).all() for _, crop in _crops(turned, 12))


def test_a_crop_of_the_image_whose_turn_it_is() -> None:
    images = [ArraySample(str(i), *_uniform(i)) for i in range(3)]
    sampler = CropSampler(images, 16, AUGMENTATIONS['deform'])
    for number in (2, 0, 1):
        _, labels = sampler.draw(np.random.default_rng(0), number)
        assert (labels == number).all()


def _uniform(value: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((20, 20, 3), value, np.uint8), np.full((20, 20), value, np.uint8)
