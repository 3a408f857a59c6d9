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

"""Read the messages of an mcap file, whatever of it is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
import heapq
from itertools import count
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import Connection

from uhr_seg_ros.replay.mcap_index import index_mcap
from uhr_seg_ros.replay.mcap_records import (
    CHUNK,
    Chunk,
    HEAD,
    MESSAGE,
    MESSAGE_HEAD,
    records,
    unpack_chunk,
)
from uhr_seg_ros.replay.storage import Damaged, LARGEST, Losses, Span, warn_once

# Time in ns, number in the order of the file, channel and message.
_Message = tuple[int, int, int, memoryview]


class McapStorage:
    """
    An mcap file.

    Args:
        stream: the file, open; it is closed with the storage.
        path: its name in warnings.
        loss: what is already known to be missing.

    Raises:
        Damaged: it is not an mcap file, or one that has lost all its topics.

    """

    def __init__(self, stream: BinaryIO, path: Path, loss: str = '') -> None:
        self._stream = stream
        self.losses = Losses()
        index = index_mcap(self._read_at, stream.seek(0, 2))
        if index.loss and not index.topics.channels and not index.topics.foreign:
            raise Damaged(index.loss)
        self._chunks = sorted(index.chunks, key=lambda chunk: chunk.start_ns)
        self.connections: list[Connection] = [
            connection._replace(msgcount=index.counts[number])
            for number, connection in index.topics.channels.items()
        ]
        self.loss = loss or index.loss
        self.remedy = f'`mcap recover {path}` makes a whole file of it'
        for topic, encoding in index.topics.foreign.values():
            warn_once(path, f'has {topic} in {encoding!r} instead of cdr: it is left out')

    def messages(
        self, wanted: Collection[int], span: Span | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """Yield messages, as `Storage.messages`; chunks outside of the span are not read."""
        given = 0
        for time_ns, _, channel, message in self._ordered(frozenset(wanted), span):
            yield channel, time_ns, bytes(message)
            given += 1
        if span is not None:
            return
        expected = sum(each.msgcount for each in self.connections if each.id in wanted)
        if given < expected:
            self.losses.messages = expected - given
            if not self.losses.places:
                self.losses.add('its index', f'tells of {expected} where {given} are', 0)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _read_at(self, offset: int, size: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(size)

    def _ordered(self, wanted: frozenset[int], span: Span | None) -> Iterator[_Message]:
        """Merge chunks that overlap in time, as long as their messages fit into memory."""
        held: list[_Message] = []
        size = 0
        numbers = count()
        for chunk in self._chunks:
            if chunk.channels and not chunk.channels & wanted:
                continue
            if span is not None and _is_outside(chunk, span):
                continue
            while held and (held[0][0] < chunk.start_ns or size > LARGEST):
                size -= len(held[0][3])
                yield heapq.heappop(held)
            for time_ns, channel, message in self._load(chunk, wanted):
                heapq.heappush(held, (time_ns, next(numbers), channel, message))
                size += len(message)
        while held:
            yield heapq.heappop(held)

    def _load(self, chunk: Chunk, wanted: frozenset[int]) -> Iterator[tuple[int, int, memoryview]]:
        try:
            for opcode, content in records(self._records_of(chunk)):
                if opcode != MESSAGE:
                    continue
                if len(content) < MESSAGE_HEAD.size:
                    msg = f'a message of {len(content)} bytes with its head'
                    raise Damaged(msg)
                channel, _, time_ns, _ = MESSAGE_HEAD.unpack_from(content)
                if channel not in wanted:
                    continue
                if time_ns >> 63:
                    self.losses.add(f'byte {chunk.offset}', f'a message at {time_ns} ns', 0)
                    continue
                yield time_ns, channel, content[MESSAGE_HEAD.size :]
        except Damaged as err:
            if not chunk.cut:  # what is missing there was logged with the index
                self.losses.add(f'byte {chunk.offset}', str(err), 0)

    def _records_of(self, chunk: Chunk) -> bytes | memoryview:
        if chunk.size > LARGEST:
            msg = f'a record of {chunk.size} bytes, more than the {LARGEST} that are accepted'
            raise Damaged(msg)
        data = self._read_at(chunk.offset, chunk.size)
        if chunk.bare:
            return data
        opcode, size = HEAD.unpack_from(data.ljust(HEAD.size, b'\0'))
        if opcode != CHUNK or (size != len(data) - HEAD.size and not chunk.cut):
            msg = 'no chunk is where one should be'
            raise Damaged(msg)
        return unpack_chunk(memoryview(data)[HEAD.size :], cut=chunk.cut)


def _is_outside(chunk: Chunk, span: Span) -> bool:
    is_before = chunk.stop_ns is not None and chunk.stop_ns < span[0]
    return is_before or chunk.start_ns >= span[1]
