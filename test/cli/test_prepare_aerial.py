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

"""The aerial set, published in nine parts per mosaic, becomes mosaics again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import zipfile

import cv2
import numpy as np
import pytest
from written import ids, picture, SHARED

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.published import PUBLISHED

#: Heights of the rows and widths of the columns, as unequal as the real ones.
ROWS, COLUMNS = (16, 17, 16), (24, 23, 24)
SIZE = sum(ROWS), sum(COLUMNS)
SPLITS = {'tile4': 'train', 'tile2': 'test'}
LABELS = {name: ids(seed, *SIZE, 6) for seed, name in enumerate(SPLITS)}
PICTURES = {name: picture(seed, *SIZE) for seed, name in enumerate(SPLITS)}
#: Of the masks, BGR; the last one is of what nobody labeled.
COLORS = np.array(
    [
        (0x98, 0x10, 0x3C),
        (0xF6, 0x29, 0x84),
        (0xE4, 0xC1, 0x6E),
        (0x3A, 0xDD, 0xFE),
        (0x29, 0xA9, 0xE2),
        (0x9B, 0x9B, 0x9B),
    ],
    np.uint8,
)

Source = dict[str, bytes]


@pytest.fixture(autouse=True)
def _of_two_mosaics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the published set have one small mosaic in each split."""
    small = replace(
        PUBLISHED['aerial'],
        counts=Counter(SPLITS.values()),
        names=SPLITS,
        size=dict.fromkeys(SPLITS, SIZE),
    )
    monkeypatch.setitem(PUBLISHED, 'aerial', small)


def cut(whole: np.ndarray) -> list[np.ndarray]:
    rows = np.split(whole, np.cumsum(ROWS)[:2])
    return [part for row in rows for part in np.split(row, np.cumsum(COLUMNS)[:2], axis=1)]


def encoded(suffix: str, values: np.ndarray) -> bytes:
    return cv2.imencode(suffix, values)[1].tobytes()


def part(tile: int, number: int, kind: str = 'images') -> str:
    suffix = 'jpg' if kind == 'images' else 'png'
    return f'Semantic segmentation dataset/Tile {tile}/{kind}/image_part_{number:03}.{suffix}'


@pytest.fixture
def files() -> Source:
    """Return what is published: also of a mosaic that is in no split, and colors of nothing."""
    found = {'Semantic segmentation dataset/classes.json': b'{"classes": []}'}
    for name in SPLITS:
        tile, mask = int(name[-1]), COLORS[LABELS[name]]
        mask[:4, :4] = 0
        for number, (own, colors) in enumerate(
            zip(cut(PICTURES[name]), cut(mask), strict=True), start=1
        ):
            found[part(tile, number)] = encoded('.jpg', own)
            found[part(tile, number, 'masks')] = encoded('.png', colors)
    found[part(1, 1)] = b'not looked at'
    return found


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[[Source], int]:
    """Return what packs files as they are published, and prepares them in ``root``."""

    def run(files: Source) -> int:
        with zipfile.ZipFile(tmp_path / 'data.zip', 'w') as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return main(['prepare', 'aerial', str(tmp_path / 'data.zip'), str(tmp_path / 'root')])

    return run


Prepare = Callable[[Source], int]
Captured = pytest.CaptureFixture[str]


def test_parts_become_mosaics(
    tmp_path: Path, files: Source, prepare: Prepare, capsys: Captured
) -> None:
    assert prepare(files) == 0
    told = capsys.readouterr()
    assert 'aerial: 1 train, 1 test images' in told.out and '4 files written' in told.out
    assert not told.err
    data = open_dataset('aerial', tmp_path / 'root')
    assert data.splits == ('train', 'test')
    for name, split in SPLITS.items():
        (sample,) = data.images(split)
        image, labels = sample.read()
        expected = np.where(LABELS[name] == 5, 255, LABELS[name])
        expected[:4, :4] = 255
        assert sample.name == name and np.array_equal(labels, expected)
        # Nothing is lost but what JPEG lost before.
        tile = int(name[-1])
        assert all(
            np.array_equal(
                own, cv2.imdecode(np.frombuffer(files[part(tile, number)], np.uint8), 1)
            )
            for number, own in enumerate(cut(image), start=1)
        )


def test_what_is_there_stays(
    tmp_path: Path, files: Source, prepare: Prepare, capsys: Captured
) -> None:
    lacking = {name: files[name] for name in files if name not in (part(2, 3), part(2, 5))}
    assert prepare(lacking) == 1
    told = capsys.readouterr()
    assert 'images/tile2.png: parts 3, 5 of 9 missing' in told.err
    assert 'split test: 0 of 1 images, without tile2' in told.err
    root = tmp_path / 'root'
    assert not (root / 'split.json').exists()
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*.png')}
    assert len(before) == 3
    assert prepare(files) == 0
    assert '1 files written, 3 were there' in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_parts_in_another_order_are_refused(
    tmp_path: Path, files: Source, prepare: Prepare, capsys: Captured
) -> None:
    one, other = part(4, 1), part(4, 7)
    files[one], files[other] = files[other], files[one]
    assert prepare(files) == 1
    assert (
        'images/tile4.png: its parts fit better with parts 1 and 7 exchanged'
        in capsys.readouterr().err
    )
    assert not (tmp_path / 'root/images/tile4.png').exists()


def test_parts_that_do_not_fit_are_refused(
    files: Source, prepare: Prepare, capsys: Captured
) -> None:
    parts = cut(PICTURES['tile2'])
    files[part(2, 2)] = encoded('.jpg', parts[0])
    for number, own in enumerate(parts, start=1):
        files[part(4, number)] = encoded('.jpg', own[:8])
    assert prepare(files) == 1
    told = capsys.readouterr().err
    assert (
        'images/tile2.png: parts 2 and 5 do not fit together: they are 24 and 23 px wide' in told
    )
    assert (
        f'images/tile4.png: its parts make {SIZE[1]}x24 px, but tile4 is published with '
        f'{SIZE[1]}x{SIZE[0]}' in told
    )


def test_a_color_that_is_no_class(files: Source, prepare: Prepare, capsys: Captured) -> None:
    name = part(4, 9, 'masks')
    # That of buildings in classes.json, which no mask has.
    files[name] = encoded('.png', np.full((ROWS[2], COLUMNS[2], 3), (0x1B, 0x02, 0xD0), np.uint8))
    assert prepare(files) == 1
    told = capsys.readouterr().err
    assert f'data.zip: {name} has the color (208, 2, 27) at row 0, column 0' in told


def test_another_mosaic_stays(
    tmp_path: Path, files: Source, prepare: Prepare, capsys: Captured
) -> None:
    other = tmp_path / 'root/images/tile4.png'
    other.parent.mkdir(parents=True)
    other.write_bytes(encoded('.png', PICTURES['tile4'][:9]))
    assert prepare(files) == 1
    told = capsys.readouterr().err
    assert f'{other}: it is {SIZE[1]}x9 px, but tile4 is published with' in told


def test_a_jpeg_of_the_same_name(
    tmp_path: Path, files: Source, prepare: Prepare, capsys: Captured
) -> None:
    assert prepare(files) == 0
    image = tmp_path / 'root/images/tile4.png'
    image.with_suffix('.jpg').write_bytes(encoded('.jpg', PICTURES['tile4']))
    assert prepare(files) == 2
    assert f'{image} and {image.with_suffix(".jpg")} have the same name' in capsys.readouterr().err


def test_sizes_and_splits_are_those_of_the_real_mosaics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    published = PUBLISHED['aerial']
    assert dict(published.counts) == {'train': 4, 'test': 2}
    if not (SHARED / 'aerial').is_dir():
        pytest.skip('the aerial set is not in shared/data/ beside the clone')
    data = open_dataset('aerial', SHARED / 'aerial')
    found = {image.name: split for split in data.splits for image in data.images(split)}
    assert found == published.names
    for split in data.splits:
        for image in data.images(split):
            assert image.size == published.size_of(image.name)
