# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The engine cache: what is found again, and what is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
import os
from pathlib import Path
import time

import pytest

from uhr_seg_ros.engines.cache import CacheError, default_directory, EngineCache, Key


def make_key(kind: str = 'engine', name: str = 'detail', **fields: str) -> Key:
    """Give a key; fields that are not given have a default."""
    return Key(kind, name, {'graph': 'aa', 'tensorrt': '10.3.0', 'gpu': 'Orin', **fields})


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    """Give an empty cache in a folder that is not there yet."""
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


def open_to_all(path: Path) -> None:
    """Let everybody write the engine."""
    path.chmod(0o666)


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
        (open_to_all, 'can be written by other users'),
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


def test_failed_write_leaves_nothing(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key()
    cache.write(key, b'plan')

    def full(descriptor: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(CacheError, match='No space left'):
        cache.write(key, b'other')
    monkeypatch.undo()
    assert cache.read(key)[0] == b'plan'
    assert len(list(cache.directory.iterdir())) == 2


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
    assert default_directory() == tmp_path / 'uhr_seg_ros'
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    assert default_directory() == Path.home() / '.cache/uhr_seg_ros'


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


def test_cache_that_is_mounted_read_only(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write(make_key(), b'plan')

    def read_only(path: Path) -> None:
        raise OSError(30, 'Read-only file system')

    monkeypatch.setattr(os, 'utime', read_only)
    assert cache.read(make_key())[0] == b'plan'
