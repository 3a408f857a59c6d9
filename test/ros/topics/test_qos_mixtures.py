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

"""Several publishers on one topic, latched ones, and those that send nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import time

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from stage import BEST_EFFORT, example_mask, frame, LATCHED, RELIABLE, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.topics import adaptive_subscription as module
from uhr_seg_ros.ros.topics.adaptive_subscription import AdaptiveQosSubscription
from uhr_seg_ros.ros.topics.qos import Offer

MakeStage = Callable[..., Stage]

PROFILES = {'reliable': RELIABLE, 'best_effort': BEST_EFFORT, 'latched': LATCHED}
LARGE = np.zeros((720, 1280, 3), np.uint8)
"""A frame above half a megabyte, which no best-effort subscription gets by Fast DDS defaults."""


class Field:
    """A subscription and its publishers, in participants of their own as in real life."""

    def __init__(self, contexts: list[Context], reliability: str = 'auto') -> None:
        self.robot = Node('robot', context=contexts[0], use_global_arguments=False)
        self._others = contexts[1]
        self.nodes = [self.robot]
        self.got: list[int] = []
        self.executor = SingleThreadedExecutor(context=contexts[0])
        self.executor.add_node(self.robot)
        self._reliability = reliability
        self.open()

    def open(self) -> None:
        self.subscription = AdaptiveQosSubscription(
            self.robot,
            Image,
            'image',
            lambda message: self.got.append(message.header.stamp.sec),
            self._reliability,
        )

    def publisher(self, name: str, profile: str) -> Publisher:
        """Return a publisher that the subscription's node knows of."""
        node = Node(name, context=self._others, use_global_arguments=False)
        self.nodes.append(node)
        publisher = node.create_publisher(Image, 'image', PROFILES[profile])
        self.until(
            lambda: name in {each.node_name for each in self.subscription.publishers()}, name
        )
        return publisher

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Spin and follow until a condition holds."""

        def step() -> object:
            self.subscription.update_qos()
            self.executor.spin_once(timeout_sec=0.01)
            return condition()

        wait_until(step, what, last=lambda: (self.got, self.subscription.offers))

    def send(self, publisher: Publisher, number: int, picture: np.ndarray | None = None) -> None:
        """Publish a frame again and again until it arrives, as a camera does."""
        before = len(self.got)

        def arrived() -> bool:
            publisher.publish(image(number, picture))
            return len(self.got) > before

        self.until(arrived, f'frame {number}')


def image(number: int, picture: np.ndarray | None = None) -> Image:
    message = encode_image(
        np.zeros((4, 4), np.uint8) if picture is None else picture,
        'mono8' if picture is None else 'bgr8',
        frame(LARGE[:1, :1]).header,
    )
    message.header.stamp.sec = number
    return message


@pytest.fixture
def make_field(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Field]]:
    monkeypatch.setattr(module, 'PATIENCE_S', 0.5)
    monkeypatch.setattr(module, 'FLOW_S', 0.0)
    contexts = [Context(), Context()]
    for each in contexts:
        rclpy.init(context=each)
    fields: list[Field] = []

    def make(reliability: str = 'auto') -> Field:
        fields.append(Field(contexts, reliability))
        return fields[-1]

    yield make
    for field in fields:
        field.executor.shutdown()
        for node in field.nodes:
            node.destroy_node()
    for each in contexts:
        each.try_shutdown()


def offers(*kinds: str) -> list[Offer]:
    found = {
        'reliable': Offer(True, False),
        'best_effort': Offer(False, False),
        'latched': Offer(True, True),
    }
    return [found[kind] for kind in kinds]


@pytest.mark.parametrize('is_first', [True, False])
def test_a_silent_best_effort_publisher_costs_no_large_frame(
    make_field: Callable[..., Field], is_first: bool
) -> None:
    field = make_field()
    if is_first:
        field.publisher('tool', 'best_effort')
    camera = field.publisher('camera', 'reliable')
    field.until(camera.get_subscription_count, 'a subscription')
    field.send(camera, 1, LARGE)
    if not is_first:
        field.publisher('tool', 'best_effort')
    for number in range(2, 12):
        camera.publish(image(number, LARGE))
        field.until(lambda number=number: number in field.got, f'frame {number}')
    field.until(lambda: field.subscription.offers == offers('reliable'), 'reliable alone')
    assert field.got[-10:] == list(range(2, 12))


def test_the_one_that_delivers_is_heard(make_field: Callable[..., Field]) -> None:
    field = make_field()
    camera, tool = field.publisher('camera', 'reliable'), field.publisher('tool', 'best_effort')
    field.send(tool, 1)  # the camera is silent
    assert field.subscription.offers == offers('reliable', 'best_effort')
    field.send(camera, 2, LARGE)
    field.until(lambda: field.subscription.offers == offers('reliable'), 'the camera alone')
    field.send(tool, 3)  # the camera is silent again
    assert list(dict.fromkeys(field.got)) == [1, 2, 3]


def test_a_best_effort_camera_does_not_wait_for_a_silent_reliable_tool(
    make_field: Callable[..., Field], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'PATIENCE_S', 1e6)
    field = make_field()
    field.publisher('tool', 'reliable')
    field.send(field.publisher('camera', 'best_effort'), 1)
    field.publisher('other', 'latched')
    for number in range(2, 5):
        field.send(field.publisher(f'camera{number}', 'best_effort'), number)


def test_frames_that_were_kept_do_not_end_those_that_come(
    make_field: Callable[..., Field], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'FLOW_S', 0.4)
    field = make_field()
    camera = field.publisher('camera', 'best_effort')
    field.send(camera, 1)
    link = field.subscription._links[Offer(False, False)]
    tool = field.publisher('tool', 'latched')
    for number in range(2, 5):
        tool.publish(image(number))
    field.until(lambda: 4 in field.got, 'what the tool keeps')
    for number in range(5, 9):
        field.send(camera, number)
    assert field.subscription._links[Offer(False, False)] is link
    # Until the tool sends all the time.
    field.until(
        lambda: (tool.publish(image(9)), Offer(False, False) not in field.subscription.offers)[1],
        'the stronger one alone',
    )


def test_no_frame_comes_twice(make_field: Callable[..., Field]) -> None:
    field = make_field()
    camera = field.publisher('camera', 'reliable')
    field.publisher('tool', 'best_effort')
    field.until(lambda: len(field.subscription.offers) == 2, 'both subscriptions')
    field.until(lambda: camera.get_subscription_count() == 2, 'both connected')
    for number in range(1, 6):  # small enough for both
        camera.publish(image(number))
    field.until(lambda: 5 in field.got, 'the last one')
    field.until(lambda: field.subscription.offers == offers('reliable'), 'the camera alone')
    assert field.got == [1, 2, 3, 4, 5]


@pytest.mark.parametrize('tells', [True, False])
def test_a_latched_frame_comes_once(
    make_field: Callable[..., Field], monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    if not tells:  # rclpy of Humble calls back with the message alone
        monkeypatch.setattr(module, '_TELLS_SENDER', False)
    field = make_field()
    camera = field.publisher('camera', 'latched')
    camera.publish(image(1))
    field.until(lambda: field.got, 'the latched frame')
    assert field.subscription.offers[0] == Offer(True, True)
    # Nobody keeps the frames of another one, which is heard besides.
    other = field.publisher('other', 'reliable')
    field.send(other, 2)
    camera.publish(image(3))
    field.until(lambda: 3 in field.got, 'the next latched frame')
    assert (field.got.count(1), field.got.count(3)) == (1, 1)


def test_a_subscription_that_becomes_a_latched_one_loses_and_repeats_nothing(
    make_field: Callable[..., Field], monkeypatch: pytest.MonkeyPatch
) -> None:
    field = make_field()
    with monkeypatch.context() as patch:  # until it is seen what the publisher offers
        patch.setattr(field.subscription, 'update_qos', lambda: None)
        camera = field.publisher('camera', 'latched')
        field.until(camera.get_subscription_count, 'a connection')
        for number in range(1, 5):
            camera.publish(image(number))
        field.until(lambda: 4 in field.got, 'the first frames')
    for number in range(5, 9):
        camera.publish(image(number))
        field.subscription.update_qos()
    field.until(lambda: field.subscription.offers == offers('latched'), 'the latched one alone')
    camera.publish(image(9))
    field.until(lambda: 9 in field.got, 'the last frame')
    assert field.got == list(range(1, 10))


def test_each_activation_has_the_latched_frame_once(make_field: Callable[..., Field]) -> None:
    field = make_field()
    field.publisher('camera', 'latched').publish(image(1))
    field.until(lambda: field.got == [1], 'the frame')
    field.subscription.close()
    field.open()
    field.until(lambda: field.got == [1, 1], 'the frame again')


def test_a_publisher_that_comes_and_goes_changes_nothing(
    make_field: Callable[..., Field],
) -> None:
    field = make_field()
    camera = field.publisher('camera', 'reliable')
    field.send(camera, 1)
    link = field.subscription._links[Offer(True, False)]
    for count in range(5):
        tool = field.publisher(f'tool{count}', 'best_effort')
        field.send(camera, 2 + count)
        tool.destroy()
    assert field.subscription._links == {Offer(True, False): link}


def test_a_publisher_of_another_type_counts_for_nothing(
    make_field: Callable[..., Field],
) -> None:
    field = make_field()
    node = Node('stranger', context=field._others, use_global_arguments=False)
    field.nodes.append(node)
    node.create_publisher(CameraInfo, 'image', BEST_EFFORT)
    field.until(lambda: field.subscription.publishers(), 'the publisher')
    assert field.subscription.offers == offers('reliable')


@pytest.mark.parametrize(('fixed', 'expected'), [('reliable', True), ('best_effort', False)])
def test_a_fixed_reliability_still_follows_durability(
    make_field: Callable[..., Field], fixed: str, expected: bool
) -> None:
    field = make_field(fixed)
    field.publisher('camera', 'latched')
    field.until(lambda: Offer(expected, True) in field.subscription.offers, 'a latched one')
    field.publisher('tool', 'best_effort')
    field.until(lambda: {each.reliable for each in field.subscription.offers} == {expected}, '')


def test_frames_of_two_sources_are_told(make_stage: MakeStage) -> None:
    stage = make_stage()
    others = [Node(name, context=stage.watcher.context) for name in ('left', 'right')]
    cameras = [node.create_publisher(Image, 'image_raw', RELIABLE) for node in others]
    for camera in cameras:
        wait_until(camera.get_subscription_count, 'the subscription')

    def told() -> bool:
        for camera in cameras:
            camera.publish(frame(paint(example_mask())))
        return 'mixed' in stage.status('/image_raw').message

    wait_until(told, 'a warning', pause=0.05)
    line = stage.wait_for_log('messages of several publishers are mixed on /image_raw')
    assert '/left (reliable)' in line
    assert '/right (reliable)' in line
    for node in others:
        node.destroy_node()


def test_who_cannot_be_heard_is_named(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'PATIENCE_S', 0.5)
    stage = make_stage()
    camera = stage.camera()
    tool = Node('idle_tool', context=stage.watcher.context)
    tool.create_publisher(Image, 'image_raw', BEST_EFFORT)
    line: list[str] = []

    def told() -> bool:
        camera.publish(frame(paint(example_mask()), time.monotonic()))
        line[:] = [each for each in stage.log_lines() if 'cannot be heard' in each]
        return bool(line)

    wait_until(told, 'a warning', pause=0.05)
    assert '/idle_tool (best_effort) cannot be heard while' in line[0]
    tool.destroy_node()


def test_a_latched_frame_and_calibration_from_before_the_start(make_stage: MakeStage) -> None:
    stage = make_stage(autostart=False)
    latched = QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
    masks, infos = (
        stage.collect(kind, f'/segmentation/{name}')
        for kind, name in ((Image, 'mask'), (CameraInfo, 'camera_info'))
    )
    calibration = CameraInfo(width=160, height=96)
    stage.watcher.create_publisher(CameraInfo, 'camera_info', latched).publish(calibration)
    camera = stage.watcher.create_publisher(Image, 'image_raw', latched)
    camera.publish(frame(paint(example_mask())))
    assert stage.change('configure')
    for count in (1, 2):
        assert stage.change('activate')
        stage.wait_for_count(received=count, processed=count)
        wait_until(lambda count=count: len(masks) == count, 'its mask')
        wait_until(lambda: int(stage.values('/image_raw')['camera_info_received']), '')
        assert stage.change('deactivate')
    assert stage.received() == 2


def test_a_latched_cloud_from_before_the_start(make_stage: MakeStage) -> None:
    stage = make_stage(autostart=False, cloud__enabled=True)
    cloud = PointCloud2()
    stage.watcher.create_publisher(PointCloud2, 'points', LATCHED).publish(cloud)
    assert stage.change('configure')
    assert stage.change('activate')
    wait_until(lambda: stage.values('/image_raw').get('clouds_received') == '1', 'the cloud')
