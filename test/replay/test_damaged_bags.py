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

"""Recordings that were left behind, cut or damaged: what is there is read, the rest is told."""

from __future__ import annotations

import lzma
import os
from pathlib import Path
import shutil
import sqlite3
import struct
import tempfile
from zlib import crc32

import lz4.frame
import pytest
from recordings import alone, contents, killed_recorder, record, times, TOPIC
from small_disk import SmallDisk

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.bags import (
    COMPRESSED_IMAGE,
    describe_bag,
    IMAGE,
    image_topics,
    is_bag,
    read_all,
    read_frame,
    read_messages,
    stamp_ns,
)
from uhr_seg_ros.replay.mcap_records import CHUNK, HEAD
from uhr_seg_ros.replay.storage import Damaged, unpack_lz4, unpack_zstd
from uhr_seg_ros.replay.zstd import zstd


def records_of(file: Path) -> list[tuple[int, int, int]]:
    """Return opcode, offset and size of every record of an mcap file."""
    data, at, found = file.read_bytes(), 8, []
    while at < len(data) - 8:
        opcode, size = HEAD.unpack_from(data, at)
        found.append((opcode, at, HEAD.size + size))
        at += HEAD.size + size
    return found


def overwrite(file: Path, offset: int, data: bytes) -> None:
    with file.open('r+b') as stream:
        stream.seek(offset)
        stream.write(data)


def shorten(file: Path, size: int) -> Path:
    os.truncate(file, size)
    return file


def test_frames_in_the_log_of_a_killed_recorder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = killed_recorder(tmp_path / 'flight', 'WAL', done=3, more=4)
    before = contents(file.parent)
    assert sorted(before) == ['flight_0.db3', 'flight_0.db3-wal']
    (topic,) = image_topics(file)
    assert topic.count == 7
    assert times(file) == times(file.parent) == list(range(7))
    assert contents(file.parent) == before
    (warning,) = caplog.messages
    assert 'what flight_0.db3-wal (' in warning and 'wal_checkpoint(TRUNCATE)' in warning

    # Without the log it is another recording.
    both = describe_bag(file, topic)
    (file.parent / 'flight_0.db3-wal').write_bytes(b'')
    caplog.clear()
    assert times(file) == [0, 1, 2]
    alone = describe_bag(file, topic)
    assert not caplog.messages
    assert both['sha256'] != alone['sha256'] and both['bytes'] > alone['bytes']


def test_log_beside_the_file_that_a_link_names(tmp_path: Path) -> None:
    file = killed_recorder(tmp_path / 'disk', 'WAL', done=1, more=1)
    odd = file.with_name('a?b#%41.db3')
    for name in ('', '-wal'):
        Path(f'{file}{name}').rename(f'{odd}{name}')
    link = tmp_path / 'link.db3'
    link.symlink_to(odd)
    assert times(link) == times(odd) == [0, 1]
    assert sorted(contents(odd.parent)) == ['a?b#%41.db3', 'a?b#%41.db3-wal']


def test_read_only_disk(tmp_path: Path, small_disk: SmallDisk) -> None:
    for name, mode in {'log': 'WAL', 'journal': 'DELETE'}.items():
        file = killed_recorder(tmp_path / name, mode, done=1, more=1)
        shutil.copytree(file.parent, small_disk.path / name)
    small_disk.make_read_only()
    assert times(small_disk.path / 'log') == [0, 1]
    assert times(small_disk.path / 'journal') == [0]


def test_what_a_killed_recorder_had_not_finished_is_taken_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = killed_recorder(tmp_path / 'flight', 'DELETE', done=3, more=40)
    before = contents(file.parent)
    assert sorted(before) == ['flight_0.db3', 'flight_0.db3-journal']
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
    messages = read_messages(file, TOPIC)
    next(messages)
    assert not contents(tmp_path / 'temporary')  # also if it were killed now
    assert times(file) == [0, 1, 2]
    assert contents(file.parent) == before
    (warning,) = caplog.messages
    assert 'read as flight_0.db3-journal restores it' in warning


def test_no_room_for_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_disk: SmallDisk
) -> None:
    journal = killed_recorder(tmp_path / 'flight', 'DELETE', done=1, more=40)
    packed = alone(tmp_path / 'packed', 1)
    packed.with_suffix('.mcap.zstd').write_bytes(zstd.compress(packed.read_bytes()))
    monkeypatch.setattr(tempfile, 'tempdir', str(small_disk.path))
    with pytest.raises(
        RecordingError, match=r'does not fit .* set TMPDIR, .*sqlite3 .*flight_0.db3 '
    ):
        image_topics(journal)
    with pytest.raises(RecordingError, match=r'does not fit .* unzstd .*packed.mcap.zstd'):
        image_topics(packed.with_suffix('.mcap.zstd'))


@pytest.mark.parametrize('suffix', ['.zstd', '.zst'])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_compressed_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, storage: str, suffix: str
) -> None:
    file = alone(tmp_path / 'flight', 4, storage=storage, height=300)
    packed = Path(f'{file}{suffix}')
    packed.write_bytes(zstd.compress(file.read_bytes()))
    file.unlink()
    assert is_bag(packed) and is_bag(packed.parent)
    assert times(packed) == times(packed.parent) == [0, 1, 2, 3]
    (topic,) = image_topics(packed)
    described = describe_bag(packed.parent, topic)
    assert described['bytes'] == packed.stat().st_size
    assert not caplog.messages

    shorten(packed, packed.stat().st_size * 3 // 4)
    assert 0 < len(times(packed)) < 4
    assert any('cannot be unpacked after' in text for text in caplog.messages)
    assert describe_bag(packed.parent, topic)['sha256'] != described['sha256']


def test_nothing_is_unpacked_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = bytes(1 << 20)
    counted, uncounted = zstd.compress(zeros), zstd.ZstdCompressor()
    uncounted = uncounted.compress(zeros) + uncounted.flush()
    assert unpack_zstd(counted, 1 << 20) == unpack_zstd(uncounted, 1 << 20) == zeros
    with pytest.raises(Damaged, match='declares 1048576 bytes, more than the 1000 that'):
        unpack_zstd(counted, 1000)
    with pytest.raises(Damaged, match='gives more than the 1000 bytes'):
        unpack_zstd(uncounted, 1000)
    with pytest.raises(Damaged, match='is cut after'):
        unpack_zstd(uncounted[:-4])
    with pytest.raises(Damaged, match='declares 1099511627776 bytes, more than 11 can give'):
        unpack_lz4(b'\x04\x22\x4d\x18\x60\x40\x82\0\0\0\0', 1 << 40)

    bomb = tmp_path / 'bomb.mcap.zstd'
    monkeypatch.setattr('uhr_seg_ros.replay.storage_probe._ALWAYS_ACCEPTED', 1 << 19)
    for data in (counted, uncounted):
        bomb.write_bytes(data)
        with pytest.raises(RecordingError, match=r'would give more than the 524288 bytes.*unzstd'):
            image_topics(bomb)


def test_mcap_that_lost_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever it is cut, also within a chunk: the messages before are read."""
    file = alone(tmp_path / 'flight', 4, height=1000)
    chunks = [each for each in records_of(file) if each[0] == CHUNK]
    assert len(chunks) > 1
    size = file.stat().st_size
    _, last, length = chunks[-1]
    counts = []
    for cut in (size - 1, size - 40, last + length, last + length - 10, last + 20, last):
        shorten(file, cut)
        found = times(file)
        assert found == list(range(len(found)))
        assert image_topics(file)[0].count == len(found)
        counts.append(len(found))
    assert counts == [4, 4, 4, 3, 3, 3]
    assert all('mcap recover' in each for each in caplog.messages)
    shorten(file, 300)
    with pytest.raises(
        RecordingError, match=r'cut or damaged at byte 43: 248 of .* `mcap recover'
    ):
        image_topics(file)

    file = alone(tmp_path / 'small', 5)
    ((_, offset, size),) = [each for each in records_of(file) if each[0] == CHUNK]
    shorten(file, offset + size * 7 // 10)
    assert times(file) == [0, 1, 2]


def test_one_warning_names_the_tool_for_an_mcap_without_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = record(tmp_path / 'flight', 3)
    shorten(file, file.stat().st_size - 20)
    for _ in range(2):
        assert times(tmp_path / 'flight') == [0, 1, 2]
    (warning,) = caplog.messages
    assert f'{file} has lost its summary' in warning
    assert '3 messages of the 3 that metadata.yaml names are there; `mcap recover' in warning


def test_damage_in_a_chunk_costs_that_chunk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = record(tmp_path / 'flight', 4, height=1000)
    chunks = [each for each in records_of(file) if each[0] == CHUNK]
    _, offset, size = chunks[1]
    data = file.read_bytes()[offset + 49 : offset + size]
    overwrite(file, offset + 33, struct.pack('<I', crc32(data)))  # as recorders do
    assert times(tmp_path / 'flight') == [0, 1, 2, 3]
    overwrite(file, offset + size // 2, b'?' * 16)
    found = times(tmp_path / 'flight')
    lost = 4 - len(found)
    assert lost and found and 0 in found
    (warning,) = caplog.messages
    assert f'{lost} message' in warning and f'byte {offset}: the checksum' in warning


def test_reading_goes_on_behind_damage_between_chunks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the summary there is no list of the chunks: the next one is looked for."""
    file = alone(tmp_path / 'flight', 6, height=1000)
    chunks = [each for each in records_of(file) if each[0] == CHUNK]
    _, last, size = chunks[-1]
    whole = file.read_bytes()[: last + size]
    damaged = chunks[1][1]
    for number, (offset, junk) in enumerate(
        {
            damaged + 1: b'\xff' * 8,
            damaged + 2: b'\1',
            damaged: b'\0',
            8: bytes(30),
        }.items()
    ):
        copy = tmp_path / f'{number}.mcap'
        copy.write_bytes(whole)
        overwrite(copy, offset, junk)
        found = times(copy)
        assert len(found) >= 5 and found[-1] == 5
    assert sum(' is damaged from byte ' in each for each in caplog.messages) == 4


@pytest.mark.parametrize(
    ('place', 'told'),
    [
        (0, 'holds nothing that was finished, or is damaged'),
        (17, 'holds nothing that was finished'),
        (25, 'has a damaged -wal file'),
        (0.5, 'has a damaged -wal file'),
    ],
)
def test_log_that_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: float, told: str
) -> None:
    """SQLite ends a log where its checksum fails, and says nothing of what comes behind."""
    file = killed_recorder(tmp_path / 'flight', 'WAL', done=3, more=4)
    log = Path(f'{file}-wal')
    data = bytearray(log.read_bytes())
    data[int(place * len(data)) if place % 1 else place] ^= 1
    log.write_bytes(data)
    assert times(file) == [0, 1, 2]
    assert any(told in text for text in caplog.messages)


@pytest.mark.parametrize('compression', ['', 'lz4', 'zstd', 'lzma'])
def test_chunks_of_other_writers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, compression: str
) -> None:
    """Compressed otherwise than by rosbags, without a summary, in a file that was closed."""
    file = alone(tmp_path / 'flight', 3)
    data = file.read_bytes()
    ((_, offset, size),) = [each for each in records_of(file) if each[0] == CHUNK]
    content = data[offset + 49 : offset + size]
    packed = {
        '': bytes,
        'lz4': lz4.frame.compress,
        'zstd': zstd.compress,
        'lzma': lzma.compress,
    }[compression](content)
    chunk = data[offset + 9 : offset + 25] + struct.pack('<QI', len(content), crc32(content))
    chunk += struct.pack('<I', len(compression)) + compression.encode()
    chunk += struct.pack('<Q', len(packed)) + packed
    end = HEAD.pack(15, 4) + bytes(4) + HEAD.pack(2, 20) + bytes(20) + data[:8]
    file.write_bytes(data[:offset] + HEAD.pack(CHUNK, len(chunk)) + chunk + end)
    if compression == 'lzma':
        with pytest.raises(RecordingError, match="compressed by 'lzma': known are zstd and lz4"):
            list(read_all(file))
    else:
        assert times(file) == [0, 1, 2]
        assert not caplog.messages


@pytest.mark.parametrize('opcode', [1, 3, 4, 6, 7, 8, 11])
def test_huge_lengths_in_an_mcap(tmp_path: Path, opcode: int) -> None:
    """Whatever declares more than there is ends neither in that memory nor in a loop."""
    file = record(tmp_path / 'flight', 2)
    for _, offset, _ in [each for each in records_of(file) if each[0] == opcode]:
        for huge in (1 << 40, (1 << 64) - 1):
            overwrite(file, offset + 1, struct.pack('<Q', huge))
            try:
                list(read_all(tmp_path / 'flight'))
            except RecordingError as err:
                assert 'Memory' not in str(err)


def test_db3_cut_while_it_was_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = alone(tmp_path / 'flight', 40, storage='sqlite3')
    with sqlite3.connect(file) as database:  # newer ones leave statistics at the end by themselves
        database.execute('ANALYZE')
    database.close()
    size = file.stat().st_size
    before = 40
    # By bytes around the last pages: what lost its last bytes must not come with zeros instead.
    for cut in (size - 1, size - 4097, size - 9000, size * 3 // 4, size // 2, 12288):
        shorten(file, cut)
        try:
            found = times(file)
        except RecordingError as err:
            assert cut == 12288, err
        else:
            assert found == list(range(len(found))) and len(found) <= before
            before = len(found)
    assert 12 <= before <= 20
    assert any(f'{file} has lost its last 1 bytes' in each for each in caplog.messages)
    assert any('.recover' in each for each in caplog.messages)


def test_damaged_pages_of_a_db3_cost_their_messages(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = alone(tmp_path / 'flight', 60, storage='sqlite3', height=4)
    with sqlite3.connect(file) as database:
        pages = database.execute(
            "SELECT pageno FROM dbstat WHERE name = 'messages' AND pagetype = 'leaf'"
        ).fetchall()
    database.close()
    overwrite(file, (pages[len(pages) // 2][0] - 1) * 4096, bytes(4096))
    found = times(file)
    assert len(found) > 40 and 59 in found and found == sorted(found)
    assert any('messages are lost' in each or 'is lost' in each for each in caplog.messages)


def test_index_of_a_db3_is_not_needed(tmp_path: Path) -> None:
    file = alone(tmp_path / 'flight', 3, storage='sqlite3')
    with sqlite3.connect(file) as database:
        ((page,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE type = 'index'")
    database.close()
    overwrite(file, (page - 1) * 4096, b'\xff' * 4096)
    assert times(file) == [0, 1, 2]


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    (tmp_path / 'folder.db3').mkdir()
    os.mkfifo(tmp_path / 'pipe.mcap')
    (tmp_path / 'empty.mcap').touch()
    (tmp_path / 'text.mcap').write_text('flight of 3 May')
    (tmp_path / 'short.db3').write_bytes(b'SQLite format 3\0')
    for name, schema in {
        'neither': 'CREATE TABLE t (x)',
        'columns': 'CREATE TABLE topics (id); CREATE TABLE messages (id)',
        'number': 'CREATE TABLE messages (id, topic_id, timestamp, data); '
        'CREATE TABLE topics (id, name, type, serialization_format); '
        "INSERT INTO topics VALUES ('1) --', 'a', 'b', 'cdr')",
        'view': 'CREATE TABLE topics (id); CREATE VIEW messages AS SELECT 1 AS id',
    }.items():
        sqlite3.connect(tmp_path / f'{name}.db3').executescript(schema).connection.close()
    for name, reason in {
        'folder.db3': 'is not a rosbag2 recording',
        'pipe.mcap': 'is no regular file',
        'empty.mcap': 'is empty',
        'text.mcap': "begins with b'flight o'",
        'short.db3': 'is cut after 16 bytes',
        'neither.db3': r'has no tables of messages and topics \(found: neither\)',
        'columns.db3': 'no such column: topic_id|without name, type',
        'number.db3': 'has a topic without a number',
        'view.db3': r'no tables .*found: topics',
    }.items():
        with pytest.raises(RecordingError, match=rf'{name}.*{reason}'):
            list(read_all(tmp_path / name))
    for name in ('x' * 5000 + '.mcap', 'a\0.mcap', 'gone.db3'):
        with pytest.raises(RecordingError, match='is not a rosbag2 recording'):
            list(read_all(tmp_path / name))


def test_other_splits_are_read_where_one_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / 'split'
    folder.mkdir()
    for part in range(3):
        file = alone(tmp_path / f'part_{part}', 2, first=2 * part)
        file.rename(folder / f'flight_{part}.mcap')
    overwrite(folder / 'flight_1.mcap', 0, b'lost')
    topic = image_topics(folder)[0]
    described = describe_bag(folder, topic)
    assert times(folder) == [0, 1, 4, 5]
    assert image_topics(folder)[0].count == 4
    (warning,) = caplog.messages
    assert 'flight_1.mcap is left out; the other files are read' in warning
    os.mkfifo(folder / 'flight_3.mcap')
    (folder / 'flight_4.mcap').symlink_to('flight_4.mcap')
    assert times(folder) == [0, 1, 4, 5]
    assert described['sha256'] != describe_bag(folder, topic)['sha256']
    for part in (0, 2):
        overwrite(folder / f'flight_{part}.mcap', 0, b'lost')
    with pytest.raises(RecordingError, match=r'flight_0\.mcap cannot be read .*begins with'):
        image_topics(folder)


@pytest.mark.parametrize('kind', [IMAGE, COMPRESSED_IMAGE])
@pytest.mark.parametrize(
    'message',
    [
        b'',
        b'\0',
        b'\0\1\0',
        b'\0\1\0\0',
        b'\0\1\0\0' + bytes(7),
        b'\0\1\0\0' + bytes(8) + b'\xff' * 40,
    ],
)
def test_short_messages(message: bytes, kind: str) -> None:
    with pytest.raises(RecordingError, match=f'a message of {len(message)} bytes is not a {kind}'):
        read_frame(message, kind)
    if len(message) < 12:
        with pytest.raises(
            RecordingError, match=f'a message of {len(message)} bytes has no stamp'
        ):
            stamp_ns(message)
