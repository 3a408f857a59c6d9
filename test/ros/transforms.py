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

"""
Transforms for the node under test: over /tf to the real tf2_ros where that is installed.

tf2_ros is not among the PyPI wheels. There a stand-in takes its place, which does what the tests
need in the words of its interface: trees, 10 s of memory, no extrapolation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import ref

from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest
from rclpy.time import Time
from stage import LATCHED, Stage, wait_until

from uhr_seg_ros.geometry.transform import IDENTITY, Transform
from uhr_seg_ros.ros.points import transforms as poses

try:
    import tf2_ros
except ImportError:
    tf2_ros = None
else:
    from tf2_msgs.msg import TFMessage

S = 1_000_000_000
MEMORY_NS = 10 * S
UNIT = (0.0, 0.0, 0.0, 1.0)


class StandInError(Exception):
    """In the place of tf2_ros.TransformException."""


class StandInBuffer:
    """In the place of tf2_ros.Buffer; rotations do not change between two stamps."""

    def __init__(self) -> None:
        self._static: dict[str, TransformStamped] = {}
        self._moving: dict[str, dict[int, TransformStamped]] = {}

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        self._static[transform.child_frame_id] = transform

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        track = self._moving.setdefault(transform.child_frame_id, {})
        stamp = Time.from_msg(transform.header.stamp).nanoseconds
        if track and stamp < max(track) - MEMORY_NS:
            return  # the real one logs it
        track[stamp] = transform
        for old in [each for each in track if each < max(track) - MEMORY_NS]:
            del track[old]

    def clear(self) -> None:
        self._moving.clear()

    def get_latest_common_time(self, target: str, source: str) -> Time:
        moving = self._chain(target, source)
        latest = [max(self._moving[each]) for each in moving if each in self._moving]
        return Time(nanoseconds=min(latest, default=0))

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        self._chain(target, source)
        from_root = self._to_root(target, time.nanoseconds).inverse()
        return _message(from_root @ self._to_root(source, time.nanoseconds))

    def lookup_transform_full(
        self, target: str, target_time: Time, source: str, source_time: Time, fixed: str
    ) -> TransformStamped:
        first = self.lookup_transform(target, fixed, target_time)
        second = self.lookup_transform(fixed, source, source_time)
        return _message(_pose(first) @ _pose(second))

    def _links(self, frame: str) -> list[str]:
        """Return a frame and its parents; the last one is the root."""
        frames = [frame]
        while (child := frames[-1]) in self._static or child in self._moving:
            frames.append(self._link(child).header.frame_id)
        return frames

    def _link(self, child: str) -> TransformStamped:
        return self._static.get(child) or next(iter(self._moving[child].values()))

    def _chain(self, target: str, source: str) -> set[str]:
        first, second = self._links(target), self._links(source)
        if first[-1] != second[-1]:
            msg = f'{target} and {source} are not part of the same tree'
            raise StandInError(msg)
        return set(first) ^ set(second)

    def _to_root(self, frame: str, stamp: int) -> Transform:
        found = IDENTITY
        for child in self._links(frame)[:-1]:
            found = self._at(child, stamp) @ found
        return found

    def _at(self, child: str, stamp: int) -> Transform:
        if child in self._static:
            return _pose(self._static[child])
        track = sorted(self._moving[child].items())
        stamps = [each for each, _ in track]
        if not stamps[0] <= stamp <= stamps[-1]:
            msg = f'Lookup would require extrapolation at time {stamp / S} of frame {child}'
            raise StandInError(msg)
        place = bisect_right(stamps, stamp) - 1
        found = _pose(track[place][1])
        if stamps[place] == stamp:
            return found
        share = (stamp - stamps[place]) / (stamps[place + 1] - stamps[place])
        step = _pose(track[place + 1][1]).translation - found.translation
        return Transform(found.rotation, found.translation + share * step)


def stand_in(listeners: list[Callable[[], Any]]) -> SimpleNamespace:
    """
    Return what is in the place of tf2_ros; the buffers of its listeners are put in the list.

    Weakly: they hold the node, which has to go with its stage.
    """
    return SimpleNamespace(
        Buffer=StandInBuffer,
        TransformException=StandInError,
        TransformListener=lambda buffer, node, *, spin_thread: listeners.append(ref(buffer)),
    )


class Transforms:
    """
    Publishes transforms to the node under test.

    Args:
        monkeypatch: puts the stand-in in the place of tf2_ros, where that is missing.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._listeners: list[Callable[[], Any]] = []
        self._publishers: dict[str, Any] = {}
        if tf2_ros is None:
            monkeypatch.setattr(poses, 'tf2_ros', stand_in(self._listeners))

    def attach(self, stage: Stage) -> None:
        """Reach the node of a stage, once it is configured."""
        if tf2_ros is None:
            wait_until(lambda: self._listeners, 'a listener')
            return
        for topic in ('/tf', '/tf_static'):
            qos = LATCHED if topic == '/tf_static' else 100
            publisher = stage.watcher.create_publisher(TFMessage, topic, qos)
            wait_until(publisher.get_subscription_count, f'a subscription to {topic}')
            self._publishers[topic] = publisher

    def send(
        self,
        parent: str,
        child: str,
        stamp: float | None,
        x: float = 0.0,
        y: float = 0.0,
        z: float = 0.0,
        turn: tuple[float, ...] = UNIT,
    ) -> None:
        """Return where a frame is in its parent: at a stamp, s, or always."""
        transform = TransformStamped(child_frame_id=child)
        transform.header.frame_id = parent
        transform.header.stamp.sec = int(stamp or 0)
        transform.header.stamp.nanosec = round((stamp or 0) % 1 * S)
        offset, rotation = transform.transform.translation, transform.transform.rotation
        offset.x, offset.y, offset.z = x, y, z
        rotation.x, rotation.y, rotation.z, rotation.w = map(float, turn)
        topic = '/tf_static' if stamp is None else '/tf'
        if self._publishers:
            self._publishers[topic].publish(TFMessage(transforms=[transform]))
            return
        (buffer,) = [listener() for listener in self._listeners]
        put = buffer.set_transform_static if stamp is None else buffer.set_transform
        put(transform, 'test')


def _pose(message: TransformStamped) -> Transform:
    offset, turn = message.transform.translation, message.transform.rotation
    return Transform.of_quaternion(
        (offset.x, offset.y, offset.z), (turn.x, turn.y, turn.z, turn.w)
    )


def _message(pose: Transform) -> TransformStamped:
    """Return a pose; turns by half around an axis do not come up here."""
    found = TransformStamped()
    offset, turn = found.transform.translation, found.transform.rotation
    offset.x, offset.y, offset.z = map(float, pose.translation)
    matrix = pose.rotation
    turn.w = float(np.sqrt(1 + np.trace(matrix)) / 2)
    turn.x = float((matrix[2, 1] - matrix[1, 2]) / (4 * turn.w))
    turn.y = float((matrix[0, 2] - matrix[2, 0]) / (4 * turn.w))
    turn.z = float((matrix[1, 0] - matrix[0, 1]) / (4 * turn.w))
    return found
