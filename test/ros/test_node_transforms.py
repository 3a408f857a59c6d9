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

"""Transforms that come later than the points, never, or from before time was set back."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

import numpy as np
import pytest
from rig import (
    ABOVE,
    cloud,
    DECLARED,
    DISTANCE,
    header,
    HEIGHT,
    MakeStage,
    Rig,
    values,
    wall,
    WIDTH,
)
from rosgraph_msgs.msg import Clock
from stage import example_mask, wait_until
from transforms import Transforms

from uhr_seg_ros.ros.messages.images import encode_image

#: Of a LiDAR in the frame of a body that looks ahead as it does, and of the camera there.
TURN = DECLARED['cloud.quaternion']
BACK = [-TURN[0], -TURN[1], -TURN[2], TURN[3]]
LONG = 10.0


@pytest.fixture
def make_rig(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Rig, Transforms]]:
    """
    Return a function that makes a vehicle: odom, base and the sensors on it, nothing declared.

    odom moves; what `fixed` says is static. By default the transform between the sensors is.
    """

    def make(points: str = 'points', **parameters: Any) -> tuple[Rig, Transforms]:
        transforms = Transforms(monkeypatch)
        usual = {
            'cloud.enabled': True,
            'cloud.camera_frame': '',
            'cloud.points_frame': '',
            'cloud.fixed_frame': 'odom',
            'cloud.transform_timeout': LONG,
        }
        rig = Rig(make_stage, points, **{**usual, **parameters})
        transforms.attach(rig.stage)
        transforms.send('base', 'camera', None, z=-ABOVE, turn=BACK)
        rig.calibrate()
        return rig, transforms

    return make


def test_points_wait_for_the_motion_of_the_vehicle(make_rig: Callable) -> None:
    """The frame is seen a metre further on than the points; tf2 knows it later than both."""
    rig, transforms = make_rig()
    transforms.send('base', 'lidar', None)
    transforms.send('odom', 'base', 2.9)
    rig.see(example_mask(), stamp=3.04)
    points = wall()
    points[..., 0] += 1.0
    rig.lidar.publish(cloud(points, stamp=3.0))
    rig.wait_for(paired=1, waiting_for_transform=1)
    transforms.send('odom', 'base', 3.0)  # not yet that of the frame
    rig.see(example_mask(seed=1), stamp=9.0)  # the worker goes on
    rig.wait_for(waiting_for_transform=1, rejected=0)
    transforms.send('odom', 'base', 3.04, x=1.0)
    label = values(rig.labeled())['label'].reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(label, example_mask())
    rig.wait_for(received=1, paired=1, waiting_for_transform=0, rejected=0, late_transform=0)


def test_a_sensor_that_moves_without_a_fixed_frame(make_rig: Callable) -> None:
    """A LiDAR on a gimbal."""
    rig, transforms = make_rig(**{'cloud.fixed_frame': ''})
    transforms.send('base', 'lidar', 2.9, x=5.0)
    rig.see(example_mask(), stamp=3.0)
    rig.lidar.publish(cloud(wall(), stamp=3.0))
    rig.wait_for(paired=1, waiting_for_transform=1)
    transforms.send('base', 'lidar', 3.1, x=-5.0)
    label = values(rig.labeled())['label'].reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(label, example_mask())


def test_depth_images_wait_too(make_rig: Callable) -> None:
    rig, transforms = make_rig('depth', **{'cloud.source': 'depth'})
    transforms.send('odom', 'base', 2.9)
    rig.see(example_mask(), stamp=3.0)
    depth = np.full((HEIGHT, WIDTH), DISTANCE, np.float32)
    rig.lidar.publish(encode_image(depth, '32FC1', header('camera', 3.0)))
    rig.wait_for(paired=1, waiting_for_transform=1)
    transforms.send('odom', 'base', 3.1)
    np.testing.assert_array_equal(
        values(rig.labeled())['label'].reshape(HEIGHT, WIDTH), example_mask()
    )


def test_a_static_transform_is_not_waited_for(
    make_rig: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError

    rig, transforms = make_rig()
    monkeypatch.setattr('uhr_seg_ros.ros.points.cloud_labeler.TransformWaiting._wait', forbidden)
    transforms.send('base', 'lidar', None)
    transforms.send('odom', 'base', None)
    rig.see(example_mask())
    rig.lidar.publish(cloud(wall()))
    rig.labeled()
    assert not [each for each in threading.enumerate() if each.name == 'pose_waiting']


def test_clouds_that_one_transform_releases_keep_their_order(make_rig: Callable) -> None:
    rig, transforms = make_rig()
    transforms.send('base', 'lidar', None)
    transforms.send('odom', 'base', 2.9)
    stamps = (3.0, 3.1, 3.2)
    for count, stamp in enumerate(stamps, 1):
        rig.see(example_mask(seed=count), stamp)
        rig.lidar.publish(cloud(wall(), stamp))
        rig.wait_for(paired=count, waiting_for_transform=count)
    transforms.send('odom', 'base', 3.3)
    rig.labeled(len(stamps))
    for count, (stamp, message) in enumerate(zip(stamps, rig.clouds, strict=True), 1):
        assert message.header == header('lidar', stamp)
        label = values(message)['label'].reshape(HEIGHT, WIDTH)
        np.testing.assert_array_equal(label, example_mask(seed=count))
    rig.wait_for(paired=3, dropped=0, rejected=0)


@pytest.mark.parametrize(
    ('timeout', 'parts'),
    [
        (0.05, ('within cloud.transform_timeout = 0.05 s', '100 ms behind', 'nothing newer came')),
        (0.0, ('extrapolation',)),
    ],
)
def test_time_is_over(make_rig: Callable, timeout: float, parts: tuple[str, ...]) -> None:
    rig, transforms = make_rig(**{'cloud.transform_timeout': timeout})
    transforms.send('base', 'lidar', None)
    transforms.send('odom', 'base', 2.8)
    transforms.send('odom', 'base', 2.9)
    rig.see(example_mask(), stamp=3.0)
    rig.lidar.publish(cloud(wall(), stamp=3.0))
    rig.stage.wait_for_log('no transform from lidar to camera', *parts)
    rig.wait_for(paired=1, rejected=1, late_transform=int(bool(timeout)), waiting_for_transform=0)
    transforms.send('odom', 'base', 3.1)
    rig.lidar.publish(cloud(wall(), stamp=3.01))
    rig.labeled()


def test_frames_that_nothing_connects_are_waited_for_once(make_rig: Callable) -> None:
    rig, transforms = make_rig(**{'cloud.transform_timeout': 0.1, 'cloud.fixed_frame': ''})
    transforms.send('map', 'lidar', 3.0)
    rig.see(example_mask(), stamp=3.0)
    rig.lidar.publish(cloud(wall(), stamp=3.0))
    rig.stage.wait_for_log('from lidar to camera within cloud.transform_timeout', 'Publish it')
    assert rig.stage.set_parameter('cloud.transform_timeout', LONG).successful
    for count in (2, 3):
        rig.lidar.publish(cloud(wall(), stamp=3.0))
        rig.wait_for(paired=count, rejected=count, late_transform=1, waiting_for_transform=0)
    transforms.send('map', 'base', 2.9)  # connected, and a little late again
    rig.lidar.publish(cloud(wall(), stamp=3.0))
    rig.wait_for(paired=4, rejected=3, waiting_for_transform=1)
    transforms.send('map', 'base', 3.1)
    rig.labeled()


def test_a_declared_pose_does_not_stand_in_for_a_late_one(make_rig: Callable) -> None:
    rig, transforms = make_rig(
        **{**DECLARED, 'cloud.fixed_frame': '', 'cloud.transform_timeout': 0.05}
    )
    rig.see(example_mask(), stamp=3.0)
    rig.lidar.publish(cloud(wall(), stamp=3.0))
    rig.labeled()  # tf2 knows nothing of the LiDAR
    transforms.send('base', 'lidar', 2.9, x=5.0)
    rig.lidar.publish(cloud(wall(), stamp=3.0))
    rig.stage.wait_for_log('from lidar to camera within', '100 ms behind')
    rig.wait_for(paired=2, rejected=1)


def test_deactivation_ends_the_wait(make_rig: Callable) -> None:
    rig, transforms = make_rig()
    transforms.send('base', 'lidar', None)
    transforms.send('odom', 'base', 2.9)
    rig.see(example_mask(), stamp=3.0)
    rig.lidar.publish(cloud(wall(), stamp=3.0))
    rig.wait_for(paired=1, waiting_for_transform=1)
    assert rig.stage.change('deactivate')
    rig.wait_for(waiting_for_transform=0, dropped=1, rejected=0)
    assert rig.stage.change('activate')
    wait_until(rig.lidar.get_subscription_count, 'a subscription to points')
    transforms.send('odom', 'base', 3.1)
    rig.see(example_mask(), stamp=3.02)
    rig.lidar.publish(cloud(wall(), stamp=3.02))
    assert rig.labeled().header == header('lidar', 3.02)
    rig.lidar.publish(cloud(wall(), stamp=3.05))
    rig.wait_for(paired=3)
    assert rig.stage.change('deactivate')
    assert rig.stage.change('cleanup')
    wait_until(
        lambda: not any(each.name == 'pose_waiting' for each in threading.enumerate()), 'its end'
    )


@pytest.mark.parametrize('has_clock', [False, True])
def test_every_lap_of_a_recording_is_labelled(make_rig: Callable, has_clock: bool) -> None:
    """Laps longer than what tf2 remembers, with and without /clock."""
    rig, transforms = make_rig(use_sim_time=has_clock, **{'cloud.transform_timeout': 2.0})
    transforms.send('base', 'lidar', None)
    clock = rig.stage.watcher.create_publisher(Clock, '/clock', 10) if has_clock else None
    labeled = 0
    for lap in range(2):
        for stamp in range(100, 140, 8):
            if clock:
                message = Clock()
                message.clock.sec = stamp
                clock.publish(message)
                wait_until(
                    lambda s=stamp: rig.stage.node.get_clock().now().nanoseconds == s * 10**9,
                    'the time',
                )
            for part in range(4):
                transforms.send('odom', 'base', stamp + 0.1 * part)
            rig.see(example_mask(seed=lap), stamp + 0.1)
            rig.lidar.publish(cloud(wall(), stamp + 0.1))
            labeled += 1
            message = rig.labeled(labeled)
            np.testing.assert_array_equal(
                values(message)['label'].reshape(HEIGHT, WIDTH), example_mask(seed=lap)
            )
    lines = [line for line in rig.stage.log_lines() if 'from before is given up' in line]
    assert len(lines) == 1
    rig.wait_for(received=labeled, paired=labeled, rejected=0, dropped=0)


def test_a_frame_name_of_a_megabyte(make_rig: Callable) -> None:
    rig, transforms = make_rig()
    transforms.send('base', 'lidar', None)
    transforms.send('odom', 'base', None)
    rig.see(example_mask())
    rig.lidar.publish(cloud(wall(), frame_id='x' * 1_000_000))
    assert len(rig.stage.wait_for_log('a frame_id has 1000000 letters: at most 1000')) < 1000
    rig.lidar.publish(cloud(wall()))
    rig.labeled()


def test_points_of_another_clock(make_rig: Callable) -> None:
    """Nine seconds before what tf2 knows."""
    rig, transforms = make_rig(**{'cloud.transform_timeout': 0.05})
    transforms.send('base', 'lidar', None)
    transforms.send('odom', 'base', 12.0)
    rig.see(example_mask(), stamp=3.0)
    rig.lidar.publish(cloud(wall(), stamp=3.0))
    rig.stage.wait_for_log('from lidar to camera within', '9000 ms older than what tf2 knows')
    rig.wait_for(paired=1, rejected=1, late_transform=1)


def test_tf_is_listened_to_while_somebody_wants_points(make_rig: Callable) -> None:
    """By a thread and a node of its own, which end with the last subscriber."""
    rig, _ = make_rig()

    def listens() -> bool:
        return any(each.name == 'tf_executor' for each in threading.enumerate())

    wait_until(listens, 'it to begin')
    watcher = rig.stage.watcher
    for each in [each for each in watcher.subscriptions if each.topic_name.endswith('/points')]:
        watcher.destroy_subscription(each)
    wait_until(lambda: not listens(), 'its end')
    rig.stage.outputs('mask_aligned')
    wait_until(listens, 'it to begin again')
    assert rig.stage.change('deactivate')
    wait_until(lambda: not listens(), 'its end')
