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

"""A jump of time is noticed once, by the clock or by stamps, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Iterator
import gc
from typing import Any
import weakref

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from stage import wait_until

from uhr_seg_ros.ros.topics.time_jumps import TimeJumps

S = 1_000_000_000


@pytest.fixture
def node(context: Any) -> Iterator[Node]:
    node = Node('clock', context=context, use_global_arguments=False)
    yield node
    node.destroy_node()


@pytest.fixture
def jumps(node: Node) -> Iterator[TimeJumps]:
    jumps = TimeJumps(node)
    yield jumps
    jumps.close()


def noted(jumps: TimeJumps, *stamps: float, source: str = 'points') -> list[float]:
    """Return the times, s, of the jumps that these stamps of one source showed."""
    told: list[float] = []
    end = jumps.listen(lambda now_ns: told.append(now_ns / S))
    for stamp in stamps:
        jumps.note(source, round(stamp * S))
    end()
    return told


@pytest.mark.parametrize(
    ('stamps', 'jumps_at'),
    [
        ((60.0, 60.1, 0.0, 0.1, 0.2), [0.1]),
        ((60.0, 0.0, 0.1, 60.0, 60.1, 0.0, 0.1), [0.1, 0.1]),  # each lap
        ((60.0, 60.1, 59.2, 60.2), []),  # late
        ((60.0, 0.0, 60.1, 0.0, 60.2), []),  # a driver that has lost its clock now and then
        ((60.0, 0.0, 0.0, 0.0, 60.1), []),
        ((60.0, 3.0, 60.1, 3.1, 60.2, 3.2), []),  # two publishers, two clocks
        ((60.0, 4e9, 60.1, 60.2, 60.3), []),  # one stamp of the far future
        ((-2e9, 4e9, 0.0, -2e9, -1e9, 4e9), []),
        ((0.0, 1000.0, 1000.1, 1000.2), []),  # forwards
        ((0.0, 1000.0, 1000.1, 0.0, 0.1), [0.1]),
    ],
)
def test_stamps(jumps: TimeJumps, stamps: tuple[float, ...], jumps_at: list[float]) -> None:
    assert noted(jumps, *stamps) == jumps_at
    assert jumps.count == len(jumps_at)


def test_all_sources_show_a_jump_once(jumps: TimeJumps) -> None:
    for stamp in (60.0, 0.0, 0.1, 0.2):
        for source in ('image', 'points', 'tf'):
            jumps.note(source, round(stamp * S))
    assert jumps.count == 1


def test_what_comes_late_from_before_the_jump_is_followed_back(jumps: TimeJumps) -> None:
    noted(jumps, 60.0, 0.0, 0.1)
    assert noted(jumps, 60.1, 0.1, 0.2, source='tf') == [0.2]


def test_the_clock_of_a_simulation(node: Node, jumps: TimeJumps) -> None:
    node.set_parameters([Parameter('use_sim_time', value=True)])
    told: list[int] = []
    jumps.listen(told.append)
    publisher = node.create_publisher(Clock, '/clock', 10)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    clock = node.get_clock()

    def reaches(seconds: int) -> bool:
        publisher.publish(_clock(seconds))
        executor.spin_once(timeout_sec=0.05)
        return clock.now().nanoseconds == seconds * S

    wait_until(lambda: reaches(50), 'time')
    told.clear()  # what the change of the clock told
    wait_until(lambda: reaches(51), 'time')
    assert not told
    wait_until(lambda: reaches(2), 'time')
    assert told == [2 * S]
    executor.shutdown()


def test_a_node_with_a_handle_can_be_collected(context: Any) -> None:
    node = Node('clock', context=context, use_global_arguments=False)
    jumps = TimeJumps(node)
    alive = weakref.ref(jumps)
    jumps.close()
    node.destroy_node()
    del node, jumps
    gc.collect()
    assert alive() is None


def test_sources_do_not_fill_the_memory(jumps: TimeJumps) -> None:
    for number in range(5000):
        jumps.note(f'frame {number}', number)
    assert len(jumps._tracks) < 2000


def _clock(seconds: int) -> Clock:
    message = Clock()
    message.clock.sec = seconds
    return message
