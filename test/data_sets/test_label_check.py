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

"""All labels are looked at beforehand: masks of 0 and 255, wrong values, damage, nothing there."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from written import ids, picture, write
import yaml

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.dataset import Dataset
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.label_check import checked_images, Share, show_shares
from uhr_seg_ros.data.label_noise import MaskNoisyLabels
from uhr_seg_ros.data.sample import ArraySample, Crop

SIZE = (40, 56)
NAMES = ('ground', 'house', 'water')


def folder_set(root: Path, classes: int = 2, **labels: Sequence[int]) -> Dataset:
    """Write a folder set: ``split_name`` -> the values that its labels hold, in equal parts."""
    described = [{'name': name, 'color': [0, 0, 0]} for name in NAMES[:classes]]
    root.mkdir(exist_ok=True)
    (root / 'classes.yaml').write_text(yaml.safe_dump({'classes': described}))
    for seed, (name, values) in enumerate(labels.items()):
        place = name.replace('_', '/')
        write(root / f'images/{place}.png', picture(seed, *SIZE))
        write(root / f'labels/{place}.png', np.resize(np.array(values, np.uint8), SIZE))
    return open_dataset('folder', root)


def check(data: Dataset) -> list[str]:
    return checked_images(data, data.splits)[1]


@pytest.mark.parametrize('classes', [2, 3])
@pytest.mark.parametrize('values', [(0, 255), (255,)])
def test_masks_of_0_and_255_are_refused(
    tmp_path: Path, values: tuple[int, ...], classes: int
) -> None:
    data = folder_set(tmp_path, classes, all_a=(0, 255), all_b=values)
    with pytest.raises(DataError) as caught:
        check(data)
    text = str(caught.value)
    assert f'{tmp_path}/labels/all/a.png, hold no value but 0 and 255' in text
    assert f'no pixel is labelled {", ".join(NAMES[1:classes])}' in text
    assert 'divide by 255; docs/data.md has a command' in text


def test_everything_is_255(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='hold no value but 255, so that no pixel is labelled gro'):
        check(folder_set(tmp_path, all_a=(255,)))


def test_255_that_is_ignored_stays_so(tmp_path: Path) -> None:
    assert check(folder_set(tmp_path / 'a', all_a=(0, 255), all_b=(0, 1, 255))) == []
    assert check(folder_set(tmp_path / 'b', train_a=(0, 1, 255), val_b=(0, 255))) == []
    # Only one of the splits is asked for: the other one tells.
    data = folder_set(tmp_path / 'c', train_a=(0, 1, 255), val_b=(0, 255))
    assert checked_images(data, ['val'])[1] == []
    assert check(folder_set(tmp_path / 'd', 1, all_a=(0, 255))) == []
    assert check(folder_set(tmp_path / 'e', 3, all_a=(0, 1, 255))) == []


def test_a_split_of_masks_beside_one_of_ids(tmp_path: Path) -> None:
    data = folder_set(tmp_path, train_a=(0, 1), val_b=(0, 255))
    with pytest.raises(DataError, match=r'split val of .*labels/val/b\.png, hold no value but 0'):
        check(data)
    with pytest.raises(DataError, match=r'split val of .*labels/val/b\.png, hold no value but 0'):
        checked_images(data, ['val'])


def test_a_few_masks_among_ids_are_told(tmp_path: Path) -> None:
    (warning,) = check(folder_set(tmp_path, all_a=(0, 1), all_b=(0, 255), all_c=(0, 255)))
    assert 'split all: 2 of 3 label files hold no value but 0 and 255, such as' in warning
    assert 'labels/all/b.png, while the others hold classes and no 255' in warning


@pytest.mark.parametrize(
    ('values', 'text'),
    [
        ((0, 254), r'value 254, expected 0 to 1 or 255 \(a mask of 0 and 254: divide it by 254'),
        ((0, 128), r'value 128, expected .* \(a mask of 0 and 128: divide it by 128'),
        ((1, 2), r'the value 2, .* \(ids start at 0, these at 1: subtract 1\)'),
        ((0, 1, 7), r'the value 7, expected 0 to 1 or 255$'),
        ((0, 2, 3), r'the values 2, 3, expected 0 to 1 or 255$'),
        (range(30, 90), r'values 30, 31, 32, 33, 34, 35, 36, 37 and 52 more, .* \(grey levels'),
    ],
)
def test_other_values_and_what_they_may_be(
    tmp_path: Path, values: Sequence[int], text: str
) -> None:
    with pytest.raises(DataError, match=text):
        check(folder_set(tmp_path, all_a=values, all_b=(0, 1)))


def test_inria_has_no_value_that_is_ignored(tmp_path: Path) -> None:
    pytest.importorskip('tifffile', reason='the images of Inria are TIFF files')
    for name, values in {'a': (0, 255), 'b': (0, 1), 'c': (0, 1, 255)}.items():
        write(tmp_path / f'imgs/train/{name}_sat.tif', picture(0, *SIZE))
        write(tmp_path / f'labels/train/{name}_mask.png', np.resize(np.uint8(values), SIZE))
    with pytest.raises(DataError) as caught:
        check(open_dataset('inria', tmp_path))
    _, first, second = str(caught.value).splitlines()
    assert 'a_mask.png holds the value 255, expected 0 to 1 (a mask of 0 and 255' in first
    assert second.endswith('c_mask.png holds the value 255, expected 0 to 1')


def test_every_bad_file_is_named_at_once(tmp_path: Path) -> None:
    data = folder_set(
        tmp_path,
        train_good=(0, 1),
        train_value=(0, 9),
        train_size=(0, 1),
        train_damaged=(0, 1),
        train_header=(0, 1),
        val_value=(3,),
    )
    write(tmp_path / 'labels/train/size.png', ids(0, 40, 55, 2))
    damaged = tmp_path / 'labels/train/damaged.png'
    damaged.write_bytes(damaged.read_bytes()[:60])
    (tmp_path / 'labels/train/header.png').write_bytes(b'no picture')
    with pytest.raises(DataError) as caught:
        check(data)
    head, *lines = str(caught.value).splitlines()
    assert head == f'splits train, val of {tmp_path}: 5 files cannot be used'
    for text in (
        'train/value.png holds the value 9',
        'val/value.png holds the value 3',
        'train/size.png is 40x55 px',
        'train/damaged.png',
        'train/header.png',
    ):
        assert sum(text in line for line in lines) == 1, text
    assert 'good.png' not in str(caught.value)


def test_the_list_of_bad_files_is_bounded(tmp_path: Path) -> None:
    names = {f'all_{number:02}': (0, 9) for number in range(23)}
    with pytest.raises(DataError) as caught:
        check(folder_set(tmp_path, **names))
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert '23 files cannot be used' in lines[0] and lines[-1].strip() == 'and 3 more'


def test_shares_count_what_is_left() -> None:
    labels = np.zeros(SIZE, np.uint8)
    labels[:10, :20] = 1
    labels[30:, :] = 255
    image = ArraySample('m', picture(0, *SIZE), labels)
    share = Share.of('some', [image])
    assert share.pixels[:3].tolist() == [30 * 56 - 200, 200, 0]
    assert (share.labeled, share.missing(NAMES)) == ([0, 1], ['water'])
    assert share.warnings(NAMES) == ['some: no pixel is labelled water']
    assert share.without([1]).labeled == [0]
    assert Share.of('some', [MaskNoisyLabels(image, {1: 100})]).labeled == [0]
    bottom = Crop(image, (30, 0, 10, 56))
    assert Share.of('some', [image, bottom]).warnings(NAMES)[1] == (
        'some: 1 of 2 images are ignored throughout: m'
    )
    with pytest.raises(DataError, match='bottom: no pixel of 1 image is labelled, all are ign'):
        Share.of('bottom', [bottom]).check()


def test_table_of_shares() -> None:
    labels = np.zeros((1000, 1000), np.uint8)
    labels[:250] = 1
    labels[500:] = 255
    share = Share.of('train', [ArraySample('m', picture(0, 1000, 1000), labels)])
    text = StringIO()
    show_shares([share], ('ground', 'house', '[bold]'), Console(file=text, width=100))
    rows = [[c.strip() for c in line.split('│')[1:-1]] for line in text.getvalue().splitlines()]
    assert ['house', '0.25', '50.0 %', '1'] in rows
    assert ['[bold]', '-', '-', '0'] in rows
    assert ['ignored', '0.50', '50.0 %', '1'] in rows
