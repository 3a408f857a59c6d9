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

"""Recordings to damage, and what is read of them."""

from __future__ import annotations

from pathlib import Path
import shutil
import sqlite3

import numpy as np

from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import read_messages

TOPIC = '/image_raw'


def record(
    path: Path, count: int, *, storage: str = 'mcap', first: int = 0, height: int = 24
) -> Path:
    """Record frames with the times 0, 1, 2..., and give the storage file."""
    with BagWriter(path, storage=storage) as bag:
        for index in range(first, first + count):
            noise = np.random.default_rng(index).integers(0, 256, (height, 400, 3), np.uint8)
            bag.write(noise, index)
    return next(file for file in path.iterdir() if file.suffix in ('.mcap', '.db3'))


def alone(path: Path, count: int, **options: object) -> Path:
    """Record frames, and give the storage file without its metadata.yaml."""
    file = record(path, count, **options)
    (path / 'metadata.yaml').unlink()
    return file


def times(path: Path, topic: str = TOPIC) -> list[int]:
    """Return the times of the frames that are read; each must be the one that was recorded."""
    found = []
    for time_ns, message in read_messages(path, topic):
        pixels = message[-message_size(message) :]
        expected = np.random.default_rng(time_ns).integers(0, 256, len(pixels), np.uint8)
        assert pixels == expected.tobytes(), time_ns
        found.append(time_ns)
    return found


def message_size(message: bytes) -> int:
    """Return the bytes of the pixels of a frame that `record` wrote."""
    return len(message) // 1200 * 1200


def killed_recorder(path: Path, mode: str, *, done: int, more: int) -> Path:
    """Leave a db3 as a recorder does that is killed after `done` frames and `more`."""
    source = record(path.with_name(f'{path.name}_running'), done, storage='sqlite3')
    late = record(path.with_name(f'{path.name}_late'), more, storage='sqlite3', first=done)
    database = sqlite3.connect(source, isolation_level=None)
    database.execute('ATTACH ? AS late', (str(late),))
    database.execute(f'PRAGMA main.journal_mode = {mode}')
    database.execute('PRAGMA main.cache_size = 2')  # pages of what is not finished reach the file
    database.execute('BEGIN')
    database.execute(
        'INSERT INTO main.messages (topic_id, timestamp, data) '
        'SELECT topic_id, timestamp, data FROM late.messages'
    )
    if mode == 'WAL':
        database.execute('COMMIT')
    path.mkdir()
    for file in source.parent.glob('*.db3*'):
        if not file.name.endswith('-shm'):
            shutil.copy(file, path / file.name.replace(source.name, 'flight_0.db3'))
    database.close()
    return path / 'flight_0.db3'


def contents(path: Path) -> dict[str, bytes]:
    """Return what is in the files of a folder."""
    return {file.name: file.read_bytes() for file in path.iterdir()}
