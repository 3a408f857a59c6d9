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

"""Published data sets become folders that train, from miniature archives with the real names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
import io
import os
from pathlib import Path
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from written import picture

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.data import preparing
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.published import PUBLISHED

IMAGE = picture(0, 16, 24)

#: The names of the tests, one for each split.
SPLITS = {
    'inria': {'austin2': 'train', 'austin8': 'val', 'austin1': 'test'},
    'deepglobe': {'119': 'train', '102122': 'val', '606': 'test'},
    'cityscapes': {'ulm': 'train', 'lindau': 'val', 'bonn': 'test'},
}


@pytest.fixture(autouse=True)
def _of_three_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every published set have one image in each split, of the size of the tests."""
    for name, names in SPLITS.items():
        known = names if PUBLISHED[name].names else {}
        small = replace(
            PUBLISHED[name], counts=Counter(names.values()), names=known, size=IMAGE.shape[:2]
        )
        monkeypatch.setitem(PUBLISHED, name, small)


def encoded(suffix: str, values: np.ndarray) -> bytes:
    return cv2.imencode(suffix, values)[1].tobytes()


def labels(*values: int) -> np.ndarray:
    """Columns of some values, (16, 24) uint8."""
    columns = np.resize(np.repeat(np.array(values, np.uint8), 24 // len(values)), 24)
    return np.tile(columns, (16, 1))


def inria() -> dict[str, bytes]:
    files = {'__MACOSX/train/gt/._austin1.tif': b'of another system', 'README.txt': b'text'}
    for name in SPLITS['inria']:
        files[f'AerialImageDataset/train/images/{name}.tif'] = encoded('.tif', IMAGE)
        files[f'AerialImageDataset/train/gt/{name}.tif'] = encoded('.tif', labels(0, 255))
    files['AerialImageDataset/test/images/bellingham1.tif'] = encoded('.tif', IMAGE)
    return files


COLORS = [(0, 0, 0), (0, 255, 255), (255, 255, 0), (255, 0, 255)]
COLORS += [(0, 255, 0), (0, 0, 255), (255, 255, 255)]


def deepglobe() -> dict[str, bytes]:
    bgr = np.array(COLORS, np.uint8)[labels(*range(6)), ::-1]
    bgr[:, -1] = 255
    # What its publishers warn of: not all values are 0 and 255.
    bgr = np.where(bgr > 0, 255 - labels(0, 100)[..., None], labels(20, 127)[..., None])
    files = {'land-valid/9999999_sat.jpg': encoded('.jpg', IMAGE)}
    for name in SPLITS['deepglobe']:
        files[f'land-train/{name}_sat.jpg'] = encoded('.jpg', IMAGE)
        files[f'land-train/{name}_mask.png'] = encoded('.png', bgr.astype(np.uint8))
    return files


def cityscapes() -> tuple[dict[str, bytes], dict[str, bytes]]:
    images, fine = {}, {}
    for city, split in SPLITS['cityscapes'].items():
        stem = f'{split}/{city}/{city}_000000_000019'
        images[f'leftImg8bit/{stem}_leftImg8bit.png'] = encoded('.png', IMAGE)
        # Void, road, car, the license plate that is -1; of the test split nothing is public.
        values = labels(3, 7, 26, 255) if split != 'test' else labels(0, 1, 2, 3)
        fine[f'gtFine/{stem}_gtFine_labelIds.png'] = encoded('.png', values)
        fine[f'gtFine/{stem}_gtFine_instanceIds.png'] = encoded('.png', values)
        fine[f'gtFine/{stem}_gtFine_color.png'] = encoded('.png', IMAGE)
    return images, fine


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w') as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def unpack(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def prepare(name: str, *paths: Path) -> int:
    return main(['prepare', name, *map(str, paths)])


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob('*')
        if path.is_file()
    }


def test_splits_are_those_of_the_releases() -> None:
    from uhr_seg_ros.data.published_splits import deepglobe_splits, inria_splits

    assert Counter(inria_splits().values()) == {'train': 126, 'val': 27, 'test': 27}
    assert Counter(deepglobe_splits().values()) == {'train': 454, 'val': 207, 'test': 142}
    known = {'vienna27': 'train', 'chicago24': 'val', 'tyrol-w36': 'test'}
    assert {name: inria_splits()[name] for name in known} == known
    known = {'100694': 'train', '102122': 'val', '606': 'test'}
    assert {name: deepglobe_splits()[name] for name in known} == known


@pytest.mark.parametrize('form', ['data.zip', 'data.tar.gz', 'folder', 'folder of archives'])
def test_inria_has_masks_of_0_and_255(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files, root = inria(), tmp_path / 'InriaAerial'
    if form == 'folder of archives':
        (tmp_path / form).mkdir()
        pack(tmp_path / form / 'data.zip', files)
        source = tmp_path / form
    else:
        place = tmp_path / form
        source = unpack(place, files) if form == 'folder' else pack(place, files)
    assert prepare('inria', source, root) == 0
    told = capsys.readouterr()
    assert 'inria: 1 train, 1 val, 1 test images' in told.out and not told.err
    found = contents(root)
    assert set(found) == {
        path
        for name, split in SPLITS['inria'].items()
        for path in (f'imgs/{split}/{name}_sat.tif', f'labels/{split}/{name}_mask.png')
    }
    assert (
        found['imgs/val/austin8_sat.tif'] == files['AerialImageDataset/train/images/austin8.tif']
    )
    for split in ('train', 'val', 'test'):
        (sample,) = open_dataset('inria', root).images(split)
        image, ids = sample.read()
        assert np.array_equal(image, IMAGE) and np.array_equal(ids, labels(0, 1))


def test_deepglobe_has_masks_of_colors(tmp_path: Path) -> None:
    root = tmp_path / 'DeepGlobe'
    assert prepare('deepglobe', pack(tmp_path / 'land-train.zip', deepglobe()), root) == 0
    expected = labels(*range(6))
    expected[:, -1] = 6
    for split in ('train', 'val', 'test'):
        (sample,) = open_dataset('deepglobe', root).images(split)
        # Unknown, 0, is a class of the training, and not 255.
        assert np.array_equal(sample.read_labels(), expected)
    # What others have prepared already is taken as it is.
    again = tmp_path / 'again'
    assert prepare('deepglobe', root, again) == 0
    assert contents(again) == contents(root)


def test_cityscapes_comes_in_two_archives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, fine = cityscapes()
    root, source = tmp_path / 'CITYSCAPES', tmp_path / 'downloads'
    source.mkdir()
    pack(source / 'leftImg8bit_trainvaltest.zip', images)
    assert prepare('cityscapes', source, root) == 1
    told = capsys.readouterr()
    assert 'split train: 0 of 1 labels' in told.err
    assert 'gtFine_trainvaltest.zip' in told.out
    pack(source / 'gtFine_trainvaltest.zip', fine)
    assert prepare('cityscapes', source, root) == 0
    assert '3 files written, 3 were there' in capsys.readouterr().out
    (sample,) = open_dataset('cityscapes', root).images('val')
    assert sample.label_path.name.endswith('_gtFine_labelTrainIds.png')
    assert np.array_equal(sample.read_labels(), labels(255, 0, 13, 255))
    (sample,) = open_dataset('cityscapes', root).images('test')
    assert (sample.read_labels() == 255).all()


def test_a_prepared_place_may_be_its_own_source(tmp_path: Path) -> None:
    images, fine = cityscapes()
    root = unpack(tmp_path / 'CITYSCAPES', images | fine)
    assert prepare('cityscapes', root, root) == 0
    assert len(contents(root)) == len(images | fine) + 3


def test_a_run_that_was_ended_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, root = pack(tmp_path / 'data.zip', inria()), tmp_path / 'InriaAerial'
    whole = tmp_path / 'whole'
    assert prepare('inria', source, whole) == 0
    written = preparing.write_image

    def interrupted(path: Path, ids: np.ndarray) -> None:
        if (root / 'labels').exists():
            raise KeyboardInterrupt
        written(path, ids)

    with monkeypatch.context() as patch:
        patch.setattr(preparing, 'write_image', interrupted)
        assert prepare('inria', source, root) == 130
    assert '3 files written, 0 were there' in capsys.readouterr().err
    assert not [name for name in os.listdir(root) if name.startswith('.')]
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*') if path.is_file()}
    assert len(before) == 3
    assert prepare('inria', source, root) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert contents(root) == contents(whole)


def test_a_damaged_file_fails_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, root = inria(), tmp_path / 'InriaAerial'
    bad = 'AerialImageDataset/train/images/austin2.tif'
    source = pack(tmp_path / 'bad.zip', files)
    content = source.read_bytes()
    at = content.index(files[bad]) + len(files[bad]) // 2
    source.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert prepare('inria', source, root) == 1
    told = capsys.readouterr().err
    assert f'{source}: {bad} cannot be unpacked (Bad CRC-32' in told
    assert 'split train: 0 of 1 images, without austin2' in told
    assert len(contents(root)) == 5
    # Another copy heals it.
    assert prepare('inria', source, pack(tmp_path / 'good.zip', {bad: files[bad]}), root) == 0


def test_an_archive_that_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / 'InriaAerial'
    for name in ('data.zip', 'data.tar.gz'):
        source = pack(tmp_path / name, inria())
        source.write_bytes(source.read_bytes()[:-200])
        assert prepare('inria', source, root) == 2
        assert 'download it again' in capsys.readouterr().err
        # The others are read all the same.
        good = pack(tmp_path / 'good.zip', inria())
        assert prepare('inria', source, good, root) == 1
        assert str(source) in capsys.readouterr().err
        assert len(contents(root)) == 6


def test_a_color_that_is_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, root = deepglobe(), tmp_path / 'DeepGlobe'
    name = next(path for path in files if path.endswith('mask.png'))
    files[name] = encoded('.png', np.full_like(IMAGE, (0, 0, 200)))
    assert prepare('deepglobe', pack(tmp_path / 'data.zip', files), root) == 1
    told = capsys.readouterr().err
    assert f'{name} has the color (200, 0, 0) at row 0, column 0, which is no class' in told
    assert len(contents(root)) == 5


def test_masks_that_somebody_put_there_as_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / 'InriaAerial'
    raw = root / 'labels/val/austin8_mask.png'
    unpack(root, {raw.relative_to(root).as_posix(): encoded('.png', labels(0, 255))})
    assert prepare('inria', pack(tmp_path / 'data.zip', inria()), root) == 2
    told = capsys.readouterr().err
    assert f'{raw} holds the value 255' in told and 'Remove what is wrong' in told


def test_an_image_that_is_another_one_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / 'InriaAerial'
    other = root / 'imgs/val/austin8_sat.tif'
    unpack(root, {other.relative_to(root).as_posix(): b'mine'})
    assert prepare('inria', pack(tmp_path / 'data.zip', inria()), root) == 1
    assert f'{other} has 4 bytes' in capsys.readouterr().err
    assert other.read_bytes() == b'mine'


def test_images_of_another_size_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    large = replace(PUBLISHED['inria'], size=(5000, 5000))
    monkeypatch.setitem(PUBLISHED, 'inria', large)
    assert prepare('inria', pack(tmp_path / 'data.zip', inria()), tmp_path / 'root') == 0
    told = capsys.readouterr().err
    assert '3 images are not of 5000x5000 px, as published: austin2 (24x16)' in told


@pytest.mark.parametrize(
    ('name', 'content', 'told'),
    [
        (
            'aerialimagelabeling.7z.001',
            b"7z\xbc\xaf'\x1c rest",
            '`7z x aerialimagelabeling.7z.001`',
        ),
        ('notes.txt', b'text', 'is neither a folder nor a zip or tar archive'),
        ('absent.zip', None, 'is no file or folder'),
    ],
)
def test_what_is_no_source(
    tmp_path: Path,
    name: str,
    content: bytes | None,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert prepare('inria', tmp_path / name, tmp_path / 'root') == 2
    assert told in capsys.readouterr().err


def test_another_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = pack(tmp_path / 'land-train.zip', deepglobe())
    assert prepare('inria', source, tmp_path / 'root') == 2
    told = capsys.readouterr().err
    assert 'holds no file of inria as published: expected NEW2-AerialImageDataset.zip' in told
