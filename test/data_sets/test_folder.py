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

"""The generic folder set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written import ids, picture, write
import yaml

from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.datasets import open_dataset

SIZE = (48, 64)
CLASSES = [{'name': 'road', 'color': [1, 2, 3]}, {'name': 'field', 'color': [4, 5, 6]}]


def _write(root: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        write(root / 'images' / f'{name}.jpg', picture(seed, *SIZE))
        write(root / 'labels' / f'{name}.png', ids(seed, *SIZE, 2))


def _describe(root: Path, **content: object) -> None:
    root.mkdir(exist_ok=True)
    (root / 'classes.yaml').write_text(
        yaml.safe_dump({'classes': CLASSES, **content}, sort_keys=False)
    )


def _names(root: Path) -> dict[str, list[str]]:
    data = open_dataset('folder', root)
    return {split: [image.name for image in data.images(split)] for split in data.splits}


def test_undivided(tmp_path: Path) -> None:
    _write(tmp_path, 'a', 'b')
    _describe(tmp_path)
    assert _names(tmp_path) == {'all': ['a', 'b']}
    data = open_dataset('folder', tmp_path)
    assert data.classes.names == ('road', 'field')
    assert data.classes.colors == ((1, 2, 3), (4, 5, 6))
    assert (data.ignored, data.reported) == ((), None)
    assert data.domain == Domain()
    _describe(tmp_path, domain={'view': 'forward', 'trained_on': 'a yard'})
    assert open_dataset('folder', tmp_path).domain == Domain(('forward',), trained_on='a yard')
    assert np.array_equal(data.images('all')[1].read_labels(), ids(1, *SIZE, 2))


def test_listed_splits(tmp_path: Path) -> None:
    _write(tmp_path, 'a', 'b', 'c', 'spare')
    _describe(tmp_path, splits={'train': ['c', 'a'], 'test': ['b']})
    assert _names(tmp_path) == {'train': ['c', 'a'], 'test': ['b']}


def test_sub_folders_as_splits(tmp_path: Path) -> None:
    _write(tmp_path, 'train/a', 'train/b', 'all/a')
    (tmp_path / 'images' / '.thumbnails').mkdir()
    _describe(tmp_path)
    assert _names(tmp_path) == {'all': ['a'], 'train': ['a', 'b']}


def test_ignored_and_reported_classes(tmp_path: Path) -> None:
    _write(tmp_path, 'a')
    _describe(tmp_path, ignored=['field'], reported='road')
    data = open_dataset('folder', tmp_path)
    assert (data.ignored, data.reported) == ((1,), 'road')


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        ({'classes': ['road']}, 'field classes needs entries such as'),
        ({'classes': [{'name': 'road', 'color': [1, 2]}]}, "class 'road': colour"),
        ({'ignored': ['x']}, "field ignored names the class 'x', known: road, field"),
        ({'ignored': 'road'}, "field ignored is 'road', expected a list"),
        ({'reported': 'x'}, "field reported names the class 'x', known: road, field"),
        ({'split': {}}, "unknown field 'split', known: classes, ignored, reported, splits"),
        ({'splits': ['a']}, r"field splits is \['a'\], expected lists of names"),
        ({'splits': {'train': 'a'}}, "field splits.train is 'a', expected a list of names"),
        ({'splits': {'train': []}}, r'field splits.train is \[\], expected a list of names'),
        ({'splits': {'train': ['a'], 'test': ['a']}}, "field splits: 'a' is in train and in test"),
        ({'classes': [{'name': str(i), 'color': [0] * 3} for i in range(256)]}, '256 classes, at'),
    ],
)
def test_wrong_descriptions(tmp_path: Path, content: dict, text: str) -> None:
    _write(tmp_path, 'a')
    _describe(tmp_path, **content)
    with pytest.raises(DataError, match=rf'classes\.yaml: {text}'):
        open_dataset('folder', tmp_path)


def test_missing_description(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'classes\.yaml cannot be read .* docs/data.md shows'):
        open_dataset('folder', tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    _describe(tmp_path)
    with pytest.raises(DataError, match='images is missing'):
        open_dataset('folder', tmp_path)
    (tmp_path / 'images').mkdir()
    (tmp_path / 'labels').mkdir()
    with pytest.raises(DataError, match='images holds no images: .* in .jpg, .jpeg, .png, .tif'):
        open_dataset('folder', tmp_path).images('all')
    _write(tmp_path, 'a', 'b')
    (tmp_path / 'labels' / 'b.png').unlink()
    with pytest.raises(DataError, match=r'b\.jpg has no labels: .*labels/b\.png is missing'):
        open_dataset('folder', tmp_path).images('all')
    (tmp_path / 'images' / 'b.jpg').unlink()
    (tmp_path / 'images' / 'a.jpg').rename(tmp_path / 'images' / 'c.jpg')
    _write(tmp_path, 'c')
    with pytest.raises(DataError, match=r'labels/a\.png has no image in .*images'):
        open_dataset('folder', tmp_path).images('all')


def test_a_listed_image_is_missing(tmp_path: Path) -> None:
    _write(tmp_path, 'a')
    _describe(tmp_path, splits={'train': ['a', 'z']})
    with pytest.raises(DataError, match=r"classes\.yaml: splits names 'z', and .*images has no"):
        open_dataset('folder', tmp_path).images('train')


def test_ambiguous_folders(tmp_path: Path) -> None:
    _write(tmp_path, 'train/a', 'b')
    _describe(tmp_path)
    with pytest.raises(DataError, match=r'b\.jpg lies beside the folders of splits \(train\)'):
        open_dataset('folder', tmp_path)
    (tmp_path / 'images' / 'b.jpg').unlink()
    write(tmp_path / 'images' / 'train' / 'a.png', picture(0, *SIZE))
    with pytest.raises(DataError, match=r'a\.jpg and .*a\.png have the same name: keep one'):
        open_dataset('folder', tmp_path).images('train')
    (tmp_path / 'images' / 'train' / 'a.png').unlink()
    _write(tmp_path, 'train/deeper/a')
    with pytest.raises(DataError, match=r'have the same name: rename one'):
        open_dataset('folder', tmp_path).images('train')
