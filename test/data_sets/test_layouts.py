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

"""Sets with a folder for each split: Cityscapes, Inria, DeepGlobe and street."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from written import ids, picture, SHARED, write

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.datasets import DATASETS, open_dataset

#: Path of an image and of its labels, and the values that may be in them.
PLACES = {
    'cityscapes': (
        'leftImg8bit/{split}/ulm/ulm_{name}_leftImg8bit.png',
        'gtFine/{split}/ulm/ulm_{name}_gtFine_labelTrainIds.png',
        19,
    ),
    'inria': ('imgs/{split}/{name}_sat.tif', 'labels/{split}/{name}_mask.png', 2),
    'deepglobe': ('img_dir/{split}/{name}_sat.jpg', 'rgb2id/{split}/{name}_mask.png', 7),
    'street': ('{split}/images/{name}.jpg', '{split}/labels/{name}.png', 11),
}
SIZE = (48, 64)


@pytest.fixture(params=PLACES)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    return _make(request.param, tmp_path)


def _make(family: str, root: Path) -> Dataset:
    """Write two training images and a test image."""
    image, labels, classes = PLACES[family]
    for seed, (split, name) in enumerate((('train', 'a'), ('train', 'b'), ('test', 'c'))):
        write(root / image.format(split=split, name=name), picture(seed, *SIZE))
        write(root / labels.format(split=split, name=name), ids(seed, *SIZE, classes))
    return open_dataset(family, root)


def _path(data: Dataset, kind: int, split: str = 'train', name: str = 'b') -> Path:
    return data.root / PLACES[data.name][kind].format(split=split, name=name)


def test_splits_and_images(data: Dataset) -> None:
    assert data.splits == ('train', 'test')
    assert len(data.classes) == PLACES[data.name][2]
    first, second = data.images('train')
    assert (first.name[-1], second.name[-1]) == ('a', 'b')
    assert second.size == SIZE
    image, labels = second.read()
    assert np.array_equal(labels, ids(1, *SIZE, len(data.classes)))
    # JPEG changes values a little, and another image would differ a lot.
    assert np.abs(image.astype(int) - picture(1, *SIZE)).mean() < 4
    assert len(data.images('test')) == 1


def test_image_without_labels(data: Dataset) -> None:
    missing = _path(data, 1)
    missing.unlink()
    with pytest.raises(DataError) as caught:
        data.images('train')
    assert str(caught.value) == f'{_path(data, 0)} has no labels: {missing} is missing'


def test_labels_without_image(data: Dataset) -> None:
    for name in 'ab':
        write(_path(data, 1, 'test', name), ids(0, *SIZE, 2))
    with pytest.raises(DataError) as caught:
        data.images('test')
    folder = data.root / data.layout.images.format(split='test')
    text = f'{_path(data, 1, "test", "a")} has no image in {folder} (and 1 more)'
    assert str(caught.value) == text


def test_size_mismatch(data: Dataset) -> None:
    write(_path(data, 1), ids(1, 48, 63, 2))
    with pytest.raises(DataError, match=rf'{_path(data, 1)} is 48x63 px, its image .* 48x64'):
        data.images('train')


def test_value_out_of_range(data: Dataset) -> None:
    write(_path(data, 1), np.full(SIZE, 99, np.uint8))
    _, image = data.images('train')
    with pytest.raises(DataError, match=rf'{_path(data, 1)} holds the value 99, expected 0 to'):
        image.read()


def test_damaged_image(data: Dataset) -> None:
    _path(data, 0).write_bytes(b'no image')
    with pytest.raises(DataError, match=rf'{_path(data, 0)} cannot be read: its'):
        data.images('train')


def test_empty_split(data: Dataset) -> None:
    _path(data, 0, 'test', 'c').unlink()
    with pytest.raises(DataError, match='holds no images: expected names that end in '):
        data.images('test')


def test_missing_folders(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no split 'val': train, test"):
        data.images('val')
    folder = tmp_path / data.layout.labels.format(split='train')
    folder.rename(tmp_path / 'elsewhere')
    with pytest.raises(DataError, match=f'folder {folder} is missing'):
        data.images('train')
    (tmp_path / 'void').mkdir()
    with pytest.raises(DataError, match='void has no folder of images: expected at least one of'):
        open_dataset(data.name, tmp_path / 'void')
    with pytest.raises(DataError, match=f'nowhere is no folder: give the root .* {data.name} set'):
        open_dataset(data.name, tmp_path / 'nowhere')


def test_hidden_files_are_no_images(data: Dataset) -> None:
    hidden = _path(data, 0)
    hidden.with_name(f'._{hidden.name}').write_bytes(b'metadata of another system')
    assert len(data.images('train')) == 2


def test_unknown_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'ade20k' is unknown, known: cityscapes, inria, deepg"):
        open_dataset('ade20k', tmp_path)


def test_what_evaluation_has_to_know() -> None:
    assert {name: family.ignored for name, family in DATASETS.items() if family.ignored} == {
        'deepglobe': (0,)
    }
    assert {name: family.reported for name, family in DATASETS.items() if family.reported} == {
        'inria': 'building'
    }


def test_cityscapes_label_ids_become_train_ids(tmp_path: Path) -> None:
    data = _make('cityscapes', tmp_path)
    values = np.r_[np.arange(34), 255].astype(np.uint8)
    for name in 'ab':
        train_ids = _path(data, 1, 'train', name)
        train_ids.unlink()
        label_ids = train_ids.with_name(train_ids.name.replace('labelTrainIds', 'labelIds'))
        write(label_ids, np.resize(values, SIZE))
    labels = data.images('train')[0].read_labels()
    found = dict(zip(np.resize(values, SIZE).flat, labels.flat, strict=True))
    ignored = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255)
    assert all(found[value] == 255 for value in ignored)
    names = data.classes.names
    kept = {value: names[index] for value, index in found.items() if index != 255}
    assert (kept[7], kept[17], kept[26], kept[31], kept[33]) == (
        'road',
        'pole',
        'car',
        'train',
        'bicycle',
    )
    assert sorted(found[value] for value in kept) == list(range(19))
    write(label_ids, np.full(SIZE, 34, np.uint8))
    with pytest.raises(DataError, match='labelIds.png holds the value 34, expected 0 to 33 or'):
        data.images('train')[1].read()


def test_cityscapes_with_train_ids_of_a_part_is_incomplete(tmp_path: Path) -> None:
    data = _make('cityscapes', tmp_path)
    train_ids = _path(data, 1)
    train_ids.rename(train_ids.with_name('ulm_b_gtFine_labelIds.png'))
    with pytest.raises(DataError, match=r'ulm_b_gtFine_labelTrainIds\.png is missing'):
        data.images('train')


def test_a_mask_of_0_and_255_is_no_inria_mask(tmp_path: Path) -> None:
    data = _make('inria', tmp_path)
    write(_path(data, 1), 255 * ids(1, *SIZE, 2))
    with pytest.raises(DataError, match='value 255, expected 0 to 1 .*divide it by 255'):
        data.images('train')[1].read()


def test_colours_are_no_deepglobe_labels(tmp_path: Path) -> None:
    data = _make('deepglobe', tmp_path)
    write(_path(data, 1), picture(1, *SIZE))
    with pytest.raises(DataError, match=rf'{_path(data, 1)} cannot be read: it has 3 ch'):
        data.images('train')[1].read()


def test_void_of_the_street_is_ignored(tmp_path: Path) -> None:
    data = _make('street', tmp_path)
    write(_path(data, 1), np.resize(np.arange(12, dtype=np.uint8), SIZE))
    labels = data.images('train')[1].read_labels()
    assert np.unique(labels).tolist() == [*range(11), 255]


def test_the_real_street() -> None:
    root = SHARED / 'street'
    if not root.is_dir():
        pytest.skip('the street set is not in shared/data/ beside the clone')
    data = open_dataset('street', root)
    counts = {split: len(data.images(split)) for split in data.splits}
    assert counts == {'train': 367, 'val': 101, 'test': 233}
    for image in data.images('val'):
        assert image.size == (360, 480)
        assert set(np.unique(image.read_labels())) <= {*range(11), 255}
    labels = np.stack([image.read_labels() for image in data.images('train')])
    path = root / 'train' / 'labels' / f'{data.images("train")[0].name}.png'
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels[0] == 255, stored == 11)
    assert len(np.unique(labels)) == 12
