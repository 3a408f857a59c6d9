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

"""Files that take minutes to make: engines, timing caches, graphs, verdicts, kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
import fcntl
import hashlib
import json
import os
from pathlib import Path
import time
from typing import Any

from uhr_seg_ros.backends.tensorrt.cache_entries import (
    CacheError,
    Entry,
    file_of,
    is_shared,
    Key,
    read_facts,
    remove_entry,
    replace_file,
    UNFINISHED,
)
from uhr_seg_ros.core.regular_files import FileFault, open_regular
from uhr_seg_ros.core.resources import cache_folder, expand_home

__all__ = ['CacheError', 'EngineCache', 'Entry', 'Key']

#: Nobody writes on a file for so long, s.
_ABANDONED_S = 3600.0


class EngineCache:
    """
    A folder of entries, each a file and a JSON sidecar, both written completely or not at all.

    Only files of the present user that nobody else may write, in a folder of the same kind, are
    read: an engine is code.

    Args:
        directory: made when it is first written; by default `$XDG_CACHE_HOME/uhr_seg_ros` or
            `~/.cache/uhr_seg_ros`.

    Raises:
        ConfigError: it is in a home folder that is not known.

    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = expand_home(directory) if directory else cache_folder()

    def read(self, key: Key) -> tuple[bytes, dict[str, Any]] | None:
        """Return content and facts of an entry; None if it is not there or `fault` finds one."""
        content, facts, fault = self._examine(key)
        if fault:
            return None
        with suppress(OSError):  # such as a cache that is mounted read-only
            os.utime(self.path(key))
        return content, facts

    def path(self, key: Key) -> Path:
        """Return where an entry lies, whether it is there or not."""
        return self.directory / f'{key.stem}.{key.kind}'

    def facts(self, key: Key) -> dict[str, Any]:
        """Return what was noted about an entry, without reading it; empty if it is not there."""
        return read_facts(self.path(key))

    def fault(self, key: Key) -> str:
        """Say in a few words why there is no usable entry; empty if there is one."""
        return self._examine(key)[2]

    def write(self, key: Key, content: bytes, facts: Mapping[str, Any] | None = None) -> Path:
        """
        Keep an entry, in place of an earlier one of the same key.

        Args:
            key: what it was made from.
            content: of the file.
            facts: more to note in the sidecar.

        Raises:
            CacheError: the folder cannot be written.

        """
        path = self.path(key)
        sidecar = {
            'kind': key.kind,
            'name': key.name,
            'fields': dict(key.fields),
            'sha256': hashlib.sha256(content).hexdigest(),
            **(facts or {}),
        }
        text = json.dumps(sidecar, indent=2) + '\n'
        with self._writing():
            self._clear_unfinished()
            # The sidecar last: without it the entry counts as damaged.
            replace_file(path, content)
            replace_file(path.with_suffix('.json'), text.encode())
        return path

    def note(self, key: Key, facts: Mapping[str, Any]) -> None:
        """
        Add facts to the sidecar of an entry, if it is there.

        Raises:
            CacheError: the folder cannot be written.

        """
        path = self.path(key)
        if not path.is_file():
            return
        text = json.dumps({**read_facts(path), **facts}, indent=2) + '\n'
        with self._writing():
            replace_file(path.with_suffix('.json'), text.encode())

    def discard(self, key: Key) -> None:
        """
        Remove an entry, if it is there.

        Raises:
            CacheError: the folder cannot be written.

        """
        with self._writing():
            remove_entry(self.path(key))

    @contextmanager
    def lock(self, key: Key) -> Iterator[None]:
        """Keep other processes from making the same entry meanwhile."""
        with self._writing():
            file = (self.directory / f'{key.kind}.lock').open('a')
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def entries(self) -> list[Entry]:
        """List what is there, the one used last first."""
        found = []
        for sidecar in self.directory.glob('*.json'):
            path = file_of(sidecar)
            if path is not None:
                status = path.stat()
                found.append(Entry(path, status.st_size, status.st_mtime, read_facts(path)))
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def matching(self, key: Key) -> list[Key]:
        """List the keys of a kind and name with at least these fields, the one used last first."""
        return [
            Key(key.kind, key.name, fields)
            for entry in self.entries()
            if entry.facts.get('kind') == key.kind
            and entry.facts.get('name') == key.name
            and isinstance(fields := entry.facts.get('fields'), dict)
            and key.fields.items() <= fields.items()
        ]

    def prune(self, keep_mb: float = 0.0) -> list[Entry]:
        """
        Remove what was not used for longest, until at most `keep_mb` MB are left.

        Returns:
            What was removed.

        """
        self._clear_unfinished()
        room = keep_mb * 1e6
        removed = []
        for entry in self.entries():
            room -= entry.size
            if room < 0:
                remove_entry(entry.path)
                removed.append(entry)
        return removed

    def _clear_unfinished(self) -> None:
        """Remove what processes left behind that were killed while they wrote."""
        for path in self.directory.glob(f'.*{UNFINISHED}'):
            with suppress(FileNotFoundError):  # its writer was not killed after all
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.unlink()

    def _examine(self, key: Key) -> tuple[bytes, dict[str, Any], str]:
        """Return content, facts, and what is wrong with them."""
        path = self.path(key)
        try:
            with open_regular(path) as file:
                status, content = os.fstat(file.fileno()), file.read()
            folder = path.parent.stat()
        except (OSError, FileFault):
            return b'', {}, self._nearest_difference(key)
        facts = read_facts(path)
        if is_shared(folder) or is_shared(status):
            place = path.parent if is_shared(folder) else path
            return b'', {}, f'{place} can be written by other users'
        if facts.get('sha256') != hashlib.sha256(content).hexdigest():
            return b'', {}, f'{path} is damaged'
        return content, facts, ''

    def _nearest_difference(self, key: Key) -> str:
        """Return what changed since an entry of the same name was made."""
        for entry in self.entries():
            if entry.facts.get('kind') == key.kind and entry.facts.get('name') == key.name:
                before = entry.facts.get('fields')
                before = before if isinstance(before, dict) else {}
                changes = [
                    f'{name} was {before.get(name)}, is {value}'
                    for name, value in key.fields.items()
                    if before.get(name) != value
                ]
                return '; '.join(changes)
        return 'none was made yet'

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_shared(self.directory.stat()):
                msg = (
                    f'engine cache {self.directory} can be written by other users, so nothing in '
                    f'it is read: chmod go-w {self.directory}, or choose a folder of your own'
                )
                raise CacheError(msg)
            yield
        except OSError as err:
            msg = (
                f'engine cache {self.directory} cannot be written ({err.strerror}): choose a '
                'folder of your own, by engine_cache of the node, --cache of the command line '
                'or XDG_CACHE_HOME'
            )
            raise CacheError(msg) from err
