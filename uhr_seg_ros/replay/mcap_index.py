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

"""What is where in an mcap file: by its summary, or by its records where that is not right."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
import re
from zlib import crc32

from uhr_seg_ros.replay.mcap_records import (
    CHANNEL,
    CHUNK,
    Chunk,
    CHUNK_INDEX,
    DATA_END,
    Fields,
    FOOTER,
    HEAD,
    Index,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    MESSAGE_INDEX,
    ReadAt,
    records,
    SCHEMA,
    STATISTICS,
    unpack_chunk,
)
from uhr_seg_ros.replay.storage import Damaged, LARGEST

# A footer with its head, and the magic bytes behind it.
_END = HEAD.size + 20 + len(MAGIC)


def index_mcap(read_at: ReadAt, size: int) -> Index:
    """
    Find topics and chunks of a file of `size` bytes.

    Raises:
        Damaged: it is not an mcap file.

    """
    if read_at(0, len(MAGIC)) != MAGIC:
        msg = 'does not begin as an mcap file does'
        raise Damaged(msg)
    try:
        return _by_summary(read_at, size) or scan_mcap(read_at, size)
    except Damaged as err:
        index = scan_mcap(read_at, size)
        index.loss = index.loss or f'has lost its summary ({err})'
        return index


def _by_summary(read_at: ReadAt, size: int) -> Index | None:
    """Read the summary; None where it may leave out what is needed."""
    end = read_at(max(size - _END, 0), _END)
    if len(end) < _END or not end.endswith(MAGIC):
        msg = 'no end'
        raise Damaged(msg)
    fields = Fields(end)
    if fields.numbers('BQ') != (FOOTER, 20):
        msg = 'no footer'
        raise Damaged(msg)
    start, _, checksum = fields.numbers('QQI')
    if not start:
        return None
    if not len(MAGIC) <= start <= size - _END or size - start > LARGEST:
        msg = f'it would begin at byte {start}'
        raise Damaged(msg)
    section = read_at(start, size - _END - start)
    if checksum and crc32(section + end[: HEAD.size + 16]) != checksum:
        msg = 'its checksum does not match'
        raise Damaged(msg)
    return _read_summary(section, start)


def _read_summary(section: bytes, end: int) -> Index | None:
    index, indexed = Index(), Counter[int]()
    stated: tuple[int, int] | None = None
    complete = True
    for opcode, content in records(section):
        fields = Fields(content)
        index.topics.add(opcode, content)
        if opcode == CHUNK_INDEX:
            first, last, offset, length = fields.numbers('QQQQ')
            if offset < len(MAGIC) or offset + length > end:
                msg = f'a chunk would be at bytes {offset} to {offset + length}'
                raise Damaged(msg)
            counts = _count_indexed(fields, offset + length)
            chunk = Chunk(first, offset, length, frozenset(counts), stop_ns=last)
            index.chunks.append(chunk)
            complete = complete and bool(counts)
            indexed.update(counts)
        elif opcode == STATISTICS:
            total, *_, chunks, _, _ = fields.numbers('QHIIIIQQ')
            stated = (total, chunks)
            pairs = Fields(fields.take(fields.number('I')))
            while pairs.left:
                channel, count = pairs.numbers('HQ')
                index.counts[channel] += count
    if stated is None or (stated[0] and not index.chunks):
        return None
    if not all(map(index.topics.knows, index.counts)):
        return None
    total, chunks = stated
    if (total, chunks) != (index.counts.total(), len(index.chunks)) or (
        complete and +indexed != +index.counts
    ):
        msg = 'it contradicts itself'
        raise Damaged(msg)
    return index


def _count_indexed(fields: Fields, start: int) -> Counter[int]:
    """Count messages by where the records begin that list those of one channel each."""
    pairs = Fields(fields.take(fields.number('I')))
    begins = []
    while pairs.left:
        channel, offset = pairs.numbers('HQ')
        begins.append((offset, channel))
    begins.sort()
    stops = [offset for offset, _ in begins[1:]] + [start + fields.number('Q')]
    return Counter(
        {
            channel: max(0, stop - offset - HEAD.size - 6) // 16
            for (offset, channel), stop in zip(begins, stops, strict=True)
        }
    )


# How the record of a chunk begins: length, times, unpacked size, checksum, name of the
# compression with its length, and packed size.
_CHUNK_HEAD = re.compile(
    rb'\x06(.{8}).{16}(.{8}).{4}(\0{4}|\x03\0{3}lz4|\x04\0{3}zstd)(.{8})', re.DOTALL
)
_MAX_HEAD = 53
_WINDOW = 1 << 24

# Messages outside of chunks are read in runs of this size.
_RUN = 1 << 22


def find_chunk(read_at: ReadAt, start: int, size: int) -> int | None:
    """Find the next record of a chunk in a file, by all lengths in it fitting together."""
    while start < size:
        window = read_at(start, _WINDOW)
        found = _CHUNK_HEAD.search(window)
        while found:
            length, unpacked, name, packed = found.groups()
            length, unpacked, packed = (
                int.from_bytes(each, 'little') for each in (length, unpacked, packed)
            )
            left = size - start - found.start() - HEAD.size
            if length == 36 + len(name) + packed <= left and (len(name) > 4 or packed == unpacked):
                return start + found.start()
            found = _CHUNK_HEAD.search(window, found.start() + 1)
        start += max(1, len(window) - _MAX_HEAD)
    return None


def scan_mcap(read_at: ReadAt, size: int) -> Index:
    """Find topics and chunks of a file of `size` bytes by its records, as far as they go."""
    scan = _Scan(read_at, size)
    scan.run()
    return scan.index


class _Scan:
    """Go from record to record."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self.index = Index()
        self._read_at = read_at
        self._size = size
        self._run: list[int] = []  # offset, end and earliest time of messages outside of chunks
        self._open: Chunk | None = None
        self._indexed = Counter[int]()

    def run(self) -> None:
        at: int | None = len(MAGIC)
        while at is not None:
            head = self._read_at(at, HEAD.size)
            if len(head) < HEAD.size:
                self.index.loss = self.index.loss or f'has lost its end: it stops at byte {at}'
                break
            opcode, length = HEAD.unpack(head)
            if opcode in (DATA_END, FOOTER):
                break
            if opcode and length <= self._size - at - HEAD.size:
                self._take(opcode, at, length)
                at += HEAD.size + length
            else:
                at = self._skip(opcode, at, length)
        self._close_chunk()
        self._close_run()

    def _skip(self, opcode: int, at: int, length: int) -> int | None:
        """Find where reading goes on behind what is not a record; None: nowhere."""
        following = find_chunk(self._read_at, at + 1, self._size)
        end = self._size if following is None else following
        if not self.index.loss:
            self.index.loss = f'is damaged from byte {at} to {end}'
            if following is None and opcode:
                self.index.loss = (
                    f'is cut or damaged at byte {at}: {end - at - HEAD.size} of {length} bytes '
                    'of a record are left'
                )
        if opcode == CHUNK:
            self._close_chunk()
            self._open = Chunk(self._start_of(at), at, end - at, cut=True)
        return following

    def _take(self, opcode: int, at: int, length: int) -> None:
        if opcode == MESSAGE_INDEX:
            channel, count = Fields(self._read_at(at + HEAD.size, 6).ljust(6)).numbers('HI')
            self._indexed[channel] += count // 16
            return
        self._close_chunk()
        if opcode == MESSAGE:
            self._add_message(at, length)
            return
        self._close_run()
        if opcode == CHUNK:
            self._open = Chunk(self._start_of(at), at, HEAD.size + length)
        elif opcode in (SCHEMA, CHANNEL) and length <= LARGEST:
            self._learn(opcode, self._read_at(at + HEAD.size, length))

    def _start_of(self, at: int) -> int:
        return int.from_bytes(self._read_at(at + HEAD.size, 8), 'little')

    def _learn(self, opcode: int, content: bytes | memoryview) -> None:
        with suppress(Damaged):  # its messages are then of no topic that is known
            self.index.topics.add(opcode, content)

    def _add_message(self, at: int, length: int) -> None:
        head = self._read_at(at + HEAD.size, min(length, MESSAGE_HEAD.size))
        if len(head) < MESSAGE_HEAD.size:
            return
        channel, _, time_ns, _ = MESSAGE_HEAD.unpack(head)
        self.index.counts[channel] += 1
        end = at + HEAD.size + length
        if self._run and end - self._run[0] > _RUN:
            self._close_run()
        first, _, earliest = self._run or (at, end, time_ns)
        self._run = [first, end, min(earliest, time_ns)]

    def _close_run(self) -> None:
        if self._run:
            offset, end, earliest = self._run
            self.index.chunks.append(Chunk(earliest, offset, end - offset, bare=True))
        self._run = []

    def _close_chunk(self) -> None:
        """Count the messages of a chunk by the records behind it, or else by what is in it."""
        chunk, indexed = self._open, self._indexed
        self._open, self._indexed = None, Counter()
        if chunk is None:
            return
        if indexed and all(map(self.index.topics.knows, indexed)):
            self._add_chunk(chunk, indexed)
            return
        counts = Counter[int]()
        try:
            content = self._read_at(chunk.offset + HEAD.size, chunk.size - HEAD.size)
            for opcode, record in records(unpack_chunk(content, cut=chunk.cut)):
                self._learn(opcode, record)
                if opcode == MESSAGE:
                    counts[Fields(record).number('H')] += 1
        except Damaged as err:
            if not chunk.cut:
                self.index.loss = self.index.loss or f'is damaged at byte {chunk.offset} ({err})'
        if counts:
            self._add_chunk(chunk, counts)

    def _add_chunk(self, chunk: Chunk, counts: Counter[int]) -> None:
        self.index.chunks.append(replace(chunk, channels=frozenset(counts)))
        self.index.counts += counts
