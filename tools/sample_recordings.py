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

"""Small recordings of every kind, as rosbag2 writes them and leaves them behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import shutil
import sqlite3
import struct
from typing import Any
import zlib

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

from uhr_seg_ros.replay import bags

TYPES = get_typestore(Stores.ROS2_HUMBLE)


def make_recordings(folder: Path) -> list[Path]:
    """Record some frames in both storages, in every compression, whole and left behind."""
    made = []
    for storage in StoragePlugin:
        for mode in CompressionMode:
            if (storage, mode) != (StoragePlugin.SQLITE3, CompressionMode.STORAGE):
                made.append(folder / f'{storage.name}_{mode.name}'.lower())
                _record(made[-1], storage, mode)
    made += [_leave_behind(folder / 'log', 'WAL'), _leave_behind(folder / 'journal', 'DELETE')]
    for name in ('mcap_none', 'mcap_storage', 'sqlite3_none'):
        made.append(folder / f'{name}_alone')
        shutil.copytree(folder / name, made[-1])
        (made[-1] / 'metadata.yaml').unlink()
    made.append(_write_without_chunks(folder / 'bare'))
    made.append(folder / 'split')
    made[-1].mkdir()
    for number in (2, 10):
        shutil.copy(folder / 'mcap_none/mcap_none.mcap', made[-1] / f'split_{number}.mcap')
    return made


def _messages() -> Iterator[tuple[str, str, int, bytes]]:
    types = TYPES.types
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    for index in range(6):
        stamp = types['builtin_interfaces/msg/Time'](sec=1 + index, nanosec=5)
        header = types['std_msgs/msg/Header'](stamp=stamp, frame_id='camera')
        packed = types[bags.COMPRESSED_IMAGE](
            header=header, format='png', data=cv2.imencode('.png', pixels)[1].reshape(-1)
        )
        image = types[bags.IMAGE](
            header=header,
            height=24,
            width=32,
            encoding='bgr8',
            is_bigendian=0,
            step=96,
            data=pixels.reshape(-1),
        )
        text = types['std_msgs/msg/String'](data='word ' * index)
        for topic, kind, message in (
            ('/image_raw', bags.IMAGE, image),
            ('/packed', bags.COMPRESSED_IMAGE, packed),
            ('/talk', 'std_msgs/msg/String', text),
        ):
            yield topic, kind, 10**9 * (1 + index), bytes(TYPES.serialize_cdr(message, kind))


def _record(path: Path, storage: StoragePlugin, mode: CompressionMode) -> None:
    writer = Writer(path, version=8, storage_plugin=storage)
    if mode != CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        known: dict[str, Any] = {}
        for topic, kind, time_ns, message in _messages():
            if topic not in known:
                known[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(known[topic], time_ns, message)


def _leave_behind(path: Path, mode: str) -> Path:
    """Copy a db3 while it is written to, as a recorder that is killed leaves it."""
    source = path.with_name(f'{path.name}_source')
    _record(source, StoragePlugin.SQLITE3, CompressionMode.NONE)
    file = source / f'{source.name}.db3'
    database = sqlite3.connect(file, isolation_level=None)
    database.execute(f'PRAGMA journal_mode = {mode}')
    database.execute('PRAGMA cache_size = 2')  # so that pages go to the file before the end
    database.execute('BEGIN')
    database.execute(
        'INSERT INTO messages (topic_id, timestamp, data) '
        'SELECT topic_id, timestamp + 1, data FROM messages'
    )
    if mode == 'WAL':
        database.execute('COMMIT')
    path.mkdir()
    for side in source.glob('*.db3*'):
        if not side.name.endswith('-shm'):
            shutil.copy(side, path / side.name.replace(source.name, path.name))
    database.close()
    shutil.rmtree(source)
    return path


def _write_without_chunks(path: Path) -> Path:
    """Write what rosbag2's preset for fast writing gives: messages one after the other."""

    def record(opcode: int, *fields: bytes) -> bytes:
        content = b''.join(fields)
        return struct.pack('<BQ', opcode, len(content)) + content

    def text(value: str) -> bytes:
        return struct.pack('<I', len(value)) + value.encode()

    data = b'\x89MCAP0\r\n' + record(1, text('ros2'), text(''))
    known: dict[str, int] = {}
    for topic, kind, time_ns, message in _messages():
        if topic not in known:
            known[topic] = number = len(known) + 1
            ids = struct.pack('<H', number)
            data += record(3, ids, text(kind), text('ros2msg'), text(''))
            data += record(4, ids, ids, text(topic), text('cdr'), text(''))
        data += record(5, struct.pack('<HIQQ', known[topic], 0, time_ns, time_ns), message)
    data += record(0x0F, struct.pack('<I', 0))
    footer = struct.pack('<BQQQ', 2, 20, 0, 0)
    path.mkdir()
    file = path / 'bare.mcap'
    file.write_bytes(data + footer + struct.pack('<I', zlib.crc32(footer)) + data[:8])
    return path
