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

"""A user's own data set, named as `module:attribute`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from written import ids, picture, write

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.datasets import is_dataset_name, open_dataset

SIZE = (48, 64)

#: As docs/extending.md shows it: a file of names for every split, labels that count from 1.
MODULE = """
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.pairing import Files


class Orchard(Dataset):
    name = 'orchard'
    classes = ClassSet(('tree', 'ground'), ((0, 128, 0), (128, 64, 0)))

    def __init__(self, root):
        super().__init__(root)
        self.splits = tuple(sorted(path.stem for path in self.root.glob('*.txt')))

    def files(self, split):
        names = (self.root / f'{split}.txt').read_text().split()
        return [Files(n, self.root / f'{n}.jpg', self.root / f'{n}_id.png') for n in names]

    def label_map(self, split):
        return LabelMap({0: 255, 1: 0, 2: 1})


def open(root):
    return Orchard(root)


def nothing(root):
    return None


class Bare(Dataset):
    name = 'bare'
    splits = ('all',)

    def files(self, split):
        return []
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    modules, root = tmp_path / 'modules', tmp_path / 'set'
    modules.mkdir()
    (modules / 'orchards.py').write_text(MODULE)
    monkeypatch.syspath_prepend(modules)
    for seed, name in enumerate('ab'):
        write(root / f'{name}.jpg', picture(seed, *SIZE))
        write(root / f'{name}_id.png', ids(seed, *SIZE, 2) + 1)
    (root / 'train.txt').write_text('a\n')
    (root / 'test.txt').write_text('b\n')
    return root


@pytest.mark.parametrize('name', ['orchards:open', 'orchards:Orchard'])
def test_images_and_labels_are_read(root: Path, name: str) -> None:
    data = open_dataset(name, root)
    assert data.splits == ('test', 'train')
    (image,) = data.images('test')
    assert (image.name, image.size) == ('b', SIZE)
    assert np.array_equal(image.read_labels(), ids(1, *SIZE, 2))


@pytest.mark.parametrize(
    'name, reason',
    [
        ('orchard:open', "dataset is 'orchard:open', but there is no module orchard: install"),
        ('orchards:close', 'orchards has no close'),
        ('orchards:Orchard.name', "which is 'orchard', expected a function or a class"),
        ('orchards:nothing', r'which returned None, expected uhr_seg_ros\.data\.dataset\.Dataset'),
        ('orchards:Bare', 'dataset orchards:Bare: classes is None, expected a .*ClassSet'),
    ],
)
def test_what_is_wrong_is_told(root: Path, name: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        open_dataset(name, root)


def test_names() -> None:
    assert is_dataset_name('aerial') and is_dataset_name('orchards:open')
    assert not (is_dataset_name('orchards') or is_dataset_name(None))


def test_evaluate(root: Path, tmp_path: Path) -> None:
    pytest.importorskip('onnx', reason='the tiny bundle is made with onnx')
    from tiny_bundle import make_tiny_bundle

    from uhr_seg_ros.cli.main import main

    (root / 'all.txt').write_text('a b\n')
    figures = tmp_path / 'figures.json'
    bundle = make_tiny_bundle(tmp_path / 'bundle', open_dataset('orchards:open', root).classes)
    command = ['evaluate', '--bundle', str(bundle), '--dataset', 'orchards:open']
    command += ['--root', str(root), '--split', 'all', '--json', str(figures)]
    assert main(command) == 0
    content = json.loads(figures.read_text())
    assert content['dataset'] == 'orchards:open'
    assert content['images'] == ['a', 'b']
    assert sum(map(sum, content['confusion'])) == 2 * SIZE[0] * SIZE[1]


def test_recipe(root: Path, tmp_path: Path) -> None:
    pytest.importorskip('torch', reason='recipes are read with the networks')
    import yaml

    from uhr_seg_ros.core.errors import TrainingError
    from uhr_seg_ros.training.config import read_config

    recipe = yaml.safe_load(
        (Path(__file__).parents[2] / 'config/train/hlrc_s_street.yaml').read_text()
    )
    path = tmp_path / 'recipe.yaml'
    for name in ('orchards:open', 'orchards'):
        recipe['data']['dataset'] = name
        path.write_text(yaml.safe_dump(recipe))
        if name == 'orchards:open':
            assert read_config(path).data.dataset == name
        else:
            with pytest.raises(
                TrainingError, match='dataset is .orchards., expected one of city.*'
            ):
                read_config(path)
