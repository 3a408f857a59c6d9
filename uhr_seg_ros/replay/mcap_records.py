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

"""The records of an mcap file; every length is checked before it is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
import struct
from zlib import crc32

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)

from uhr_seg_ros.replay.storage import (
    Damaged,
    LARGEST,
    parse_profiles,
    unpack_lz4,
    unpack_zstd,
)

MAGIC = b'\x89MCAP0\r\n'

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = range(1, 7)
MESSAGE_INDEX, CHUNK_INDEX = 7, 8
STATISTICS, DATA_END = 0x0B, 0x0F

#: (offset, size) -> so many bytes, or as many as there are.
ReadAt = Callable[[int, int], bytes]

#: Opcode and length of a record.
HEAD = struct.Struct('<BQ')

#: Channel, sequence, and the times of recording and of publication of a message.
MESSAGE_HEAD = struct.Struct('<HIQQ')

_FORMATS = {
    'ros2msg': MessageDefinitionFormat.MSG,
    'ros2idl': MessageDefinitionFormat.IDL,
    'omgidl': MessageDefinitionFormat.IDL,
}


class Fields:
    """The fields of a record, one after the other."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that follow."""
        return len(self._data) - self._at

    def take(self, size: int) -> memoryview:
        """Return the next bytes."""
        if size > self.left:
            msg = f'a field of {size} bytes where {self.left} are left'
            raise Damaged(msg)
        self._at += size
        return self._data[self._at - size : self._at]

    def numbers(self, layout: str) -> tuple[int, ...]:
        """Return the next numbers, by a layout of `struct`."""
        layout = f'<{layout}'
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def number(self, layout: str) -> int:
        """Return the next number."""
        return self.numbers(layout)[0]

    def text(self) -> str:
        """Return a string; what is not UTF-8 of it is replaced."""
        return bytes(self.take(self.number('I'))).decode(errors='replace')


@dataclass(frozen=True)
class Chunk:
    """
    Messages that were written together, or the ones of a file without chunks in a row.

    Attributes:
        start_ns: time of the first one.
        offset: of the record in the file.
        size: of the record.
        channels: of the messages; empty if that is not known.
        bare: whether these are messages without a chunk around them.
        cut: whether the end is missing.
        stop_ns: time of the last message, if the index tells.

    """

    start_ns: int
    offset: int
    size: int
    channels: frozenset[int] = frozenset()
    bare: bool = False
    cut: bool = False
    stop_ns: int | None = None


@dataclass
class Topics:
    """The channels of a file, and the messages of each as far as they were counted."""

    schemas: dict[int, tuple[str, MessageDefinition]] = field(default_factory=dict)
    channels: dict[int, Connection] = field(default_factory=dict)
    foreign: dict[int, tuple[str, str]] = field(default_factory=dict)

    def add(self, opcode: int, content: bytes | memoryview) -> None:
        """Take a record of a schema or a channel; others are left out."""
        fields = Fields(content)
        if opcode == SCHEMA:
            number = fields.number('H')
            name, encoding, data = fields.text(), fields.text(), fields.text()
            kind = _FORMATS.get(encoding, MessageDefinitionFormat.NONE)
            self.schemas[number] = (name, MessageDefinition(kind, data))
        elif opcode == CHANNEL:
            number, schema = fields.numbers('HH')
            topic, encoding = fields.text(), fields.text()
            if encoding != 'cdr':
                self.foreign[number] = (topic, encoding)
                return
            nothing = MessageDefinition(MessageDefinitionFormat.NONE, '')
            name, definition = self.schemas.get(schema, ('__schemaless__', nothing))
            profiles = _profiles(Fields(fields.take(fields.number('I'))))
            extra = ConnectionExtRosbag2(encoding, profiles)
            self.channels[number] = Connection(number, topic, name, definition, '', 0, extra, None)

    def knows(self, channel: int) -> bool:
        """Tell if a channel was described."""
        return channel in self.channels or channel in self.foreign


@dataclass
class Index:
    """Topics, chunks, and messages by channel; `loss` says what of the file is missing."""

    topics: Topics = field(default_factory=Topics)
    chunks: list[Chunk] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    loss: str = ''


def _profiles(pairs: Fields) -> list:
    while pairs.left:
        key, value = pairs.text(), pairs.text()
        if key == 'offered_qos_profiles':
            return parse_profiles(value)
    return []


def records(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """
    Yield opcode and content of every record.

    Raises:
        Damaged: the data end within one.

    """
    fields = Fields(data)
    while fields.left:
        opcode, size = HEAD.unpack(fields.take(HEAD.size))
        yield opcode, fields.take(size)


def unpack_chunk(content: bytes | memoryview, *, cut: bool = False) -> bytes | memoryview:
    """
    Return the records within a record of a chunk.

    Args:
        content: of the record.
        cut: whether its end is missing.

    Raises:
        Damaged: it is cut, fails its checksum or would take too much memory.

    """
    fields = Fields(content)
    _, _, size, checksum = fields.numbers('QQQI')
    compression = fields.text()
    packed = fields.number('Q')
    if size > LARGEST:
        msg = f'a chunk declares {size} bytes, more than the {LARGEST} that are accepted'
        raise Damaged(msg)
    data = fields.take(min(packed, fields.left) if cut else packed)
    unpacked: bytes | memoryview
    if compression == 'zstd':
        unpacked = unpack_zstd(data, size, cut=cut)
    elif compression == 'lz4':
        unpacked = unpack_lz4(data, size, cut=cut)
    elif not compression:
        unpacked = data
    else:
        msg = f'a chunk is compressed by {compression[:20]!r}: known are zstd and lz4'
        raise Damaged(msg)
    if cut:
        return unpacked
    if len(unpacked) != size:
        msg = f'a chunk gives {len(unpacked)} bytes and declares {size}'
        raise Damaged(msg)
    if checksum and crc32(unpacked) != checksum:
        msg = 'the checksum of a chunk does not match'
        raise Damaged(msg)
    return unpacked
