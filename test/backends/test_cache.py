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

"""The engine cache: what is found again, and what is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
import itertools
import json
from multiprocessing import get_context
import os
from pathlib import Path
import stat
import time
from typing import Any

import pytest
from small_disk import SmallDisk

from uhr_seg_ros.backends.tensorrt.cache import CacheError, EngineCache, Key
from uhr_seg_ros.core.resources import cache_folder


def make_key(kind: str = 'engine', name: str = 'detail', **fields: str) -> Key:
    """Return a key; fields that are not given have a default."""
    return Key(kind, name, {'graph': 'aa', 'tensorrt': '10.3.0', 'gpu': 'Orin', **fields})


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    """Return an empty cache in a folder that is not there yet."""
    return EngineCache(tmp_path / 'new' / 'cache')


def test_gives_back_what_was_written(cache: EngineCache) -> None:
    key = make_key()
    assert cache.read(key) is None
    assert cache.fault(key) == 'none was made yet'
    path = cache.write(key, b'plan', {'size': '3840x2160'})
    content, facts = cache.read(key)
    assert content == b'plan'
    assert facts['size'] == '3840x2160'
    assert facts['fields']['tensorrt'] == '10.3.0'
    assert path.stat().st_mode & 0o077 == 0
    assert sorted(file.suffix for file in cache.directory.iterdir()) == ['.engine', '.json']


@pytest.mark.parametrize('field', ['graph', 'tensorrt', 'gpu'])
def test_every_field_makes_another_entry(cache: EngineCache, field: str) -> None:
    cache.write(make_key(), b'plan')
    other = make_key(**{field: 'zz'})
    assert cache.read(other) is None
    before = make_key().fields[field]
    assert cache.fault(other) == f'{field} was {before}, is zz'


def test_reason_for_a_rebuild_names_what_changed(cache: EngineCache) -> None:
    """Of entries of the same kind and name only, and of the one used last."""
    cache.write(make_key(gpu='Xavier'), b'oldest')
    os.utime(next(cache.directory.glob('*.engine')), (1, 1))
    cache.write(make_key(), b'plan')
    assert cache.fault(make_key(gpu='Thor')) == 'gpu was Orin, is Thor'
    both = make_key(gpu='Thor', tensorrt='11.4.0')
    assert cache.fault(both) == 'tensorrt was 10.3.0, is 11.4.0; gpu was Orin, is Thor'
    new = Key('engine', 'detail', {**make_key().fields, 'l4t': 'R36.4.0'})
    assert cache.fault(new) == 'l4t was None, is R36.4.0'
    assert cache.fault(make_key(name='semantic', gpu='Thor')) == 'none was made yet'
    assert cache.fault(make_key(kind='graph', gpu='Thor')) == 'none was made yet'


def test_reason_with_a_sidecar_without_fields(cache: EngineCache) -> None:
    sidecar = cache.write(make_key(), b'plan').with_suffix('.json')
    content = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**content, 'fields': 'none'}))
    assert cache.fault(make_key(gpu='Thor')).endswith('gpu was None, is Thor')


def test_order_of_fields_does_not_matter(cache: EngineCache) -> None:
    cache.write(Key('engine', 'a', {'x': '1', 'y': '2'}), b'plan')
    assert cache.read(Key('engine', 'a', {'y': '2', 'x': '1'})) is not None


def damage(path: Path) -> None:
    """Flip a byte."""
    path.write_bytes(b'plaN')


def cut(path: Path) -> None:
    """Lose the end."""
    path.write_bytes(path.read_bytes()[:2])


def lose_sidecar(path: Path) -> None:
    """Lose the sidecar."""
    path.with_suffix('.json').unlink()


def garble_sidecar(path: Path) -> None:
    """Make the sidecar something else than a mapping."""
    path.with_suffix('.json').write_text('[1, 2')


def nest_sidecar(path: Path) -> None:
    """Make the sidecar nested without end."""
    path.with_suffix('.json').write_text('{"fields": ' + '[' * 100_000)


#: Bits of the mode -> whether somebody else may write.
MODES = {
    **{bit: bit in (stat.S_IWGRP, stat.S_IWOTH) for bit in (0o1, 0o2, 0o4, 0o10, 0o20, 0o40)},
    0o055: False,
    0o077: True,
}


@pytest.mark.parametrize('mode', MODES, ids=oct)
@pytest.mark.parametrize('place', ['file', 'folder'])
def test_each_bit_of_the_mode(cache: EngineCache, mode: int, place: str) -> None:
    """Only who may write could put something else there; others may read and list."""
    key = make_key()
    path = cache.write(key, b'plan')
    target = path if place == 'file' else path.parent
    target.chmod((0o600 if place == 'file' else 0o700) | mode)
    shared = MODES[mode]
    assert (cache.read(key) is None) == shared
    assert cache.fault(key) == (f'{target} can be written by other users' if shared else '')


def test_folder_of_everybody_is_not_read(cache: EngineCache) -> None:
    key = make_key()
    path = cache.write(key, b'plan')
    path.parent.chmod(0o777)
    assert cache.read(key) is None
    assert cache.fault(key) == f'{path.parent} can be written by other users'
    with pytest.raises(CacheError, match=f'chmod go-w {path.parent}'):
        cache.write(key, b'again')
    path.parent.chmod(0o700)
    assert cache.read(key)[0] == b'plan'


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (damage, 'is damaged'),
        (cut, 'is damaged'),
        (lose_sidecar, 'is damaged'),
        (garble_sidecar, 'is damaged'),
        (nest_sidecar, 'is damaged'),
    ],
)
def test_what_cannot_be_trusted_is_not_read(
    cache: EngineCache, change: Callable[[Path], None], reason: str
) -> None:
    key = make_key()
    change(cache.write(key, b'plan'))
    assert cache.read(key) is None
    assert reason in cache.fault(key)
    cache.write(key, b'again')
    assert cache.read(key)[0] == b'again'


def test_file_of_another_user_is_not_read(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key()
    cache.write(key, b'plan')
    monkeypatch.setattr(os, 'geteuid', lambda: 12345)
    assert cache.read(key) is None
    assert 'other users' in cache.fault(key)


def test_notes_are_added(cache: EngineCache) -> None:
    key = make_key()
    cache.write(key, b'plan')
    cache.note(key, {'agreement': 0.9995})
    content, facts = cache.read(key)
    assert (content, facts['agreement'], facts['name']) == (b'plan', 0.9995, 'detail')


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    cache = EngineCache(tmp_path / 'file' / 'cache')
    with pytest.raises(CacheError, match=r'file/cache cannot be written \(.*engine_cache'):
        cache.write(make_key(), b'plan')
    with pytest.raises(CacheError), cache.lock(make_key()):
        pass


@pytest.fixture
def cache_on_disk(small_disk: SmallDisk) -> EngineCache:
    """Return an empty cache on a small disk."""
    return EngineCache(small_disk.path / 'cache')


def test_full_disk_keeps_what_was_there(cache_on_disk: EngineCache, small_disk: SmallDisk) -> None:
    key, other = make_key(), make_key(name='other')
    cache_on_disk.write(key, b'plan')
    small_disk.fill()
    for change in (
        lambda: cache_on_disk.write(key, b'newer plan'),
        lambda: cache_on_disk.write(other, b'another plan'),
        lambda: cache_on_disk.note(key, {'agreement': 1.0}),
    ):
        with pytest.raises(CacheError, match=r'No space left on device\): choose a folder'):
            change()
    assert cache_on_disk.read(key)[0] == b'plan'
    assert len(list(cache_on_disk.directory.iterdir())) == 2
    small_disk.make_room()
    cache_on_disk.write(other, b'another plan')
    assert cache_on_disk.read(other)[0] == b'another plan'


def test_entry_that_is_too_large_leaves_nothing(
    cache_on_disk: EngineCache, small_disk: SmallDisk
) -> None:
    key = make_key()
    cache_on_disk.write(key, b'plan')
    with pytest.raises(CacheError, match='No space left'):
        cache_on_disk.write(key, bytes(400_000))
    assert cache_on_disk.read(key)[0] == b'plan'
    assert len(list(cache_on_disk.directory.iterdir())) == 2


def test_read_only_disk_can_be_read(cache_on_disk: EngineCache, small_disk: SmallDisk) -> None:
    key = make_key()
    cache_on_disk.write(key, b'plan')
    small_disk.make_read_only()
    assert cache_on_disk.read(key)[0] == b'plan'
    for change in (
        lambda: cache_on_disk.write(key, b'newer plan'),
        lambda: cache_on_disk.note(key, {'agreement': 1.0}),
        lambda: cache_on_disk.discard(key),
        lambda: cache_on_disk.lock(key).__enter__(),
    ):
        with pytest.raises(CacheError, match=r'Read-only file system\): choose a folder'):
            change()


def test_notes_need_an_entry(cache: EngineCache) -> None:
    cache.note(make_key(), {'agreement': 1.0})
    assert not cache.directory.exists()


def test_prune_keeps_what_was_used_last(cache: EngineCache) -> None:
    now = time.time()
    for age, name in enumerate(('new', 'middle', 'old')):
        path = cache.write(make_key(name=name), b'x' * 400_000)
        os.utime(path, (now - 100 * age, now - 100 * age))
    assert [entry.facts['name'] for entry in cache.entries()] == ['new', 'middle', 'old']
    cache.read(make_key(name='old'))
    removed = cache.prune(keep_mb=0.9)
    assert [entry.facts['name'] for entry in removed] == ['middle']
    assert {entry.facts['name'] for entry in cache.entries()} == {'new', 'old'}
    assert len(cache.prune()) == 2
    assert cache.entries() == []


def test_listing_a_folder_that_is_not_there(cache: EngineCache) -> None:
    assert cache.entries() == []
    assert cache.prune() == []


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert cache_folder() == tmp_path / 'uhr_seg_ros'
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    assert cache_folder() == Path.home() / '.cache/uhr_seg_ros'


def test_name_becomes_a_file_name(cache: EngineCache) -> None:
    path = cache.write(make_key(name='../mine & yours'), b'plan')
    assert path.parent == cache.directory
    assert cache.read(make_key(name='../mine & yours')) is not None


def hold(directory: Path, order: Path) -> None:
    """Hold the lock for a while, as another process."""
    with EngineCache(directory).lock(make_key()):
        order.write_text('held')
        time.sleep(0.5)
        order.write_text('released')


def test_lock_keeps_another_process_out(cache: EngineCache, tmp_path: Path) -> None:
    order = tmp_path / 'order'
    process = get_context('spawn').Process(target=hold, args=(cache.directory, order))
    process.start()
    while not order.exists() or order.read_text() != 'held':
        time.sleep(0.01)
    with cache.lock(make_key()):
        assert order.read_text() == 'released'
    process.join()


def write_until(directory: Path, steps: int, reached: Path) -> None:
    """Write an entry, then another one in its place, and stop before a step on the disk."""
    cache, left = EngineCache(directory), itertools.count(steps, -1)

    def stopping(step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            if next(left) == 0:
                reached.touch()
                time.sleep(600)
            return step(*args)

        return wrapper

    with cache.lock(make_key()):
        cache.write(make_key(), b'0' * 1000, {'number': 0})
        os.fsync, Path.replace = stopping(os.fsync), stopping(Path.replace)
        cache.write(make_key(), b'1' * 1000, {'number': 1})
        reached.touch()
        time.sleep(600)


def test_killed_while_it_writes(cache: EngineCache, tmp_path: Path) -> None:
    """Whatever is the last step on the disk, the entry is whole or counts as damaged."""
    key, states = make_key(), []
    for steps in range(6):
        reached = tmp_path / f'reached_{steps}'
        process = get_context('spawn').Process(
            target=write_until, args=(cache.directory, steps, reached)
        )
        process.start()
        while not reached.exists():
            assert process.is_alive()
            time.sleep(0.002)
        process.kill()
        process.join()
        if (found := cache.read(key)) is not None:
            content, facts = found
            assert content == str(facts['number']).encode() * 1000
            states.append(facts['number'])
        else:
            assert 'is damaged' in cache.fault(key)
            states.append('damaged')
        if steps == 0:
            assert list(cache.directory.glob('.*.unfinished'))
        with cache.lock(key):  # nobody holds it any more
            cache.write(key, b'plan')
        assert cache.read(key)[0] == b'plan'
        cache.discard(key)
    assert states[0] == 0 and states[-1] == 1
    assert 'damaged' in states


def test_what_killed_processes_left_goes(cache: EngineCache) -> None:
    cache.write(make_key(), b'plan')
    old, new = (cache.directory / f'.x.engine.{name}.unfinished' for name in ('old', 'new'))
    for path in (old, new):
        path.write_bytes(b'half a plan')
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    cache.write(make_key(), b'newer plan')
    assert not old.exists() and new.exists()  # somebody may be writing that one
    os.utime(new, (time.time() - 7200, time.time() - 7200))
    cache.prune(keep_mb=1)
    assert not new.exists()


def test_a_pipe_is_no_entry(cache: EngineCache) -> None:
    key = make_key()
    path = cache.write(key, b'plan')
    path.unlink()
    os.mkfifo(path)
    assert cache.read(key) is None
