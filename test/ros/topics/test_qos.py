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

"""Subscriptions take the quality of service that the publishers offer which deliver."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from stage import BEST_EFFORT, example_mask, frame, RELIABLE, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros.topics import adaptive_subscription as module
from uhr_seg_ros.ros.topics.adaptive_subscription import AdaptiveQosSubscription


def subscribed(stage: Stage, topic: str = '/image_raw') -> set[ReliabilityPolicy]:
    """Return what the node under test asks for now."""
    return {
        info.qos_profile.reliability
        for info in stage.watcher.get_subscriptions_info_by_topic(topic)
        if info.node_name == 'segmentation'
    }


def wait_for_reliability(
    stage: Stage, *wanted: ReliabilityPolicy, topic: str = '/image_raw'
) -> None:
    wait_until(
        lambda: subscribed(stage, topic) == set(wanted),
        f'subscriptions {wanted}',
        last=lambda: subscribed(stage, topic),
    )


@pytest.mark.parametrize('qos', [BEST_EFFORT, RELIABLE])
def test_camera_that_was_there_first(make_stage: Callable[..., Stage], qos: QoSProfile) -> None:
    stage = make_stage(autostart=False)
    told: list[object] = []
    events = PublisherEventCallbacks(incompatible_qos=told.append)
    stage.watcher.create_publisher(CameraInfo, 'camera_info', qos, event_callbacks=events)
    stage.watcher.create_publisher(Image, 'image_raw', qos, event_callbacks=events)
    for topic in ('image_raw', 'camera_info'):
        wait_until(lambda topic=topic: stage.node.count_publishers(topic), topic)
    assert stage.change('configure')
    assert stage.change('activate')
    wait_for_reliability(stage, qos.reliability)
    wait_for_reliability(stage, qos.reliability, topic='/camera_info')
    assert not any('subscribed again' in line for line in stage.log_lines())
    assert not told  # that somebody requests what it does not offer


def test_camera_that_comes_later_and_changes(
    make_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'PATIENCE_S', 0.5)
    stage = make_stage()
    wait_for_reliability(stage, ReliabilityPolicy.RELIABLE)
    (masks,) = stage.outputs('mask')
    for count, qos in enumerate((BEST_EFFORT, RELIABLE, BEST_EFFORT), 1):
        camera = stage.watcher.create_publisher(Image, 'image_raw', qos)
        wait_until(lambda qos=qos: qos.reliability in subscribed(stage), 'the new subscription')
        wait_until(camera.get_subscription_count, 'the new subscription')
        camera.publish(frame(paint(example_mask()), stamp=count))
        wait_until(lambda count=count: len(masks) == count, f'mask {count}')
        wait_for_reliability(stage, qos.reliability)
        stage.watcher.destroy_publisher(camera)
    stage.wait_for_log('/image_raw', 'best_effort', 'subscribed again')
    stage.wait_for_log('/image_raw', 'offers reliable', 'subscribed again')


def test_reliability_can_be_set(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(image_qos='best_effort')
    stage.camera(qos=RELIABLE)
    wait_for_reliability(stage, ReliabilityPolicy.BEST_EFFORT)


def test_camera_info_follows_too(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    stage.camera('camera_info', CameraInfo, BEST_EFFORT)
    assert subscribed(stage, '/camera_info') == {ReliabilityPolicy.BEST_EFFORT}


def test_publications_are_reliable_and_can_be_overridden(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(
        **{
            'qos_overrides./segmentation/mask.publisher.depth': 7,
            'qos_overrides./segmentation/mask.publisher.reliability': 'best_effort',
            'qos_overrides./image_raw.subscription.depth': 3,
        }
    )
    stage.wait_for_state('active')
    profiles = {publisher.topic_name: publisher.qos_profile for publisher in stage.node.publishers}
    assert profiles['/segmentation/overlay'].reliability == ReliabilityPolicy.RELIABLE
    assert profiles['/segmentation/mask'].reliability == ReliabilityPolicy.BEST_EFFORT
    assert profiles['/segmentation/mask'].depth == 7
    subscriptions = {item.topic_name: item for item in stage.node.subscriptions}
    assert subscriptions['/image_raw'].qos_profile.depth == 3


def test_following_after_the_end_subscribes_nothing(context: Context) -> None:
    node = Node('follower', context=context)
    node.create_publisher(Image, 'image', BEST_EFFORT)
    subscription = AdaptiveQosSubscription(node, Image, 'image', lambda _message: None)
    wait_until(lambda: node.get_publishers_info_by_topic('image'), 'the publisher')
    found = subscription.publishers()

    def closed_meanwhile() -> list:
        subscription.close()  # as a transition does on another thread
        return found

    subscription.publishers = closed_meanwhile
    subscription.update_qos()
    assert not [each for each in node.subscriptions if each.topic_name == '/image']
    node.destroy_node()


def test_calibration_is_beside_the_images(make_stage: Callable[..., Stage]) -> None:
    remap = ['--ros-args', '-r', 'image_raw:=/roof/image']
    stage = make_stage(_cli_args=remap)
    stage.camera('/roof/camera_info', CameraInfo)


def test_calibration_can_be_elsewhere(make_stage: Callable[..., Stage]) -> None:
    remap = ['--ros-args', '-r', 'image_raw:=/roof/image', '-r', 'camera_info:=/calibration']
    stage = make_stage(_cli_args=remap)
    stage.camera('/calibration', CameraInfo)


def test_labels_and_diagnostics_can_be_overridden(make_stage: Callable[..., Stage]) -> None:
    topics = ('/diagnostics', '/segmentation/diagnostics_image')
    stage = make_stage(**{f'qos_overrides.{topic}.publisher.depth': 7 for topic in topics})
    stage.wait_for_state('active')
    profiles = {publisher.topic_name: publisher.qos_profile for publisher in stage.node.publishers}
    assert [profiles[topic].depth for topic in topics] == [7, 7]
