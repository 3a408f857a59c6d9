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

"""Recordings: both storages, odd files, and memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import get_typestore, Stores

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import IMAGE, image_topics, is_bag, read_messages, stamp_ns
from uhr_seg_ros.replay.topics import choose_topic

SHARED_BAGS = Path(__file__).resolve().parents[3] / 'shared/data/bags'
TYPES = get_typestore(Stores.ROS2_HUMBLE)


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_frames_come_back_with_their_stamps(tmp_path: Path, storage: str) -> None:
    stamps = [1_000_000_000, 2_500_000_001, 4_000_000_000]
    with BagWriter(tmp_path / 'bag', topic='/cam/image', storage=storage) as bag:
        for index, stamp in enumerate(stamps):
            bag.write(frame(index), stamp)

    assert is_bag(tmp_path / 'bag')
    topic = choose_topic(tmp_path / 'bag')
    assert (topic.name, topic.type, topic.count) == ('/cam/image', IMAGE, 3)
    messages = list(read_messages(tmp_path / 'bag', topic.name))
    assert [time_ns for time_ns, _ in messages] == stamps
    assert [stamp_ns(data) for _, data in messages] == stamps
    for index, (_, data) in enumerate(messages):
        image = TYPES.deserialize_cdr(data, IMAGE)
        assert (image.encoding, image.step) == ('bgr8', 120)
        assert image.header.frame_id == 'camera_optical_frame'
        np.testing.assert_array_equal(image.data.reshape(24, 40, 3), frame(index))


def test_rclpy_reads_what_was_written(tmp_path: Path) -> None:
    serialization = pytest.importorskip('rclpy.serialization', reason='rclpy is not installed')
    from sensor_msgs.msg import Image

    with BagWriter(tmp_path / 'bag') as bag:
        bag.write(frame(7), 3_000_000_007)
    ((_, data),) = read_messages(tmp_path / 'bag', '/image_raw')
    message = serialization.deserialize_message(data, Image)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (3, 7)
    assert bytes(message.data) == frame(7).tobytes()


def test_split_recording_without_metadata_is_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / 'split'
    folder.mkdir()
    for part in (10, 2):
        with BagWriter(tmp_path / f'part_{part}') as bag:
            bag.write(frame(part), part)
        (tmp_path / f'part_{part}' / f'part_{part}.mcap').rename(folder / f'part_{part}.mcap')

    assert is_bag(folder)
    assert choose_topic(folder).count == 2
    assert [stamp_ns(data) for _, data in read_messages(folder, '/image_raw')] == [2, 10]


def test_errors_name_the_file(tmp_path: Path) -> None:
    broken = tmp_path / 'broken.mcap'
    broken.write_bytes(b'no recording')
    with pytest.raises(RecordingError, match='broken.mcap cannot be read as a rosbag2 recording'):
        image_topics(broken)
    with pytest.raises(RecordingError, match='is not a rosbag2 recording'):
        image_topics(Path(__file__))
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write(frame(0), 0)
    with pytest.raises(RecordingError, match='exists already'):
        BagWriter(tmp_path / 'bag')


def test_truncated_recording_gives_what_is_whole_and_no_garbage(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        for index in range(3):
            bag.write(frame(index), index)
    file = tmp_path / 'bag/bag.mcap'
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    ((time_ns, data),) = read_messages(tmp_path / 'bag', '/image_raw')
    assert time_ns == 0
    image = TYPES.deserialize_cdr(data, IMAGE)
    np.testing.assert_array_equal(image.data.reshape(24, 40, 3), frame(0))


@pytest.mark.skipif(not SHARED_BAGS.is_dir(), reason=f'{SHARED_BAGS} is not here')
def test_recording_of_a_real_camera() -> None:
    """Messages compressed one by one, types without `/msg/`, metadata.yaml lost."""
    path = SHARED_BAGS / 'soccer_goal_12.mcap'
    topic = choose_topic(path)
    assert (topic.name, topic.type, topic.count) == ('/camera/image_raw', IMAGE, 2)
    for _, data in read_messages(path, topic.name):
        image = TYPES.deserialize_cdr(data, IMAGE)
        assert (image.height, image.width, image.encoding) == (480, 640, 'rgb8')
        assert image.data.size == 480 * 640 * 3


@pytest.mark.skipif(not SHARED_BAGS.is_dir(), reason=f'{SHARED_BAGS} is not here')
@pytest.mark.parametrize(
    'name', ['talker_mcap', 'talker_sqlite3', 'empty_sqlite3', 'split_mcap_no_metadata']
)
def test_recordings_without_images(name: str) -> None:
    with pytest.raises(RecordingError, match='has no images; its image topics: none'):
        choose_topic(SHARED_BAGS / name)
