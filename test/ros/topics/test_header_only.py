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

"""Frames that will be thrown away are counted, but their pixels are not copied."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from stage import BEST_EFFORT, example_mask, frame, RELIABLE, Stage, wait_until
from std_msgs.msg import Header, String
from tiny_bundle import paint

from uhr_seg_ros.ros import camera as module
from uhr_seg_ros.ros.topics.header_only import header_type, spare

MakeStage = Callable[..., Stage]


@pytest.mark.parametrize('kind', [Image, CompressedImage, PointCloud2])
def test_a_header_is_taken_from_a_message(context: Context, kind: type) -> None:
    node = Node('taker', context=context, use_global_arguments=False)
    got: list[Any] = []
    wanted = False
    publisher = node.create_publisher(kind, 'topic', RELIABLE)
    spare(node.create_subscription(kind, 'topic', got.append, RELIABLE), lambda: wanted)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    message = kind(data=bytes(range(256)) * 100)
    message.header.stamp.sec, message.header.stamp.nanosec = -7, 999_999_999
    message.header.frame_id = 'Käfer ' * 50

    def take() -> Any:
        publisher.publish(message)
        wait_until(lambda: executor.spin_once(0.01) or got, 'a message')
        return got.pop()

    wait_until(publisher.get_subscription_count, 'the subscription')
    assert take() == message.header
    wanted = True
    assert take() == message
    wanted = False
    assert take() == message.header
    executor.shutdown()
    node.destroy_node()


def test_what_does_not_begin_with_a_header_is_taken_whole() -> None:
    assert header_type(String) is None
    assert header_type(Header) is None


def send(stage: Stage, publisher: Any, *stamps: int) -> None:
    """Publish frames; each one when the last one has come."""
    before = stage.received()
    for count, stamp in enumerate(stamps, before + 1):
        publisher.publish(frame(paint(example_mask()), stamp))
        stage.wait_for_count(received=count)


def stamps_of(masks: list[Image]) -> list[int]:
    return [mask.header.stamp.sec for mask in masks]


@pytest.mark.parametrize('qos', [RELIABLE, BEST_EFFORT], ids=['reliable', 'best_effort'])
def test_the_frames_of_a_camera_that_is_held_back(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch, qos: Any
) -> None:
    monkeypatch.setattr(module, 'REFRESH_S', 1e6)
    stage = make_stage(max_rate_hz=0.001)
    camera = stage.camera(qos=qos)
    (masks,) = stage.outputs('mask')
    send(stage, camera, 1, 2, 3, 4, 5)
    values = stage.wait_for_count(processed=1, dropped=3, pending=1)
    assert values['encoding'] == 'bgr8'
    assert values['num_non_increasing_msg'] == '0'
    assert stage.set_parameter('max_rate_hz', 0.0).successful
    stage.wait_for_count(processed=2, pending=0)
    send(stage, camera, 6)
    stage.wait_for_count(received=6, processed=3, dropped=3, pending=0)
    wait_until(lambda: len(masks) == 3, 'the last mask')
    assert stamps_of(masks) == [1, 2, 6]


def test_what_waits_does_not_grow_old(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'REFRESH_S', 0.0)
    stage = make_stage(max_rate_hz=0.001)
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    send(stage, camera, 1, 2, 3, 4)
    assert stage.set_parameter('max_rate_hz', 0.0).successful
    stage.wait_for_count(processed=2, dropped=2, pending=0)
    wait_until(lambda: len(masks) == 2, 'both masks')
    assert stamps_of(masks) == [1, 4]


def test_the_last_frames_before_its_turn_are_taken_whole(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'REFRESH_S', 1e6)
    stage = make_stage(max_rate_hz=0.001)
    camera = stage.camera()
    send(stage, camera, 1, 2, 3)
    slot = stage.node._worker._slots['']
    assert slot.frame.stamp_ns == 2e9
    slot.last_taken = time.monotonic() - 1000.0 + 20.0
    monkeypatch.setattr(module, 'LEAD_S', 30.0)
    send(stage, camera, 4)
    assert slot.frame.stamp_ns == 4e9
