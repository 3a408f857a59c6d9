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

"""What is asked of tf2, what its answers mean, and what it keeps when time is set back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geometry_msgs.msg import TransformStamped
import pytest
from rclpy.node import Node
from rig import header
from transforms import stand_in, StandInBuffer, tf2_ros

from uhr_seg_ros.ros.parameters.extrinsics import Extrinsics
from uhr_seg_ros.ros.points import transforms
from uhr_seg_ros.ros.topics.time_jumps import TimeJumps

NOTHING = Extrinsics('', '', (0.0,) * 3, (0.0, 0.0, 0.0, 1.0))
DECLARED = Extrinsics('camera', 'lidar', (7.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@pytest.fixture
def jumps(context: Any) -> Iterator[TimeJumps]:
    node = Node('poses', context=context, use_global_arguments=False)
    jumps = TimeJumps(node)
    yield jumps
    jumps.close()
    node.destroy_node()


def transform(stamp: float, child: str = 'base', parent: str = 'odom') -> TransformStamped:
    message = TransformStamped(child_frame_id=child, header=header(parent, stamp))
    message.transform.translation.x = stamp
    message.transform.rotation.w = 1.0
    return message


def known(buffer: Any, child: str = 'base') -> float:
    """Return until when a frame is known, s."""
    return buffer.get_latest_common_time('odom', child).nanoseconds / 1e9


@pytest.fixture
def buffer() -> Any:
    return StandInBuffer() if tf2_ros is None else tf2_ros.Buffer()


def test_what_came_since_the_jump_is_kept(jumps: TimeJumps, buffer: Any) -> None:
    watched = transforms._WatchedBuffer(buffer, jumps)
    jumps.listen(watched.start_again)
    for child in ('base', 'arm', 'wheel'):
        for number in range(5):
            watched.set_transform(transform(60 + number / 10, child), 'test')
    for child in ('base', 'arm'):
        watched.set_transform(transform(0.1, child), 'test')
    assert known(buffer) == 60.4  # what is older than its memory is refused
    watched.set_transform(transform(0.2), 'test')
    assert (known(buffer), known(buffer, 'arm')) == (0.2, 0.1)
    with pytest.raises(Exception, match='tree'):
        known(buffer, 'wheel')
    found = buffer.lookup_transform(
        'odom', 'base', transforms.Time(seconds=0, nanoseconds=150_000_000)
    )
    assert found.transform.translation.x == pytest.approx(0.15)


def test_what_came_before_the_clock_was_set_back_is_kept_too(
    jumps: TimeJumps, buffer: Any
) -> None:
    watched = transforms._WatchedBuffer(buffer, jumps)
    for stamp in (59.0, 60.0, 0.1):
        watched.set_transform(transform(stamp), 'test')
    watched.start_again(0)
    assert known(buffer) == 0.1


def test_transforms_from_before_the_beginning_of_time(jumps: TimeJumps, buffer: Any) -> None:
    """Stamps below zero would be an exception on the executor."""
    watched = transforms._WatchedBuffer(buffer, jumps)
    jumps.listen(watched.start_again)
    buffer.set_transform = lambda *_: None
    for _ in range(3):
        bad = transform(1.0)
        bad.header.stamp.sec = -5
        watched.set_transform(bad, 'test')
        watched.set_transform(transform(1.0, 'x' * 1_000_000), 'test')
    assert len(watched._recent) == 3


@pytest.mark.parametrize(
    ('sent', 'declared', 'expected'),
    [
        ([], NOTHING, (transforms.TransformNotYetError, None)),
        ([], DECLARED, 7.0),
        ([transform(2.0, 'lidar', 'map')], NOTHING, (transforms.TransformNotYetError, None)),
        ([transform(1.9, 'lidar', 'camera')], NOTHING, (transforms.TransformNotYetError, 100)),
        ([transform(1.9, 'lidar', 'camera')], DECLARED, (transforms.TransformNotYetError, 100)),
        (
            [transform(2.1, 'lidar', 'camera')],
            NOTHING,
            (transforms.MessageError, None),
        ),  # before it
        # Time may have been set back.
        ([transform(9.0, 'lidar', 'camera')], NOTHING, (transforms.TransformNotYetError, -7000)),
        ([transform(0.0, 'lidar', 'camera')], NOTHING, (transforms.TransformNotYetError, 2000)),
        ([transform(1.5, 'lidar', 'camera'), transform(2.5, 'lidar', 'camera')], DECLARED, 2.0),
    ],
)
def test_what_may_still_come(
    jumps: TimeJumps, monkeypatch: pytest.MonkeyPatch, sent: list, declared: Any, expected: Any
) -> None:
    if tf2_ros is None:
        monkeypatch.setattr(transforms, 'tf2_ros', stand_in([]))
    finder = transforms.TransformFinder(jumps._node, jumps)
    for each in sent:
        finder._buffer.set_transform(each, 'test')
    if isinstance(expected, float):
        found = finder.find(header('camera', 2.0), header('/lidar', 2.0), declared)
        assert found.translation[0] == pytest.approx(expected)
        return
    kind, lag_ms = expected
    with pytest.raises(
        transforms.MessageError, match='no transform from lidar to camera'
    ) as caught:
        finder.find(header('camera', 2.0), header('lidar', 2.0), declared)
    assert type(caught.value) is kind
    if kind is transforms.TransformNotYetError:
        assert caught.value.lag_ns == (None if lag_ms is None else lag_ms * 10**6)
