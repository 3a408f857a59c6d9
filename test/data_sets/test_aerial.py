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

"""The aerial mosaics: split file, shared ground, a part held out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from written import ids, picture, SHARED, write

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.aerial import Aerial
from uhr_seg_ros.data.dataset import hold_out
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.sample import ArraySample, Crop

SIZE = (90, 120)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(('a', 'b', 'tile4', 'tile7')):
        write(tmp_path / 'images' / f'{name}.jpg', picture(seed, *SIZE))
        write(tmp_path / 'labels' / f'{name}.png', ids(seed, *SIZE, 5))
    _split(tmp_path, {'train': ['a', 'tile4', 'tile7'], 'test': ['b']})
    return tmp_path


def _split(root: Path, content: object) -> None:
    (root / 'split.json').write_text(json.dumps(content))


def test_reads_a_split(root: Path) -> None:
    data = open_dataset('aerial', root)
    assert data.splits == ('train', 'test')
    assert [image.name for image in data.images('train')] == ['a', 'tile4', 'tile7']
    (image,) = data.images('test')
    assert image.size == SIZE
    assert np.array_equal(image.read_labels(), ids(1, *SIZE, 5))
    with pytest.raises(DataError, match="no split 'val': train, test"):
        data.images('val')


@pytest.mark.parametrize(('folder', 'suffix'), [('images', 'jpg'), ('labels', 'png')])
def test_a_missing_file_is_named(root: Path, folder: str, suffix: str) -> None:
    (root / folder / f'a.{suffix}').unlink()
    with pytest.raises(DataError, match=rf'{folder}/a\.{suffix} cannot be read: No such file'):
        open_dataset('aerial', root).images('train')


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        ({'train': ['a', 'b'], 'test': ['b']}, 'b is in train, and b, the same ground, in test'),
        ({'train': ['tile4'], 'test': ['tile7']}, 'tile4 is in train, and tile7, the same ground'),
        ({'train': 'a'}, 'no mapping of splits to lists'),
        (['a'], 'is not a mapping'),
    ],
)
def test_wrong_split_files(root: Path, content: object, text: str) -> None:
    _split(root, content)
    with pytest.raises(DataError, match=rf'split\.json.*{text}'):
        open_dataset('aerial', root)


def test_unreadable_split_files(root: Path) -> None:
    _split(root, {'train': []})
    with pytest.raises(DataError, match=r"split\.json: split 'train' is empty"):
        open_dataset('aerial', root).images('train')
    (root / 'split.json').write_text('{')
    with pytest.raises(DataError, match=r'split\.json cannot be read \(line 1: '):
        open_dataset('aerial', root)
    (root / 'split.json').unlink()
    with pytest.raises(DataError, match=r'split\.json cannot be read'):
        open_dataset('aerial', root)


def test_hold_out_cuts_the_bottom_third() -> None:
    rows = np.repeat(np.arange(90, dtype=np.uint8)[:, None], 4, 1)
    images = [ArraySample(name, np.stack([rows] * 3, 2), rows) for name in 'mn']
    (rest, other), part = hold_out(images, 'm')
    assert other is images[1]
    assert (rest.name, rest.size, part.name, part.size) == ('m', (60, 4), 'm', (30, 4))
    assert rest.read_labels()[-1, 0] == 59
    assert part.read_labels()[[0, -1], 0].tolist() == [60, 89]
    assert part.read_image((1, 0, 2, 1))[:, 0, 0].tolist() == [61, 62]
    _, part = hold_out(images, 'm', share=0.1)
    assert part.size == (9, 4)


def test_hold_out_from_disk(root: Path) -> None:
    images = open_dataset('aerial', root).images('train')
    training, part = hold_out(images, 'a')
    assert np.array_equal(part.read_labels(), ids(0, *SIZE, 5)[60:])
    assert [image.size for image in training] == [(60, 120), SIZE, SIZE]
    assert [image.ground for image in training] == ['a', 'tile7', 'tile7']
    assert Crop(training[1], (0, 0, 9, 9)).ground == 'tile7'


def test_hold_out_refuses(root: Path) -> None:
    images = open_dataset('aerial', root).images('train')
    with pytest.raises(DataError, match="'x' to hold out is not among a, tile4, tile7"):
        hold_out(images, 'x')
    with pytest.raises(DataError, match="'tile4' to hold out shows ground that tile7 shows too"):
        hold_out(images, 'tile4')
    for share in (0.0, 1.0, 0.001):
        with pytest.raises(DataError, match=f'share {share} of .a. .90 rows. to hold out leaves'):
            hold_out(images, 'a', share)


def test_the_real_mosaics() -> None:
    root = SHARED / 'aerial'
    if not root.is_dir():
        pytest.skip('the aerial set is not in shared/data/ beside the clone')
    data = open_dataset('aerial', root)
    sizes = {i.name: i.size[::-1] for split in data.splits for i in data.images(split)}
    assert sizes == {
        'tile4': (3297, 2538),
        'tile6': (2577, 2514),
        'tile7': (5450, 6184),
        'tile8': (6447, 4438),
        'tile2': (1528, 1632),
        'tile5': (3378, 3174),
    }
    assert [image.name for image in data.images('test')] == ['tile2', 'tile5']
    for image in data.images('train'):
        for doubt in data.doubts.get(image.name, ()):
            labels = image.read_labels(doubt.window)
            assert set(doubt.class_ids) <= set(np.unique(labels))
    smallest = data.images('test')[0]
    image, labels = smallest.read()
    assert image.shape[:2] == labels.shape == smallest.size
    assert set(np.unique(labels)) <= {0, 1, 2, 3, 4, 255}
    window = (100, 200, 300, 400)
    assert np.array_equal(smallest.read(window)[0], image[100:400, 200:600])
    training = data.images('train')
    _, part = hold_out(training, 'tile6')
    assert part.size == (838, 2577)
    with pytest.raises(DataError, match='tile4, tile8 shows too'):
        hold_out(training, 'tile7')


def test_only_training_tiles_are_doubted() -> None:
    """The figures of the test split stay comparable."""
    assert set(Aerial.doubts) <= {'tile4', 'tile6', 'tile7', 'tile8'}
