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

"""The clock of a simulation, which wakes the executor of the node for nothing."""

from __future__ import annotations

from collections.abc import Callable
import threading

import pytest
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from stage import BEST_EFFORT, example_mask, frame, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros.topics import sim_clock as module

MakeStage = Callable[..., Stage]
S = 1_000_000_000


def tick(publisher: Publisher, seconds: int) -> None:
    message = Clock()
    message.clock.sec = seconds
    publisher.publish(message)


def reach(stage: Stage, publisher: Publisher, seconds: int) -> None:
    """Publish a time until the node has it."""

    def reached() -> bool:
        tick(publisher, seconds)
        return stage.node.get_clock().now().nanoseconds == seconds * S

    wait_until(reached, f'{seconds} s', pause=0.03)


def listens() -> bool:
    return any(each.name == 'clock_executor' for each in threading.enumerate())


def test_the_clock_is_heard_beside_the_node(make_stage: MakeStage) -> None:
    remap = ['--ros-args', '-r', '/clock:=/simulator/clock']
    stage = make_stage(use_sim_time=True, _cli_args=remap)
    publisher = stage.watcher.create_publisher(Clock, '/simulator/clock', BEST_EFFORT)
    reach(stage, publisher, 50)
    assert '/simulator/clock' not in [each.topic_name for each in stage.node.subscriptions]
    (heard,) = stage.watcher.get_subscriptions_info_by_topic('/simulator/clock')
    assert heard.node_name == '_segmentation_clock'  # hidden, and no stranger in warnings
    reach(stage, publisher, 2)
    stage.wait_for_log('the clock was set back')
    assert stage.set_parameter('use_sim_time', False).successful
    wait_until(lambda: not publisher.get_subscription_count(), 'the end of the subscription')
    assert not listens()
    assert stage.node.get_clock().now().nanoseconds > 60 * S
    assert stage.set_parameter('use_sim_time', True).successful
    reach(stage, publisher, 70)


def test_between_two_looks_the_clock_costs_nothing(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'PAUSE_S', 1e6)
    stage = make_stage(use_sim_time=True)
    publisher = stage.watcher.create_publisher(Clock, '/clock', BEST_EFFORT)
    reach(stage, publisher, 50)
    camera = stage.camera()
    for second in (51, 52, 53):
        tick(publisher, second)
        camera.publish(frame(paint(example_mask()), second))
        stage.wait_for_count(received=second - 50, pending=0)
    assert stage.node.get_clock().now().nanoseconds == 50 * S
    stage.node.destroy_node()
    assert not listens()
