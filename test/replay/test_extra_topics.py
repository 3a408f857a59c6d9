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

"""Calibrations and clouds in a recording, beside its images."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import (
    CAMERA_INFO,
    IMAGE,
    POINT_CLOUD,
    read_topics,
    stamp_ns,
    topic_types,
)
from uhr_seg_ros.replay.prefetch import read_ahead
from uhr_seg_ros.replay.topics import choose_topic

S = 1_000_000_000
CAMERA = Camera('plumb_bob', (50.0, 51.0), (19.5, 11.5), (0.1, 0.2, 0.3, 0.4, 0.5), 24, 40)
POINTS = np.arange(36, dtype=np.float32).reshape(3, 4, 3)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Return a recording of three frames, each with a calibration before and a cloud after it."""
    with BagWriter(tmp_path / 'bag', frame_id='cam') as writer:
        for stamp in (S, 2 * S, 3 * S):
            writer.write_calibration('/camera_info', CAMERA, stamp, stamp - 1)
            writer.write(np.zeros((24, 40, 3), np.uint8), stamp)
            writer.write_points('/points', POINTS, 'lidar', stamp + 5)
    return tmp_path / 'bag'


def test_topics_are_read_in_the_order_of_recording(bag: Path) -> None:
    assert topic_types(bag) == {
        '/image_raw': IMAGE,
        '/camera_info': CAMERA_INFO,
        '/points': POINT_CLOUD,
    }
    assert choose_topic(bag).name == '/image_raw'
    both = [(topic, time_ns) for topic, time_ns, _ in read_topics(bag, '/image_raw', ['/points'])]
    assert both == [
        (topic, second * S + later)
        for second in (1, 2, 3)
        for topic, later in (('/image_raw', 0), ('/points', 5))
    ]


def test_rounds_with_topics_beside(bag: Path) -> None:
    items = read_ahead(bag, '/image_raw', repeat=True, extra_topics=['/camera_info', '/points'])
    first = [next(items) for _ in range(18)]
    items.close()
    order = ['/camera_info', '/image_raw', '/points']
    assert [topic for *_, topic in first] == order * 6
    elapsed = [each[0] for each in first]
    assert elapsed == sorted(elapsed)


def test_rclpy_reads_what_was_written(bag: Path) -> None:
    serialization = pytest.importorskip('rclpy.serialization', reason='rclpy is not installed')
    from sensor_msgs.msg import CameraInfo, PointCloud2

    from uhr_seg_ros.ros.messages.camera_info import camera_of
    from uhr_seg_ros.ros.messages.cloud_reading import read_points

    messages = {
        topic: data for topic, _, data in read_topics(bag, '/x', ['/camera_info', '/points'])
    }
    info = serialization.deserialize_message(messages['/camera_info'], CameraInfo)
    assert info.header.frame_id == 'cam'
    assert stamp_ns(messages['/camera_info']) == 3 * S
    for rectified in (False, True):
        found = camera_of(info, 24, 40, rectified=rectified)
        assert (found.focal, found.center) == (CAMERA.focal, CAMERA.center)
        assert found.distortion == (() if rectified else CAMERA.distortion)
    cloud = serialization.deserialize_message(messages['/points'], PointCloud2)
    assert (cloud.header.frame_id, cloud.height, cloud.width) == ('lidar', 3, 4)
    assert stamp_ns(messages['/points']) == 3 * S + 5
    assert cloud.is_dense
    np.testing.assert_array_equal(read_points(cloud), POINTS.reshape(-1, 3))


@pytest.mark.parametrize(
    ('options', 'code', 'text'),
    [
        (['--extra-topic', '/none'], 1, 'has nothing on /none: what is played beside the images'),
        (['--extra-topic', '/points', '--wait', '0'], 1, 'nobody subscribed to'),
        (['--extra-topic', '/points', '--live'], 2, 'not for --live'),
    ],
)
def test_what_the_player_refuses(bag: Path, options: list[str], code: int, text: str) -> None:
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    environment = {**os.environ, 'ROS_DOMAIN_ID': '97'}
    result = subprocess.run(
        [sys.executable, '-m', 'uhr_seg_ros.replay.player', str(bag), *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == code, result.stderr
    assert text in result.stderr
    assert 'Traceback' not in result.stderr
