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
"""Splits by ground: no image of a ground is on both sides, whatever split it is in."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.datasets import open_dataset, read_roots


def write(folder: Path, names: list[str]) -> Path:
    for kind, suffix in (('images', 'jpg'), ('labels', 'png')):
        (folder / kind).mkdir(parents=True)
        for name in names:
            shape = (16, 16, 3) if kind == 'images' else (16, 16)
            cv2.imwrite(str(folder / kind / f'{name}.{suffix}'), np.ones(shape, np.uint8))
    return folder


@pytest.fixture
def mosaics(tmp_path: Path) -> Path:
    names = ['tile4', 'tile6', 'tile7', 'tile2']
    root = write(tmp_path / 'set', names)
    splits = {'train': names[:3], 'test': names[3:]}
    (root / 'split.json').write_text(json.dumps(splits))
    return root


def test_grounds(mosaics: Path) -> None:
    dataset = open_dataset('aerial', mosaics)
    grounds = {'tile7': ['tile4', 'tile7'], 'tile6': ['tile6'], 'tile2': ['tile2']}
    assert dataset.grounds() == grounds
    for ground, names in grounds.items():
        own = [image.name for image in dataset.images(f'ground={ground}')]
        others = [image.name for image in dataset.images(f'ground!={ground}')]
        assert own == names
        assert sorted(own + others) == ['tile2', 'tile4', 'tile6', 'tile7']
    assert [image.name for image in dataset.images('image=tile4')] == ['tile4']


def test_unknown_ones_are_named(mosaics: Path) -> None:
    dataset = open_dataset('aerial', mosaics)
    for choice, text in (
        ('ground=tile4', "no ground 'tile4'.*tile7, tile6, tile2"),
        ('ground!=x', "no ground 'x'"),
        ('image=x', "no image 'x'.*tile4, tile6, tile7, tile2"),
    ):
        with pytest.raises(DataError, match=text):
            dataset.images(choice)
    (mosaics / 'split.json').write_text(json.dumps({'train': ['tile4', 'tile7']}))
    with pytest.raises(DataError, match='empty: all images show tile7'):
        open_dataset('aerial', mosaics).images('ground!=tile7')


def test_years_of_farmland(tmp_path: Path) -> None:
    root = write(tmp_path / 'set', ['fields_2009', 'fields_2010', 'fields_2014'])
    for path in (root / 'images').iterdir():
        path.rename(path.with_suffix('.png'))
    dataset = open_dataset('fields', root)
    found = {split: [image.name for image in dataset.images(split)] for split in dataset.splits}
    assert found == {'odd': ['fields_2009'], 'even': ['fields_2010', 'fields_2014']}
    # Another year of a place is the same ground.
    assert list(dataset.grounds()) == ['fields']
    for kind in ('images', 'labels'):
        (root / kind / 'fields_2010.png').rename(root / kind / 'summer.png')
    with pytest.raises(DataError, match='summer.png is not named by its year'):
        open_dataset('fields', root)


def test_folders_of_further_sets() -> None:
    assert read_roots(['fields=/a=b', 'mine:data=x']) == {
        'fields': Path('/a=b'),
        'mine:data': Path('x'),
    }
    for texts in (['fields'], ['moon=/a'], ['fields='], ['fields=a', 'fields=b']):
        with pytest.raises(DataError, match=f'--also is .{texts[-1]}'):
            read_roots(texts)
