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

"""Points come in beside frames, labelled points go out."""

from __future__ import annotations

import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from gate import Gate
from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest
from rig import (
    ABOVE,
    calibration,
    cloud,
    DECLARED,
    DISTANCE,
    FOCAL,
    header,
    HEIGHT,
    MakeStage,
    Rig,
    values,
    wall,
    WIDTH,
)
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from stage import example_mask, frame, TIMEOUT_S, wait_until
from tiny_bundle import paint, TINY_CLASSES

from uhr_seg_ros.geometry.transform import OPTICAL_FROM_BODY
from uhr_seg_ros.ros.messages.cloud_reading import read_points
from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.points import cloud_labeler, transforms


@pytest.mark.parametrize('cloud_first', [True, False])
def test_every_point_has_the_class_of_its_pixel(make_stage: MakeStage, cloud_first: bool) -> None:
    rig = Rig(make_stage)
    rig.calibrate()
    mask, points = example_mask(), wall()
    sent = cloud(points, stamp=1.02)
    if cloud_first:
        rig.lidar.publish(sent)
        rig.wait_for(received=1, waiting=1)
        rig.see(mask)
    else:
        rig.see(mask)
        rig.lidar.publish(sent)
    message = rig.labeled()
    assert message.header == sent.header
    assert (message.height, message.width) == (HEIGHT, WIDTH)
    found = values(message)
    np.testing.assert_array_equal(read_points(message), points.reshape(-1, 3))
    np.testing.assert_array_equal(found['label'].reshape(HEIGHT, WIDTH), mask)
    colors = np.array([r << 16 | g << 8 | b for r, g, b in TINY_CLASSES.colors])
    np.testing.assert_array_equal(found['rgb'], colors[mask.reshape(-1)])
    assert 0 < found['confidence'].min()
    assert found['confidence'].max() < 255  # of the network, not taken for sure
    rig.wait_for(received=1, paired=1, unpaired=0, waiting=0, rejected=0, dropped=0)
    name = '/segmentation: segmentation'
    wait_until(lambda: 'cloud_p95_ms' in rig.stage.values(name), 'the time of a cloud')


def test_what_the_camera_does_not_see(make_stage: MakeStage) -> None:
    rig = Rig(make_stage)
    rig.calibrate()
    points = wall()[:2]
    points[0, :4, 0] *= -1  # behind
    points[0, 4:8] = np.nan
    points[0, 8:12, 1] += 100.0  # aside
    rig.see(example_mask())
    rig.lidar.publish(cloud(points))
    found = values(rig.labeled())
    np.testing.assert_array_equal(np.flatnonzero(found['label'] == 255), range(12))
    assert not found['rgb'][:12].any()
    assert rig.stage.set_parameter('cloud.keep_unseen', False).successful
    rig.lidar.publish(cloud(points))
    rest = rig.labeled(2)
    assert (rest.height, rest.width) == (1, 2 * WIDTH - 12)
    np.testing.assert_array_equal(values(rest), found[12:])


def test_hidden_points_and_without_the_z_buffer(make_stage: MakeStage) -> None:
    rig = Rig(make_stage)
    rig.calibrate()
    near, far = wall(), wall()
    far[..., 0] *= 2  # twice as far along the rays of the camera
    far[..., 1] *= 2
    far[..., 2] = (far[..., 2] + ABOVE) * 2 - ABOVE
    rig.see(example_mask())
    rig.lidar.publish(cloud(np.concatenate((near, far))))
    label = values(rig.labeled())['label'].reshape(2, HEIGHT, WIDTH)
    np.testing.assert_array_equal(label[0], example_mask())
    assert (label[1] == 255).all()
    assert rig.stage.set_parameter('cloud.z_buffer.enabled', False).successful
    rig.lidar.publish(cloud(np.concatenate((near, far))))
    label = values(rig.labeled(2))['label'].reshape(2, HEIGHT, WIDTH)
    np.testing.assert_array_equal(label[1], label[0])


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_depth_image(make_stage: MakeStage, encoding: str) -> None:
    rig = Rig(make_stage, 'depth', **{'cloud.source': 'depth'})
    rig.calibrate()
    depth = np.full((HEIGHT, WIDTH), DISTANCE, np.float32)
    depth[:10] = 0  # nothing measured
    if encoding == '16UC1':
        depth = (depth * 1000).astype(np.uint16)
    message = Image(header=header('camera'), height=HEIGHT, width=WIDTH, encoding=encoding)
    message.step = WIDTH * depth.itemsize
    message.data = array.array('B', depth.tobytes())
    rig.see(example_mask())
    rig.lidar.publish(message)
    labeled = rig.labeled()
    assert labeled.header == message.header
    assert (labeled.height, labeled.width) == (HEIGHT, WIDTH)
    found = values(labeled).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(found['label'][10:], example_mask()[10:])
    np.testing.assert_allclose(found['z'][10:], DISTANCE)
    assert np.isnan(found['z'][:10]).all()
    assert (found['label'][:10] == 255).all()
    assert not labeled.is_dense


def test_depth_without_its_calibration(make_stage: MakeStage) -> None:
    stage = make_stage(
        ['--ros-args', '-r', 'depth:=/other/depth'],
        **{**DECLARED, 'cloud.source': 'depth', 'cloud.points_frame': 'depth_camera'},
    )
    camera, depth = stage.camera(), stage.camera('/other/depth', Image)
    infos = stage.camera('camera_info', CameraInfo)
    stage.camera('/other/camera_info', CameraInfo)
    stage.outputs('points', message_type=PointCloud2)
    infos.publish(calibration())
    wait_until(lambda: stage.values('/image_raw').get('camera_info_received') == '1', 'it')
    camera.publish(frame(paint(example_mask())))
    depth.publish(encode_image(np.zeros((4, 4), np.uint8), 'mono8', header('depth_camera')))
    assert "'depth_camera'" in stage.wait_for_log('no camera_info has come for the depth images')


def test_without_a_calibration_frames_go_on(make_stage: MakeStage) -> None:
    rig = Rig(make_stage)
    rig.see(example_mask())
    rig.lidar.publish(cloud(wall()))
    line = rig.stage.wait_for_log('cloud rejected', 'no camera_info')
    assert "'camera'" in line
    assert "'lidar'" in line
    rig.wait_for(received=1, paired=1, rejected=1)
    rig.see(example_mask(), stamp=2.0)
    rig.calibrate()
    rig.lidar.publish(cloud(wall(), stamp=2.0))
    assert values(rig.labeled())['label'].max() < 255


@pytest.mark.parametrize(
    ('frame_id', 'parts'),
    [
        ('radar', ('from radar to camera', 'tf2_ros is not installed', 'from lidar to camera')),
        ('', ("of the points ''", 'both need one')),
    ],
)
def test_without_a_transform(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch, frame_id: str, parts: tuple[str, ...]
) -> None:
    monkeypatch.setattr(transforms, 'tf2_ros', None)
    rig = Rig(make_stage)
    messages: list[str] = []
    rig.stage.watcher.create_subscription(
        DiagnosticArray, '/diagnostics', lambda array: messages.append(array.status[0].message), 10
    )
    rig.calibrate()
    rig.see(example_mask())
    rig.lidar.publish(cloud(wall(), frame_id=frame_id))
    rig.stage.wait_for_log('cloud rejected', *parts)
    rig.wait_for(paired=1, rejected=1)
    wait_until(
        lambda: any('1 clouds rejected since the last report: ' in each for each in messages),
        'a warning in the diagnostics',
    )
    rig.lidar.publish(cloud(wall(), frame_id='/lidar'))  # as ROS 1 wrote it
    assert values(rig.labeled())['label'].max() < 255


def test_malformed_clouds_are_counted_and_survived(make_stage: MakeStage) -> None:
    rig = Rig(make_stage)
    rig.calibrate()
    rig.see(example_mask())
    faults: dict[str, Callable[[PointCloud2], Any]] = {
        'truncated': lambda bad: setattr(bad, 'data', bad.data[:-1]),
        'fields x': lambda bad: setattr(bad, 'fields', bad.fields[1:]),
        'point_step': lambda bad: setattr(bad, 'point_step', 8),
        'at least 1': lambda bad: setattr(bad, 'width', 0),
        'not accepted': lambda bad: setattr(bad, 'width', 2**31),
        'row_step': lambda bad: setattr(bad, 'row_step', 1),
    }
    for count, (text, spoil) in enumerate(faults.items(), 1):
        bad = cloud(wall())
        spoil(bad)
        rig.lidar.publish(bad)
        rig.stage.wait_for_log('cloud rejected', text)
        rig.wait_for(received=count, paired=count, rejected=count)
    rig.lidar.publish(cloud(wall()))
    np.testing.assert_array_equal(
        values(rig.labeled())['label'].reshape(HEIGHT, WIDTH), example_mask()
    )
    assert rig.stage.wait_for_count(rejected=0, processed=1)


def test_clouds_without_a_mask_in_time(make_stage: MakeStage) -> None:
    rig = Rig(make_stage, **{'cloud.max_time_difference': 0.1})
    rig.calibrate()
    rig.see(example_mask(), stamp=5.0)
    rig.lidar.publish(cloud(wall(), stamp=5.2))
    rig.wait_for(received=1, waiting=1)
    rig.see(example_mask(), stamp=6.0)
    rig.wait_for(received=1, unpaired=1, waiting=0)
    rig.lidar.publish(cloud(wall(), stamp=5.95))
    assert rig.labeled().header.stamp.nanosec == 950_000_000
    rig.wait_for(received=2, paired=1, unpaired=1)


def test_a_slow_network_finds_the_cloud_of_its_frame(make_stage: MakeStage, gate: Gate) -> None:
    """As at 8K and 10 Hz: dozens of clouds come while one frame is in work."""
    rig = Rig(make_stage)
    rig.calibrate()
    gate.close()
    rig.camera.publish(frame(paint(example_mask()), 1.0))
    assert gate.reached.wait(TIMEOUT_S)
    for number in range(24):
        rig.lidar.publish(cloud(wall()[:4], 1.01 + number / 10))
        if number % 4 == 3:  # as many as a subscription holds
            rig.wait_for(received=number + 1)
    rig.camera.publish(frame(paint(example_mask(seed=1)), 3.1))
    rig.stage.wait_for_count(received=2)
    # That of the frame in work, and what is no older than the frame that waits.
    rig.wait_for(received=24, waiting=1 + 3)
    gate.open()
    assert rig.labeled().header == header('lidar', 1.01)
    assert rig.labeled(2).header == header('lidar', 3.11)
    rig.wait_for(received=24, paired=2, over_memory=0, rejected=0, dropped=0)


def test_clouds_beyond_the_memory_limit(make_stage: MakeStage) -> None:
    rig = Rig(make_stage, **{'cloud.memory_limit_mb': 1})
    rig.calibrate()
    giant = cloud(np.concatenate([wall()] * 7))
    for stamp in range(1, 6):
        giant.header.stamp.sec = stamp
        rig.lidar.publish(giant)
        rig.wait_for(received=stamp, over_memory=stamp, unpaired=stamp, waiting=0)
        rig.see(example_mask(), stamp)
    wait_until(
        lambda: (
            '5 clouds or masks were given up while they waited, as they had more bytes than '
            'cloud.memory_limit_mb = 1 MB; raise it' in rig.stage.status('/image_raw').message
        ),
        'a warning',
        last=lambda: rig.stage.status('/image_raw').message,
    )
    rig.lidar.publish(giant)  # its mask was faster
    rig.labeled()


def test_masks_without_points_are_a_warning(make_stage: MakeStage) -> None:
    rig = Rig(make_stage)
    rig.calibrate()
    for stamp in range(1, 7):
        rig.see(example_mask(), stamp)

    def warned() -> bool:
        message = rig.stage.status('/image_raw').message
        return 'the last 6 masks found no points of /points within 0.05 s' in message

    wait_until(warned, 'a warning')
    told = rig.stage.status('/image_raw').message
    assert 'none has come; publishers: /watcher (reliable, sensor_msgs/msg/PointCloud2)' in told
    rig.lidar.publish(cloud(wall(), stamp=5.99))
    rig.labeled()
    wait_until(lambda: not warned(), 'no warning')
    assert rig.stage.values('/image_raw')['clouds_time_difference_ms'] == '10.0'


def test_a_recording_begins_again(make_stage: MakeStage) -> None:
    rig = Rig(make_stage, use_sim_time=True)
    rig.calibrate()
    for turn, stamp in enumerate((100.0, 101.0, 100.0, 101.0), 1):
        mask = example_mask(seed=turn)
        rig.see(mask, stamp)
        rig.lidar.publish(cloud(wall(), stamp + 0.01))
        label = values(rig.labeled(turn))['label'].reshape(HEIGHT, WIDTH)
        np.testing.assert_array_equal(label, mask)


def test_nothing_of_one_activation_is_left_in_the_next(make_stage: MakeStage) -> None:
    rig = Rig(make_stage)
    rig.calibrate()
    rig.see(example_mask())
    assert rig.stage.change('deactivate')
    assert rig.stage.change('activate')
    wait_until(rig.lidar.get_subscription_count, 'a subscription to points')
    rig.lidar.publish(cloud(wall()))
    rig.wait_for(received=1, waiting=1)
    assert rig.stage.change('deactivate')
    assert rig.stage.change('cleanup')
    assert rig.stage.set_parameter('cloud.enabled', False).successful
    assert rig.stage.change('configure')
    assert rig.stage.change('activate')
    wait_until(lambda: not rig.lidar.get_subscription_count(), 'no subscription to points')
    assert 'clouds_received' not in rig.stage.values('/image_raw')


def test_points_cost_nothing_while_nobody_looks(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[PointCloud2] = []
    measure = cloud_labeler.message_bytes
    monkeypatch.setattr(
        cloud_labeler, 'message_bytes', lambda each: taken.append(each) or measure(each)
    )
    stage = make_stage(**DECLARED)
    camera, lidar = stage.camera(), stage.camera('points', PointCloud2)
    infos = stage.camera('camera_info', CameraInfo)
    (masks,) = stage.outputs('mask')
    camera.publish(frame(paint(example_mask())))
    wait_until(lambda: masks, 'a mask')
    lidar.publish(cloud(wall()))  # without a calibration it would be rejected
    wait_until(lambda: stage.values('/image_raw').get('clouds_paired') == '1', 'a pair')
    assert stage.values('/image_raw')['clouds_rejected'] == '0'
    assert not taken  # only its header
    # One that came before somebody looked cannot be labeled, those after it are.
    lidar.publish(cloud(wall(), stamp=2.0))
    wait_until(lambda: stage.values('/image_raw')['clouds_waiting'] == '1', 'a cloud')
    infos.publish(calibration())
    (clouds,) = stage.outputs('points', message_type=PointCloud2)
    for stamp in (2, 3):
        if stamp == 3:
            lidar.publish(cloud(wall(), stamp=3.0))
            wait_until(lambda: taken, 'a whole cloud')
        camera.publish(frame(paint(example_mask()), stamp))
        wait_until(lambda: len(masks) == stamp, 'a mask')  # noqa: B023 - it is called here
    wait_until(lambda: clouds, 'labeled points')
    assert [each.header.stamp.sec for each in clouds] == [3]
    assert stage.values('/image_raw')['clouds_rejected'] == '0'


def test_two_cameras_and_one_lidar(make_stage: MakeStage) -> None:
    stage = make_stage(
        ['--ros-args', '-r', 'front/points:=/lidar', '-r', 'rear/points:=/lidar'],
        cameras=['front', 'rear'],
        **{
            'cloud.enabled': True,
            **{
                key.replace('cloud.', 'cloud.front.'): value
                for key, value in DECLARED.items()
                if key != 'cloud.enabled'
            },
            'cloud.rear.camera_frame': 'camera',
            'cloud.rear.points_frame': 'lidar',
            # Turned by half around the vertical: x of the LiDAR is -z of this camera.
            'cloud.rear.quaternion': [-0.5, -0.5, 0.5, -0.5],
        },
    )
    lidar = stage.camera('/lidar', PointCloud2)
    front, rear = stage.outputs('front/points', 'rear/points', message_type=PointCloud2)
    mask = example_mask()
    for name in ('front', 'rear'):
        stage.camera(f'{name}/camera_info', CameraInfo).publish(calibration())
        topic = f'/{name}/image_raw'
        wait_until(lambda t=topic: stage.values(t).get('camera_info_received') == '1', 'it')
        stage.camera(f'{name}/image_raw').publish(frame(paint(mask)))
        stage.wait_for_count(topic, processed=1)
    lidar.publish(cloud(wall()))
    wait_until(lambda: front and rear, 'two clouds', last=stage.log_lines)
    np.testing.assert_array_equal(values(front[0])['label'].reshape(HEIGHT, WIDTH), mask)
    assert (values(rear[0])['label'] == 255).all()


def test_rectified_frames(make_stage: MakeStage) -> None:
    rig = Rig(make_stage, **{'cloud.rectified': True})
    info = calibration()
    info.d = [0.4, 0.1, 0.0, 0.0, 0.0]
    info.k[0] *= 2.0
    info.p[3] = -0.4 * FOCAL  # the second camera of a pair, 0.4 m to the right
    rig.calibrate(info)
    rig.see(example_mask())
    points = wall()
    points[..., 1] -= 0.4
    rig.lidar.publish(cloud(points))
    np.testing.assert_array_equal(
        values(rig.labeled())['label'].reshape(HEIGHT, WIDTH), example_mask()
    )


class OneTransform:
    """Knows one transform, as tf2_ros.Buffer would give it, and notes what it was asked."""

    asked: list[tuple] = []

    def get_latest_common_time(self, target: str, source: str) -> Any:
        raise LookupError

    def lookup_transform(self, target: str, source: str, time: Any) -> TransformStamped:
        self.asked.append((target, source, time.nanoseconds))
        if (target, source) != ('camera', 'lidar'):
            msg = f'"{source}" passed to lookupTransform argument source_frame does not exist.'
            raise LookupError(msg)
        found = TransformStamped()
        found.transform.translation.y = -ABOVE
        turn = found.transform.rotation
        turn.x, turn.y, turn.z, turn.w = DECLARED['cloud.quaternion']
        return found

    def lookup_transform_full(
        self, target: str, target_time: Any, source: str, source_time: Any, fixed_frame: str
    ) -> TransformStamped:
        self.asked.append((target_time.nanoseconds, fixed_frame))
        return self.lookup_transform(target, source, source_time)


def test_transforms_of_tf2(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """tf2_ros is not among the wheels: here a stand-in is asked, in the words of its interface."""
    OneTransform.asked.clear()
    stand_in = SimpleNamespace(
        Buffer=OneTransform,
        TransformException=LookupError,
        TransformListener=lambda buffer, node, *, spin_thread: None,
    )
    monkeypatch.setattr(transforms, 'tf2_ros', stand_in)
    nothing = {'cloud.camera_frame': '', 'cloud.translation': [9.0, 9.0, 9.0]}
    rig = Rig(make_stage, **nothing)
    rig.calibrate()
    rig.see(example_mask(), stamp=3.0)
    rig.lidar.publish(cloud(wall(), stamp=3.01))
    label = values(rig.labeled())['label'].reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(label, example_mask())
    assert OneTransform.asked == [('camera', 'lidar', 3_010_000_000)]
    assert rig.stage.set_parameter('cloud.fixed_frame', 'odom').successful
    rig.lidar.publish(cloud(wall(), stamp=3.02))
    rig.labeled(2)
    assert OneTransform.asked[1:] == [(3_000_000_000, 'odom'), ('camera', 'lidar', 3_020_000_000)]
    rig.lidar.publish(cloud(wall(), stamp=3.02, frame_id='radar'))
    rig.stage.wait_for_log('from radar to camera', 'does not exist', 'cloud.fixed_frame odom only')
    # What tf2 does not know may be declared, but a declared pose knows of no motion.
    assert rig.stage.set_parameter('cloud.fixed_frame', '').successful
    assert rig.stage.set_parameter('cloud.camera_frame', 'camera').successful
    assert rig.stage.set_parameter('cloud.points_frame', 'radar').successful
    assert rig.stage.set_parameter('cloud.translation', DECLARED['cloud.translation']).successful
    rig.lidar.publish(cloud(wall(), stamp=3.02, frame_id='radar'))
    label = values(rig.labeled(3))['label'].reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(label, example_mask())


def test_declared_quaternion_is_the_one_of_rep_103() -> None:
    declared = transforms.Extrinsics(
        'camera', 'lidar', (0.0,) * 3, tuple(DECLARED['cloud.quaternion'])
    )
    np.testing.assert_allclose(declared.pose.rotation, OPTICAL_FROM_BODY.rotation, atol=1e-12)


def test_absurd_stamps_do_not_pair_or_harm(make_stage: MakeStage) -> None:
    rig = Rig(make_stage)
    rig.calibrate()
    rig.see(example_mask())
    bad = cloud(wall())
    bad.header.stamp.sec, bad.header.stamp.nanosec = -(2**31), 2**32 - 1
    rig.lidar.publish(bad)
    rig.wait_for(received=1)
    rig.lidar.publish(cloud(wall()))
    rig.labeled()
    status = rig.stage.status('/image_raw')
    assert status.level != DiagnosticStatus.ERROR
