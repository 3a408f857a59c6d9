# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Reading mosaics and cutting crops."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from uhr_seg_ros.data.aerial import AerialSet, DataError, hold_out, Mosaic
from uhr_seg_ros.data.crops import Augmentation, CropSampler
from uhr_seg_ros.data.scenes import generate_scene

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'aerial'
NEUTRAL = Augmentation(
    scale=(1.0, 1.0), brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for index, name in enumerate(('a', 'b')):
        image, labels = generate_scene(index, 90, 120)
        cv2.imwrite(str(tmp_path / 'images' / f'{name}.jpg'), image)
        cv2.imwrite(str(tmp_path / 'labels' / f'{name}.png'), labels)
    (tmp_path / 'split.json').write_text(json.dumps({'train': ['a'], 'test': ['b']}))
    return tmp_path


def test_reads_a_split(root: Path) -> None:
    (mosaic,) = AerialSet(root).load('test')
    assert mosaic.name == 'b'
    assert mosaic.image.shape == (90, 120, 3)
    assert np.array_equal(mosaic.labels, generate_scene(1, 90, 120)[1])


def test_missing_label_names_the_file(root: Path) -> None:
    (root / 'labels' / 'a.png').unlink()
    with pytest.raises(DataError, match=r'labels/a\.png is missing'):
        AerialSet(root).load('train')


def test_undecodable_image(root: Path) -> None:
    (root / 'images' / 'a.jpg').write_bytes(b'no jpeg')
    with pytest.raises(DataError, match=r'a\.jpg cannot be decoded'):
        AerialSet(root).load('train')


def test_size_mismatch(root: Path) -> None:
    cv2.imwrite(str(root / 'labels' / 'a.png'), np.zeros((5, 6), np.uint8))
    with pytest.raises(DataError, match=r'a\.png is \(5, 6\)'):
        AerialSet(root).load('train')


def test_value_out_of_range(root: Path) -> None:
    cv2.imwrite(str(root / 'labels' / 'a.png'), np.full((90, 120), 9, np.uint8))
    with pytest.raises(DataError, match='holds the value 9, expected 0 to 4 or 255'):
        AerialSet(root).load('train')


def test_missing_folder_and_leaking_split(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'nowhere/split\.json cannot be read'):
        AerialSet(tmp_path / 'nowhere')
    (root / 'split.json').write_text(json.dumps({'train': ['a', 'b'], 'test': ['b']}))
    with pytest.raises(DataError, match='b is in train and in test'):
        AerialSet(root)


def test_unknown_split(root: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'"):
        AerialSet(root).load('val')


def test_hold_out_cuts_the_bottom_third() -> None:
    rows = np.repeat(np.arange(90, dtype=np.uint8)[:, None], 4, 1)
    mosaic = Mosaic('m', np.stack([rows] * 3, 2), rows)
    (rest,), part = hold_out([mosaic], 'm')
    assert (rest.labels[-1, 0], part.labels[0, 0], part.labels[-1, 0]) == (59, 60, 89)
    with pytest.raises(DataError, match='not among m'):
        hold_out([mosaic], 'x')


def test_crops_keep_image_and_labels_together() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (40, 50), np.uint8).repeat(8, 0).repeat(8, 1)
    image = np.stack([labels * 50] * 3, 2)
    sampler = CropSampler([Mosaic('m', image, labels)], 96, NEUTRAL)
    for seed in range(20):
        crop, ids = sampler.draw(np.random.default_rng(seed))
        assert crop.shape == (96, 96, 3)
        assert np.array_equal(crop[..., 0], ids * 50)


def test_a_crop_larger_than_its_mosaic_is_padded_as_unknown() -> None:
    labels = np.arange(4, dtype=np.uint8).repeat(8)[None].repeat(20, 0)
    sampler = CropSampler([Mosaic('m', np.stack([labels] * 3, 2), labels)], 64, NEUTRAL)
    _, ids = sampler.draw(np.random.default_rng(0))
    assert (ids != 255).sum() == labels.size


def test_crops_avoid_one_class_alone() -> None:
    labels = np.zeros((400, 400), np.uint8)
    labels[:, 330:] = np.tile(np.arange(1, 5, dtype=np.uint8), 100)[:, None]
    sampler = CropSampler([Mosaic('m', np.zeros((400, 400, 3), np.uint8), labels)], 100, NEUTRAL)
    shares = [(sampler.draw(np.random.default_rng(s))[1] == 0).mean() for s in range(40)]
    assert np.mean(np.array(shares) == 1.0) < 0.5


def test_augmentation_changes_colours_not_labels() -> None:
    image, labels = generate_scene(3, 128, 128)
    plain = CropSampler([Mosaic('m', image, labels)], 128, NEUTRAL)
    strong = Augmentation(scale=(1.0, 1.0))
    changed = CropSampler([Mosaic('m', image, labels)], 128, strong)
    pairs = [
        (plain.draw(np.random.default_rng(s)), changed.draw(np.random.default_rng(s)))
        for s in range(8)
    ]
    assert any(not np.array_equal(a[0], b[0]) for a, b in pairs)
    counts = [[np.bincount(p[1].ravel(), minlength=5).tolist() for p in pair] for pair in pairs]
    assert all(first == second for first, second in counts)


def test_the_real_mosaics() -> None:
    if not SHARED.is_dir():
        pytest.skip(f'the real mosaics are not at {SHARED.name}/ beside the clone')
    data = AerialSet(SHARED)
    mosaic = data.read(data.splits['test'][0])
    assert mosaic.labels.shape == mosaic.image.shape[:2]
