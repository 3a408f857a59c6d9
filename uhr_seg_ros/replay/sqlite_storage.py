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

"""Read the messages of a db3 file, whatever of it is there."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import apsw
import numpy as np
from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)

from uhr_seg_ros.replay.sqlite_files import LOG, lost_bytes, open_sqlite, pages_in_log, side_files
from uhr_seg_ros.replay.storage import Damaged, Losses, parse_profiles, Span, warn_once

_FIRST, _LAST = -(1 << 63), (1 << 63) - 1

# Places that are jumped over, before the rest of a file is given up.
_MAX_PLACES = 1000

_FORMATS = {'ros2msg': MessageDefinitionFormat.MSG, 'ros2idl': MessageDefinitionFormat.IDL}


class SqliteStorage:
    """
    A db3 file.

    Args:
        path: the file.
        name: its name in warnings.
        loss: what is already known to be missing.

    Raises:
        apsw.Error: it is not such a file, or damaged where it begins.
        RecordingError: there is no room for a copy of it, which a journal asks for.
        Damaged: it is cut within its first page, or has no table of topics or messages.

    """

    def __init__(self, path: Path, name: Path, loss: str = '') -> None:
        self.losses = Losses()
        self._database = open_sqlite(path, name)
        self.remedy = f'`sqlite3 {name} .recover` makes a whole file of it'
        try:
            self.loss = loss or self._missing(path)
            self._check_tables()
            counts = self._count()
            self.connections = [
                each._replace(msgcount=counts.pop(each.id, 0)) for each in self._topics(name)
            ]
        except BaseException:
            self.close()
            raise
        if unknown := counts.total():
            warn_once(name, f'has {unknown} messages of topics that it does not name')

    def messages(
        self, wanted: Collection[int], span: Span | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """Yield messages, as `Storage.messages`."""
        self.losses = Losses()
        table = self._find(frozenset(wanted))
        times, rows, topics = np.asarray(table, np.int64).reshape(-1, 3).T
        for index in np.argsort(times, kind='stable'):
            row, time_ns = int(rows[index]), int(times[index])
            if span is not None and not span[0] <= time_ns < span[1]:
                continue
            try:
                (found,) = self._database.execute(
                    'SELECT data FROM messages WHERE rowid = ?', (row,)
                )
                message = found[0]
                if not isinstance(message, bytes) or time_ns < 0:
                    msg = f'{type(message).__name__} at {time_ns} ns'
                    raise ValueError(msg)
            except (apsw.Error, ValueError) as err:
                self.losses.add(f'message {row}', str(err))
            else:
                yield int(topics[index]), time_ns, message

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _missing(self, path: Path) -> str:
        """Return what is known to be missing before a message is read."""
        if pages := pages_in_log(path):
            there = self._database.pragma('page_count')
            lost = pages - there
            return f'has a damaged {LOG} file: {lost} pages of it are lost' if lost > 0 else ''
        if not side_files(path) and (lost := lost_bytes(path)):
            return f'has lost its last {lost} bytes'
        return ''

    def _check_tables(self) -> None:
        # A table that is none, as a view, could be made to never end.
        found = self._database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 "
            "AND name IN ('messages', 'topics')"
        ).fetchall()
        if len(found) != 2:
            names = ', '.join(sorted(str(name) for (name,) in found)) or 'neither'
            msg = f'has no tables of messages and topics (found: {names})'
            raise Damaged(msg)

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._database.execute(f'PRAGMA table_info({table})')}

    def _topics(self, name: Path) -> Iterator[Connection]:
        columns = self._columns('topics')
        wanted = ['id', 'name', 'type', 'serialization_format']
        if missing := [column for column in wanted if column not in columns]:
            msg = f'has a table of topics without {", ".join(missing)}'
            raise Damaged(msg)
        # What is not UTF-8 must not end the reading, so text comes as bytes.
        optional = ('offered_qos_profiles', 'type_description_hash')
        fields = [f'CAST({column} AS BLOB)' for column in wanted[1:]]
        fields += [f'CAST({each} AS BLOB)' if each in columns else "x''" for each in optional]
        definitions = self._definitions()
        rows = self._database.execute(f'SELECT id, {", ".join(fields)} FROM topics ORDER BY id')
        for number, *texts in rows:
            if not isinstance(number, int):  # it becomes a part of queries
                msg = 'has a topic without a number'
                raise Damaged(msg)
            topic, kind, encoding, profiles, digest = map(_text, texts)
            if encoding not in ('cdr', ''):
                warn_once(name, f'has {topic} in {encoding!r} instead of cdr: it is left out')
                continue
            nothing = MessageDefinition(MessageDefinitionFormat.NONE, '')
            extra = ConnectionExtRosbag2('cdr', parse_profiles(profiles))
            definition = definitions.get(kind, nothing)
            yield Connection(number, topic, kind, definition, digest, 0, extra, None)

    def _definitions(self) -> dict[str, MessageDefinition]:
        """Return the definition of each type; older recordings have none."""
        try:
            rows = self._database.execute(
                'SELECT CAST(topic_type AS BLOB), CAST(encoding AS BLOB), '
                'CAST(encoded_message_definition AS BLOB) FROM message_definitions'
            ).fetchall()
        except apsw.Error:
            return {}
        texts = (map(_text, row) for row in rows)
        return {
            kind: MessageDefinition(_FORMATS[encoding], definition)
            for kind, encoding, definition in texts
            if encoding in _FORMATS
        }

    def _count(self) -> Counter[int]:
        """Count the messages of each topic."""
        try:
            rows = self._database.execute(
                'SELECT topic_id, count(*) FROM messages NOT INDEXED GROUP BY topic_id'
            ).fetchall()
        except apsw.Error:
            table = np.asarray(self._find(None), np.int64).reshape(-1, 3)
            topics, counts = np.unique(table[:, 2], return_counts=True)
            return Counter(dict(zip(topics.tolist(), counts.tolist(), strict=True)))
        found: Counter[int] = Counter()
        for topic, count in rows:
            if isinstance(topic, int) and isinstance(count, int):
                found[topic] = count
        return found

    def _find(self, wanted: frozenset[int] | None) -> array:
        """List time, row and topic of messages; pages that are damaged are jumped over."""
        table = array('q')
        start = _FIRST
        chosen = '' if wanted is None else f'AND topic_id IN ({",".join(map(str, wanted))})'
        for _ in range(_MAX_PLACES):
            try:
                for row, topic, time_ns in self._database.execute(
                    'SELECT rowid, topic_id, timestamp FROM messages NOT INDEXED '
                    f'WHERE rowid >= ? {chosen} ORDER BY rowid',
                    (start,),
                ):
                    if row < start:
                        msg = f'message {row} comes after {start}'
                        raise ValueError(msg)
                    start = row + 1
                    if isinstance(topic, int) and isinstance(time_ns, int):
                        table.extend((time_ns, row, topic))
                    else:
                        self.losses.add(f'message {row}', 'no time or topic')
                return table
            except (apsw.Error, ValueError, OverflowError) as err:
                self.losses.add(f'message {max(start, 1)}', str(err), 0)
                following = self._next_readable(start)
            if following is None:
                break
            start = following
        return table

    def _next_readable(self, start: int) -> int | None:
        """Find where reading goes on behind a row that cannot be read; None: nowhere."""
        step = 1
        while start + step < _LAST and not self._reads_from(start + step):
            step *= 2
        if start + step >= _LAST:
            return None
        bad, good = start + step // 2, start + step
        while good - bad > 1:
            middle = (bad + good) // 2
            bad, good = (bad, middle) if self._reads_from(middle) else (middle, good)
        return good

    def _reads_from(self, row: int) -> bool:
        try:
            self._database.execute(
                'SELECT rowid FROM messages NOT INDEXED WHERE rowid >= ? ORDER BY rowid LIMIT 1',
                (row,),
            ).fetchall()
        except apsw.Error:
            return False
        return True


def _text(value: object) -> str:
    """Decode what a query cast to a blob; NULL is empty."""
    return value.decode(errors='replace') if isinstance(value, bytes) else ''
