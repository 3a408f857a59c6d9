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

"""Which files make up a recording; the files count, metadata.yaml does not decide alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import shutil

import pytest
from recordings import alone, record, times
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
import yaml

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.bags import (
    describe_bag,
    IMAGE,
    image_topics,
    ImageTopic,
    is_bag,
    read_all,
    read_messages,
    storage_files,
    topic_types,
)
from uhr_seg_ros.replay.recording_files import natural_order
from uhr_seg_ros.replay.zstd import zstd

TYPES = get_typestore(Stores.ROS2_HUMBLE)
ANY = ImageTopic('/image_raw', IMAGE, 1)


def edit(path: Path, change: Callable[[dict], object]) -> None:
    """Change what metadata.yaml says."""
    file = path / 'metadata.yaml'
    content = yaml.safe_load(file.read_text())
    change(content['rosbag2_bagfile_information'])
    file.write_text(yaml.safe_dump(content))


def doubled(times: int) -> list:
    """Return a list that is short in YAML and endless when it is printed."""
    found: list = ['x']
    for _ in range(times):
        found = [found, found]
    return found


def split(path: Path, names: list[str]) -> Path:
    """Record two frames each in files of these names, without metadata.yaml."""
    path.mkdir()
    for part, name in enumerate(names):
        file = alone(path.with_name(f'{path.name}_{part}'), 2, first=2 * part)
        file.rename(path / name)
    return path


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (lambda data: data.update(storage_identifier=''), "names no storage that is known ('')"),
        (lambda data: data.pop('storage_identifier'), 'names no storage that is known (None)'),
        (lambda data: data.update(storage_identifier='my_own'), "known ('my_own')"),
        (
            lambda data: data.update(relative_file_paths=['old.mcap']),
            'names old.mcap, which is not here, and does not name flight.mcap, which is',
        ),
        (
            lambda data: data['relative_file_paths'].append('gone_1.mcap'),
            'names gone_1.mcap, which is not here:',
        ),
        (lambda data: data.update(topics_with_message_count='many'), 'cannot be used'),
        (lambda data: data.update(storage_identifier=doubled(60)), 'known (list)'),
        (lambda data: data.pop('relative_file_paths'), None),
        (lambda data: data.update(version=99), None),
        (
            lambda data: data['topics_with_message_count'][0].update(message_count=0),
            'tells of 0 messages on /image_raw, where 3 are',
        ),
        (
            lambda data: data['topics_with_message_count'][0].update(message_count=9),
            'tells of 9 messages on /image_raw, where 3 are',
        ),
        (
            lambda data: data['topics_with_message_count'][0]['topic_metadata'].update(
                offered_qos_profiles='{a: [}'
            ),
            None,
        ),
    ],
)
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_metadata_that_is_wrong(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[dict], object],
    told: str | None,
    storage: str,
) -> None:
    record(tmp_path / 'flight', 3, storage=storage)
    edit(tmp_path / 'flight', change)
    assert is_bag(tmp_path / 'flight')
    assert [topic.count for topic in image_topics(tmp_path / 'flight')] == [3]
    assert times(tmp_path / 'flight') == [0, 1, 2]
    assert len(caplog.messages) == (told is not None)
    if told:
        name = 'flight.mcap' if storage == 'mcap' else 'flight.db3'
        assert told.replace('flight.mcap', name) in caplog.text


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\0',
        b'{',
        b'- 1',
        b'[' * 20000,
        b'rosbag2_bagfile_information: 3',
        b'rosbag2_bagfile_information: {message_count: 9' + b'9' * 5000 + b'}',
        b'a: 2026-13-45',
        b'\xff\xfe',
        b'a: &a [*a]',
        b'- ' * 20000,
    ],
)
def test_metadata_that_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    record(tmp_path / 'flight', 2)
    (tmp_path / 'flight/metadata.yaml').write_bytes(content)
    assert times(tmp_path / 'flight') == [0, 1]
    (warning,) = caplog.messages
    assert 'metadata.yaml cannot be used' in warning and 'ros2 bag reindex' in warning


def test_empty_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = split(tmp_path / 'flight', ['flight_0.mcap', 'flight_1.mcap', 'flight_2.mcap'])
    (folder / 'flight_1.mcap').write_bytes(b'')
    assert times(folder) == [0, 1, 4, 5]
    (warning,) = caplog.messages
    assert 'flight_1.mcap is left out' in warning and '(is empty)' in warning


def test_order_of_files(tmp_path: Path) -> None:
    names = ['flight_2.mcap', 'flight_10.mcap', 'flight_100.mcap']
    folder = split(tmp_path / 'flight', names)
    (folder / '._flight_2.mcap').write_bytes(b'of macOS')
    assert [file.name for file in storage_files(folder)] == names
    assert times(folder) == list(range(6))
    # Digits elsewhere in a name are no part of the number at its end.
    ordered = ['run2_flight_9', 'run2_flight_10', 'run10_flight_1', 'run10_flight_03', 'x', 'x1']
    assert sorted(reversed(ordered), key=natural_order) == ordered
    assert natural_order('2026_1') < natural_order('2026_1_0')


def test_metadata_gives_the_order_of_names_that_have_none(tmp_path: Path) -> None:
    folder = split(tmp_path / 'flight', ['take_off.mcap', 'farm.mcap'])
    names = ['take_off.mcap', 'farm.mcap']
    text = yaml.safe_dump(
        {
            'rosbag2_bagfile_information': {
                'storage_identifier': 'mcap',
                'relative_file_paths': names,
            }
        }
    )
    (folder / 'metadata.yaml').write_text(text)
    assert [file.name for file in storage_files(folder)] == names


def test_two_recordings_in_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = record(tmp_path / 'flight', 2)
    other = record(tmp_path / 'other', 2, storage='sqlite3', first=7)
    shutil.copy(other, tmp_path / 'flight')
    packed = Path(f'{file}.zstd')
    packed.write_bytes(zstd.compress(file.read_bytes()))
    assert times(tmp_path / 'flight') == [0, 1]
    assert sorted(text.partition(' ')[2][:30] for text in caplog.messages) == [
        'holds other.db3, which metadat',
        'is left out: it looks like fli',
    ]

    # A recorder that died while it compressed its file has named the half one already.
    (tmp_path / 'flight/other.db3').unlink()
    packed.write_bytes(packed.read_bytes()[:99])
    edit(tmp_path / 'flight', lambda data: data.update(relative_file_paths=[packed.name]))
    caplog.clear()
    assert times(tmp_path / 'flight') == [0, 1]
    assert not caplog.messages  # it was told above

    shutil.copy(other, tmp_path / 'flight')
    (tmp_path / 'flight/metadata.yaml').unlink()
    with pytest.raises(
        RecordingError, match=r'two storages \(flight.mcap and other.db3\): name the'
    ):
        image_topics(tmp_path / 'flight')
    assert times(other) == [7, 8]


def test_hash_sees_every_file(tmp_path: Path) -> None:
    first = split(tmp_path / 'a', ['a_0.mcap', 'a_1.mcap'])
    data = [file.read_bytes() for file in storage_files(first)]
    hashes = {describe_bag(first, ANY)['sha256']}
    for number, parts in enumerate(
        [
            [data[1], data[0]],
            [data[0] + data[1]],
            [data[0] + data[1][:9], data[1][9:]],
            data[:1],
            [zstd.compress(data[0]), zstd.compress(data[1])],
        ]
    ):
        folder = tmp_path / f'{number}'
        folder.mkdir()
        for part, content in enumerate(parts):
            (folder / f'b_{part}.mcap.zstd').write_bytes(content)
        assert describe_bag(folder, ANY)['bytes'] == sum(map(len, parts))
        hashes.add(describe_bag(folder, ANY)['sha256'])
    assert len(hashes) == 6

    with pytest.raises(RecordingError, match='without a byte'):
        (tmp_path / 'none.mcap').touch()
        describe_bag(tmp_path / 'none.mcap', ANY)
    (tmp_path / 'nothing').mkdir()
    with pytest.raises(RecordingError, match='holds no files of a recording'):
        describe_bag(tmp_path / 'nothing', ANY)


@pytest.mark.parametrize('mode', CompressionMode)
@pytest.mark.parametrize('storage', StoragePlugin)
def test_like_rosbags(tmp_path: Path, storage: StoragePlugin, mode: CompressionMode) -> None:
    """Whole recordings give what the reader of rosbags gives, in its order."""
    if (storage, mode) == (StoragePlugin.SQLITE3, CompressionMode.STORAGE):
        pytest.skip('rosbags compresses whole files of mcap only')
    path = tmp_path / 'flight'
    writer = Writer(path, version=9, storage_plugin=storage)
    if mode != CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topics = [
            writer.add_connection(name, 'std_msgs/msg/String', typestore=TYPES)
            for name in ('/b', '/a')
        ]
        text = TYPES.types['std_msgs/msg/String'](data='x' * 200_000)
        message = bytes(TYPES.serialize_cdr(text, 'std_msgs/msg/String'))
        for time_ns in (5, 1, 9, 3, 3, 7, 2, 8, 4, 6, 12, 11):
            writer.write(topics[time_ns % 2], time_ns, message + bytes([time_ns]))
    found = [
        (each.topic, each.msgtype, each.msgdef, each.digest, time_ns, data)
        for each, time_ns, data in read_all(path)
    ]
    with Reader(path) as reader:
        expected = [
            (each.topic, each.msgtype, each.msgdef, each.digest, time_ns, data)
            for each, time_ns, data in reader.messages()
        ]
    assert [each[4] for each in found] == sorted(each[4] for each in found)
    assert found == expected
    assert topic_types(path) == dict.fromkeys(['/a', '/b'], 'std_msgs/msg/String')
    assert list(read_messages(path, '/a')) == []
