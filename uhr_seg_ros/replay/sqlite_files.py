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

"""Open SQLite files of others: nothing is ever written beside them, and losses are logged."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
import os
from pathlib import Path
import shutil
from tempfile import gettempdir, TemporaryDirectory
from urllib.parse import quote

import apsw

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.storage import Damaged, LARGEST, warn_once

MAGIC = b'SQLite format 3\0'

#: Suffixes of what SQLite keeps beside a file that its writer did not close.
LOG, JOURNAL = '-wal', '-journal'

# The fourth byte tells the order of bytes.
_LOG_MAGIC = b'\x37\x7f\x06'

_JOURNAL_MAGIC = b'\xd9\xd5\x05\xf9\x20\xa1\x63\xd7'

# What a temporary copy leaves free on its disk.
_SPARE = 1 << 28


def side_files(path: Path) -> list[Path]:
    """List the files beside one of SQLite that hold a part of it."""
    # SQLite looks beside the file itself, also where it is named by a link.
    sides = [Path(f'{path.resolve()}{suffix}') for suffix in (LOG, JOURNAL)]
    return [file for file in sides if file.is_file() and _holds_data(file)]


def open_sqlite(path: Path, name: Path) -> apsw.Connection:
    """
    Open a file of SQLite for reading, with what a log or journal beside it adds or takes back.

    Args:
        path: the file.
        name: its name in warnings.

    Raises:
        apsw.Error: it is not such a file, or damaged where it begins.
        RecordingError: there is no room for a copy of it, which a journal asks for.
        Damaged: it is cut within its first page.

    """
    sides = side_files(path)
    if journals := [file for file in sides if file.name.endswith(JOURNAL)]:
        return _open_restored(path, journals[0], name)
    logs = [file for file in sides if file.name.endswith(LOG)]
    if logs:
        log = f'{logs[0].name} ({logs[0].stat().st_size} bytes)'
        if pages_in_log(path):
            text = (
                f'what {log} holds is read as well (sqlite3 {name} '
                '"PRAGMA wal_checkpoint(TRUNCATE)" makes one file of both)'
            )
        else:
            text = f'{log} holds nothing that was finished, or is damaged where it begins'
        warn_once(name, 'log', f'was not closed by its recorder: {text}')
    return _connect(path, with_log=bool(logs))


def lost_bytes(path: Path) -> int:
    """
    Return how much shorter a file is than its first page says.

    Raises:
        Damaged: it is cut within its first page.

    """
    with path.open('rb') as stream:
        head = stream.read(100)
    if len(head) < 100:
        msg = f'is cut after {len(head)} bytes'
        raise Damaged(msg)
    page = int.from_bytes(head[16:18], 'big')
    page = 1 << 16 if page == 1 else page
    if head[24:28] != head[92:96]:  # SQLite then takes the size of the file
        return 0
    return max(0, int.from_bytes(head[28:32], 'big') * page - path.stat().st_size)


def pages_in_log(path: Path) -> int:
    """
    Return the pages that a database has after the last transaction in the log beside it, or 0.

    SQLite ends reading a log where a checksum fails, and says nothing of what comes behind.
    """
    log = Path(f'{path.resolve()}{LOG}')
    if log not in side_files(path):
        return 0
    pages = 0
    with log.open('rb') as stream:
        head = stream.read(32)
        size = int.from_bytes(head[8:12], 'big')
        while head[:3] == _LOG_MAGIC and size and len(frame := stream.read(24)) == 24:
            # What another round of the same log left behind has other salts.
            if frame[8:16] == head[16:24]:
                pages = int.from_bytes(frame[4:8], 'big') or pages
            stream.seek(size, 1)
    return pages


def _holds_data(file: Path) -> bool:
    if file.name.endswith(LOG):
        return file.stat().st_size > 0
    try:
        with file.open('rb') as stream:  # a journal that is done with is emptied or zeroed
            return stream.read(len(_JOURNAL_MAGIC)) == _JOURNAL_MAGIC
    except OSError:  # it may; SQLite says why it cannot use it
        return True


def _connect(path: Path, *, with_log: bool = False) -> apsw.Connection:
    # Nobody writes to an immutable file, so its log is not looked for; with a log, the exclusive
    # mode keeps SQLite from making the file of shared memory that goes with one.
    options = 'mode=ro' if with_log else 'mode=ro&immutable=1'
    connection = apsw.Connection(
        f'file:{quote(os.fsencode(path.resolve()))}?{options}',
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        # Python is asked for every page by it.
        vfs=_reading_only() if with_log or lost_bytes(path) else None,
    )
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, LARGEST)
        for pragma in (
            'locking_mode=EXCLUSIVE',
            'cell_size_check=ON',
            'trusted_schema=OFF',
            'writable_schema=ON',  # or else a file that has lost its end is refused as a whole
        ):
            connection.execute(f'PRAGMA {pragma}')
        _load_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _load_schema(connection: apsw.Connection) -> None:
    """
    Let SQLite look at the tables.

    Newer ones leave statistics for their planner at the end of a file, which nobody needs to read
    messages. Where they are cut off SQLite goes on without them, but the error of our `xRead`
    comes through once.
    """
    with suppress(apsw.IOError):
        connection.execute('SELECT count(*) FROM sqlite_master').fetchall()
        return
    connection.execute('SELECT count(*) FROM sqlite_master').fetchall()


def _open_restored(path: Path, journal: Path, name: Path) -> apsw.Connection:
    """Undo in a copy what the recorder had not finished; the copy has no name once it is open."""
    warn_once(
        name,
        'journal',
        f'was not closed by its recorder: it is read as {journal.name} restores it, in a copy',
    )
    needed = path.stat().st_size + 2 * journal.stat().st_size
    free = shutil.disk_usage(gettempdir()).free
    if needed + _SPARE > free:
        msg = (
            f'{path} was not closed by its recorder, and a copy of it does not fit into '
            f'{gettempdir()} ({free} bytes free, {needed + _SPARE} needed): make room, set '
            f'TMPDIR, or let SQLite restore it in its place: sqlite3 {path} "PRAGMA user_version"'
        )
        raise RecordingError(msg)
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        copy = Path(folder) / 'copy.db3'
        shutil.copyfile(path, copy)
        shutil.copyfile(journal, f'{copy}{JOURNAL}')
        with apsw.Connection(str(copy)) as writing:
            writing.execute('SELECT count(*) FROM sqlite_master').fetchall()
        writing.close()
        return _connect(copy)


@cache
def _reading_only() -> str:
    """Return the name of a VFS that opens files for reading only, none beyond its end."""

    class File(apsw.VFSFile):
        def __init__(self, name: str | apsw.URIFilename, flags: list[int], size: int) -> None:
            super().__init__('unix-none', name, flags)
            self._size = size

        def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
            # SQLite fills up with zeros, and so would pixels that are lost be black ones.
            if offset and offset + amount > self._size:
                msg = f'{amount} bytes at {offset} of {self._size}'
                raise apsw.IOError(msg)
            return super().xRead(amount, offset)

    class ReadOnly(apsw.VFS):
        def __init__(self) -> None:
            super().__init__('uhr_seg_reading', 'unix-none')

        def xOpen(  # noqa: N802
            self, name: str | apsw.URIFilename | None, flags: list[int]
        ) -> apsw.VFSFile:
            if name is None:  # a temporary file of its own, to sort in
                return super().xOpen(name, flags)
            writing = (
                apsw.SQLITE_OPEN_READWRITE
                | apsw.SQLITE_OPEN_CREATE
                | apsw.SQLITE_OPEN_DELETEONCLOSE
            )
            flags[0] = flags[0] & ~writing | apsw.SQLITE_OPEN_READONLY
            if flags[0] & apsw.SQLITE_OPEN_MAIN_DB:
                path = Path(name if isinstance(name, str) else name.filename())
                if lost_bytes(path):
                    return File(name, flags, path.stat().st_size)
            return apsw.VFSFile('unix-none', name, flags)

        def xDelete(self, name: str, _sync: bool) -> None:  # noqa: N802, FBT001
            msg = f'{name} is not deleted'
            raise apsw.IOError(msg)

    # SQLite knows it by its name as long as it lives.
    _reading_only.keep = ReadOnly()  # type: ignore[attr-defined]
    return 'uhr_seg_reading'
