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

"""What `uhr_seg batch` refuses, and that nothing half-written stays."""

from __future__ import annotations

import os
from pathlib import Path
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rasters import read_map, write_raster
from small_disk import SmallDisk
from test_batch import batch, GREEN, picture, RED

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.fleet import remote
from uhr_seg_ros.fleet.inputs import find_inputs
from uhr_seg_ros.fleet.manifest import Manifest
from uhr_seg_ros.fleet.options import BatchOptions
from uhr_seg_ros.fleet.ray_pool import import_ray
from uhr_seg_ros.fleet.units import Record


def test_lists_and_addresses(tmp_path: Path) -> None:
    picture(tmp_path / 'in' / 'a.png', RED)
    picture(tmp_path / 'in' / 'b.png', RED)
    (tmp_path / 'in' / 'list.txt').write_text('# flights\n\na.png\nmissing.png\nfar.txt\n')
    (tmp_path / 'in' / 'far.txt').write_text(f'file://{tmp_path}/in/b%2Epng\nlist.txt\n')
    texts = [str(tmp_path / 'in' / 'list.txt'), str(tmp_path / 'in' / 'a.png')]
    inputs, errors = find_inputs(texts, tmp_path / 'out')
    assert [each.name for each in inputs] == ['a', 'b']
    reasons = sorted(str(error) for error in errors)
    assert reasons[0].startswith('list ') and reasons[0].endswith('leads to itself')
    assert reasons[1:] == [f'no such file: {tmp_path}/in/missing.png']
    inputs, errors = find_inputs([str(tmp_path / 'i?'), texts[1]], tmp_path / 'out')
    assert [each.name for each in inputs] == ['a', 'b'] and not errors


@pytest.mark.parametrize(
    ('url', 'expected'),
    [
        ('ftp://host/a.png', 'begins with an address that is not read: expected a path, or one'),
        ('s3://bucket/a.png', 'is read by way of fsspec and s3fs (No module named'),
        ('simplecache::s3://bucket/a.png', 'begins with an address that is not read'),
    ],
)
def test_addresses_that_are_not_read(
    url: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'fsspec', None)
    with pytest.raises(ConfigError) as caught:
        find_inputs([url], tmp_path)
    text = str(caught.value)
    assert text.startswith(url) and (expected in text or 'fsspec' in expected and 's3fs' in text)


def test_objects_of_a_store(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the store of fsspec that is in memory: no network in tests."""
    fsspec = pytest.importorskip('fsspec', reason='fsspec is not installed')
    monkeypatch.setitem(remote.PROTOCOLS, 'memory', 'fsspec')
    store = fsspec.filesystem('memory')
    for index, name in enumerate(('a.png', 'b.png', 'notes.md')):
        store.pipe(f'/bucket/{name}', picture(tmp_path / 'one.png', index).read_bytes())
    out = tmp_path / 'out'
    assert batch(tiny_bundle, out, 'memory://bucket/*', 'memory://bucket/none.png') == 1
    assert {'a_mask.png', 'b_mask.png'} <= set(os.listdir(out))
    store.pipe('/bucket/a.png', picture(tmp_path / 'one.png', GREEN).read_bytes())
    inputs, _ = find_inputs(['memory://bucket/'], out)
    assert [each.name for each in inputs] == ['a', 'b']
    assert batch(tiny_bundle, out, 'memory://bucket') == 0
    store.pipe('/bucket/c.png', b'no picture')
    assert batch(tiny_bundle, out, 'memory://bucket', '--retries', 0) == 1
    text = 'memory://bucket/c.png is left out: memory://bucket/c.png cannot be read: '
    assert text in capsys.readouterr().err


def test_options_that_contradict_each_other(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = picture(tmp_path / 'a.png', RED)
    words = ['batch', str(image), '--bundle', str(tiny_bundle), '--output', str(tmp_path / 'out')]
    assert main([*words, '--address', 'auto']) == 2
    assert '--address has no effect without --on ray' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_cluster_that_does_not_answer(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known at once, and before Ray is imported."""
    image = picture(tmp_path / 'a.png', RED)
    words = ['batch', str(image), '--bundle', str(tiny_bundle), '--output', str(tmp_path / 'out')]
    assert main([*words, '--on', 'ray', '--address', '127.0.0.1:9']) == 2
    assert 'no Ray cluster answers at 127.0.0.1:9 (' in capsys.readouterr().err


def test_ray_that_is_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ConfigError, match='--on ray needs the package ray'):
        import_ray()
    monkeypatch.setitem(sys.modules, 'ray', SimpleNamespace(__version__='1.13.0'))
    with pytest.raises(ConfigError, match='ray 1.13.0 is too old: 2.9 or newer'):
        import_ray()


def test_a_full_disk_ends_the_batch(
    tiny_bundle: Path, tmp_path: Path, small_disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [picture(tmp_path / f'{index}.png', index, 400) for index in range(3)]
    small_disk.fill()
    assert batch(tiny_bundle, small_disk.path / 'out', *images) == 2
    assert 'No space left on device' in capsys.readouterr().err
    small_disk.make_room()
    names = [path.name for path in small_disk.path.rglob('*') if path.is_file()]
    assert not [name for name in names if 'unfinished' in name or name.endswith('_mask.png')]


@pytest.mark.parametrize('small_disk', [1024], indirect=True)
def test_maps_that_find_no_room_fail_alone(
    tiny_bundle: Path, tmp_path: Path, small_disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows of one have no room, those of another have, but not the map of them."""
    pytest.importorskip('rasterio', reason='rasters are read by rasterio')
    maps = {'large': 1100, 'small': 64, 'middle': 900}
    inputs = [
        write_raster(tmp_path / f'{name}.tif', np.full((3, side, side), 200, np.uint8))
        for name, side in maps.items()
    ]
    inputs.insert(1, picture(tmp_path / 'photo.png', GREEN))
    out = small_disk.path / 'out'
    assert batch(tiny_bundle, out, *inputs, '--no-overlay', '--retries', 0) == 1
    errors = capsys.readouterr().err
    assert 'large.tif' in errors and 'has no room for a file of 2 MiB' in errors
    assert 'middle.tif' in errors and 'the disk has no room for the 1 MiB that' in errors
    assert {path.name for path in out.glob('*_mask.*')} == {
        'photo_mask.png',
        'small_mask.tif',
        'small_mask.tif.aux.xml',
    }
    assert (read_map(out / 'small_mask.tif') < 3).all()
    assert not [path for path in small_disk.path.rglob('*') if 'unfinished' in path.name]


def test_a_disk_that_becomes_read_only(
    tiny_bundle: Path, tmp_path: Path, small_disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    out = small_disk.path / 'out'
    assert batch(tiny_bundle, out, picture(tmp_path / 'a.png', RED), '--no-overlay') == 0
    small_disk.make_read_only()
    assert batch(tiny_bundle, out, picture(tmp_path / 'b.png', GREEN), '--no-overlay') == 2
    assert f'output folder {out} cannot be written: Read-only file' in capsys.readouterr().err


def test_names_that_are_not_utf_8(tiny_bundle: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b'/in\xff'))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip('this file system takes no such names')
    picture(tmp_path / 'a.png', RED).rename(odd / 'a.png')
    (odd / 'b.png').write_bytes(b'no picture')
    assert batch(tiny_bundle, tmp_path / 'out', odd, '--retries', 0) == 1
    assert '/b.png' in (tmp_path / 'out' / 'summary.html').read_text()


def test_a_manifest_that_was_cut(tmp_path: Path) -> None:
    options = BatchOptions(str(tmp_path), 'tiny', 'hash')
    with Manifest(options) as manifest:
        for name in 'ab':
            record = Record('image', name, name, slot=name, settings=options.settings)
            manifest.add(record)
    path = tmp_path / '.uhr_seg_batch' / 'manifest.jsonl'
    path.write_bytes(path.read_bytes()[:-9])
    with Manifest(options) as manifest:
        assert manifest.find('a') is not None and manifest.find('b') is None
        manifest.add(Record('image', 'c', 'c', slot='c', settings=options.settings))
        manifest.add(Record('image', 'd', 'd', slot='d', settings='of other options'))
        assert [each.name for each in manifest.results()] == ['a', 'c']
    with Manifest(options) as manifest:
        assert [manifest.find(slot) is not None for slot in 'abcd'] == [True, False, True, True]
