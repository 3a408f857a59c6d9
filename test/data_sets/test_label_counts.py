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

"""Label files are counted once, exactly, in bands, and kept by size and time of change."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from written import ids, picture, write

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data import label_counts
from uhr_seg_ros.data.label_counts import bands, count_ids, count_values, histogram, scan
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.sample import FileSample

SIZE = (90, 70)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep everything, in a folder of the test, and forget what other tests counted."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(label_counts, 'KEPT_FROM', 0.0)
    forget(monkeypatch)
    return tmp_path / 'cache/uhr_seg_ros/labels'


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_counts, '_known', {})


def labeled(folder: Path, name: str, seed: int = 0, end: str = '.png') -> FileSample:
    write(folder / f'images/{name}.png', picture(seed, *SIZE))
    write(folder / f'labels/{name}{end}', ids(seed, *SIZE, 3))
    paths = folder / f'images/{name}.png', folder / f'labels/{name}{end}'
    return FileSample(name, *paths, LabelMap({0: 2, 1: 0, 2: 255}))


def expected(seed: int = 0) -> np.ndarray:
    return np.bincount(ids(seed, *SIZE, 3).ravel(), minlength=256)


def test_bands_cover_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for band, rows in ((1 << 24, 512), (700, 4), (69, 4)):
        monkeypatch.setattr(label_counts, 'BAND', band)
        monkeypatch.setattr(label_counts, 'ROWS', rows)
        parts = list(bands(SIZE))
        assert [part[0] for part in parts[1:]] == list(np.cumsum([p[2] for p in parts])[:-1])
        assert sum(part[2] for part in parts) == 90 and {part[3] for part in parts} == {70}
        assert np.array_equal(
            histogram(ids(0, *SIZE, 3)[:, ::2]),
            np.bincount(ids(0, *SIZE, 3)[:, ::2].ravel(), minlength=256),
        )


def test_large_counts_are_exact() -> None:
    # float32 has no odd numbers beyond 2^24.
    values = np.zeros((4097, 4099), np.uint8)
    values[0, :2] = 9
    assert histogram(values)[[0, 9]].tolist() == [4097 * 4099 - 2, 2]


@pytest.mark.parametrize('end', ['.png', '.tif'])
def test_values_and_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    if end == '.tif':
        pytest.importorskip('tifffile', reason='TIFF files need tifffile')
        monkeypatch.setattr(label_counts, 'BAND', 700)
        monkeypatch.setattr(label_counts, 'ROWS', 4)
    image = labeled(tmp_path, 'a', end=end)
    assert np.array_equal(count_values(image), expected())
    found = count_ids(image)
    assert found[[2, 0, 255]].tolist() == expected()[:3].tolist() and found.sum() == 90 * 70


def test_a_changed_file_is_counted_again(tmp_path: Path) -> None:
    image = labeled(tmp_path, 'a')
    assert np.array_equal(scan([image], tmp_path, quiet=True)[0], expected())
    labeled(tmp_path, 'a', seed=1)
    os.utime(image.label_path, ns=(1, 1))
    assert np.array_equal(scan([image], tmp_path, quiet=True)[0], expected(1))


def test_counts_are_kept_for_the_next_process(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [labeled(tmp_path, 'a'), labeled(tmp_path, 'b', 1)]
    scan(images[:1], tmp_path, quiet=True)
    scan(images[1:], tmp_path, quiet=True)  # adds to what is kept
    (ledger,) = cache.iterdir()
    before = images[0].label_path.stat()
    images[0].label_path.write_bytes(bytes(before.st_size))
    os.utime(images[0].label_path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    forget(monkeypatch)
    found = scan(images, tmp_path, quiet=True)
    # Size and time are as they were: the file is not read.
    assert np.array_equal(found[0], expected()) and np.array_equal(found[1], expected(1))
    os.utime(images[0].label_path, ns=(2, 2))
    forget(monkeypatch)
    assert isinstance(scan(images, tmp_path, quiet=True)[0], DataError)
    assert 'root' in json.loads(ledger.read_text())


def test_the_folder_of_engines_stays_the_user_s_own(tmp_path: Path, cache: Path) -> None:
    before = os.umask(0o002)
    try:
        scan([labeled(tmp_path, 'a')], tmp_path, quiet=True)
    finally:
        os.umask(before)
    assert list(cache.iterdir())
    assert not cache.parent.stat().st_mode & 0o022


@pytest.mark.parametrize('content', ['', '[]', '{"made by": "other"}', 'px 5', 'px all'])
def test_odd_ledgers_are_left_alone(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    image = labeled(tmp_path, 'a')
    scan([image], tmp_path, quiet=True)
    (ledger,) = cache.iterdir()
    kept = json.loads(ledger.read_text())
    (entry,) = kept['files'].values()
    if content == 'px 5':
        entry['px'] = {'5': 7}  # not as many px as the image has
        content = json.dumps(kept)
    elif content == 'px all':
        entry['px'] = 'all'
        content = json.dumps(kept)
    ledger.write_text(content)
    forget(monkeypatch)
    assert np.array_equal(scan([image], tmp_path, quiet=True)[0], expected())
    assert json.loads(ledger.read_text())['files']


def test_a_cache_that_cannot_be_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    image = labeled(tmp_path, 'a')
    assert np.array_equal(scan([image], tmp_path, quiet=True)[0], expected())
