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

"""What the player makes of odd recordings; nobody listens to it here."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import time

from image_bags import image, record
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import stamp_ns
from uhr_seg_ros.replay.environment import reserve_domain
from uhr_seg_ros.replay.mask_collector import stamp_of
from uhr_seg_ros.replay.pacing import AtRate
from uhr_seg_ros.replay.player import Player
from uhr_seg_ros.replay.topics import choose_topic
from uhr_seg_ros.synthetic.flight_cloud import flight_camera

YEARS_NS = 50 * 365 * 86400 * 10**9


@pytest.fixture(autouse=True)
def _ros() -> Iterator[None]:
    os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())
    rclpy.init()
    yield
    rclpy.try_shutdown()


def test_broken_messages_are_skipped_and_stamps_of_another_clock_are_told(tmp_path: Path) -> None:
    frames = [image('bgr8', stamp_ns=YEARS_NS + index) for index in range(3)]
    bag = record(tmp_path / 'bag', {'/cam': [frames[0], b'', frames[1], frames[2][:90]]})
    player = Player(bag, choose_topic(bag), 'image_raw')
    played = player.play(AtRate(1000.0), 0.0, live=True)
    assert len(played) == player.skipped == 2
    stamps, _, ages = zip(*played, strict=True)
    assert stamps[1] > stamps[0] > YEARS_NS and ages == (0, 0)
    (text,) = player.findings
    assert text.startswith(f'stamps are {YEARS_NS // 10**9} s away from the times of recording')


def test_a_calibration_goes_with_every_image_under_its_stamp(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag', topic='/cam/image') as writer:
        writer.write_calibration('/cam/camera_info', flight_camera((4, 6)), 3, 3)
        for index in range(2):
            writer.write(np.zeros((4, 6, 3), np.uint8), 10**9 + index)
    bag = tmp_path / 'bag'
    calibration = '/cam/camera_info', '/peer/camera_info'
    player = Player(bag, choose_topic(bag), 'image_raw', (), calibration)
    node, found = rclpy.create_node('listener'), []
    profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    node.create_subscription(CameraInfo, calibration[1], found.append, profile)
    deadline = time.monotonic() + 30
    while (
        not node.count_publishers(calibration[1])
        or not player._calibrations.get_subscription_count()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    played = player.play(AtRate(1000.0), 0.0, live=True)
    while len(found) < 2:
        assert time.monotonic() < deadline
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    assert [stamp_of(each) for each in found] == [stamp for stamp, *_ in played]
    assert {each.width for each in found} == {6}


def test_stamps_of_the_recording_stay(tmp_path: Path) -> None:
    frames = [image('bgr8', stamp_ns=7), image('bgr8', stamp_ns=7)]
    bag = record(tmp_path / 'bag', {'/cam': frames, '/depth': [image('16UC1')]})
    player = Player(bag, choose_topic(bag), 'image_raw')
    played = player.play(AtRate(1000.0), 0.0, live=False)
    assert [stamp for stamp, *_ in played] == [stamp_ns(frames[0])] * 2
    assert (player.skipped, player.findings) == (0, [])
    pace = AtRate(1000.0)
    pace.late_s = 5.0  # as of a video that takes longer to decode than to show
    player.play(pace, 0.0, live=False)
    assert 'fewer frames per second than the camera gave' in player.findings[0]
