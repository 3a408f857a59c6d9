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

"""The driver's notes: a line for everything that is done, on the disk before the next is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import json
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.fleet.options import BatchOptions, WORK
from uhr_seg_ros.fleet.units import DONE, Record, RESULTS

_LINES = 'manifest.jsonl'


class Known(NamedTuple):
    """What is kept in memory of a record that is done."""

    fingerprint: str
    content: str
    outputs: tuple[str, ...]
    offset: int

    def as_work(self) -> dict[str, Any]:
        """Return what a worker needs to see that nothing has changed."""
        return {'content': self.content, 'outputs': list(self.outputs)}


class Manifest:
    """
    Records of a folder of results, those of earlier runs among them; a context manager.

    Of earlier runs only what tells finished units is in memory, of this one nothing.

    Args:
        options: of this run.

    Raises:
        OSError: the file cannot be read or written.

    """

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._path = options.folder / WORK / _LINES
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._known = self._read()
        self._file = self._path.open('ab')
        if self._file.tell() and not _ends_whole(self._path):
            self._file.write(b'\n')  # what is added stands on a line of its own

    def find(self, slot: str) -> Known | None:
        """Return what an earlier run has noted, if its files are still there."""
        known = self._known.get(slot)
        if known is None:
            return None
        folder = self._options.folder
        return known if all((folder / each).exists() for each in known.outputs) else None

    def add(self, record: Record) -> None:
        """Note what became of a unit; a killed driver finds it again."""
        self._file.write(_line(record))
        self._file.flush()

    def renew(self, record: Record) -> None:
        """Note that a worker has found an input of an earlier run unchanged, but for its times."""
        with self._path.open('rb') as file:
            file.seek(self._known[record.slot].offset)
            earlier = _parse(file.readline())
        assert earlier is not None  # it was read before
        self.add(replace(earlier, fingerprint=record.fingerprint))

    def results(self) -> Iterator[Record]:
        """
        Yield the newest record of each result with the options of this run.

        What an earlier run has left that had other options is not among them.
        """
        wanted = {self._options.settings, self._options.settings_of_parts}
        newest: dict[str, int] = {}
        for offset, record in self._lines():
            if record.settings in wanted:
                newest[record.slot] = offset
        offsets = set(newest.values())
        for offset, record in self._lines():
            if offset in offsets and record.kind in RESULTS:
                yield record

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _read(self) -> dict[str, Known]:
        """Read what is done; lines that later ones replace are removed from the file."""
        newest: dict[str, int] = {}
        count = 0
        for offset, record in self._lines():
            newest[record.slot] = offset
            count += 1
        if count > len(newest):
            offsets = set(newest.values())
            with atomic_write(self._path) as unfinished, unfinished.open('wb') as file:
                for offset, record in self._lines():
                    if offset in offsets:
                        file.write(_line(record))
        return {
            record.slot: Known(record.fingerprint, record.content, tuple(record.outputs), offset)
            for offset, record in self._lines()
            if record.status == DONE
        }

    def _lines(self) -> Iterator[tuple[int, Record]]:
        """Yield the records and where their lines begin, but for lines that are cut."""
        if not self._path.exists():
            return
        with self._path.open('rb') as file:
            offset = 0
            for line in file:
                record = _parse(line)
                if record is not None:
                    yield offset, record
                offset += len(line)


def _line(record: Record) -> bytes:
    return (json.dumps(record.as_dict()) + '\n').encode()


def _parse(line: bytes) -> Record | None:
    """Read a record; a line that is cut, as by a full disk or a loss of power, is none."""
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _ends_whole(path: Path) -> bool:
    with path.open('rb') as file:
        file.seek(-1, 2)
        return file.read() == b'\n'
