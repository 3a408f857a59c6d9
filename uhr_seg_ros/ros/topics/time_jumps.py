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

"""Notice that time was set back: a recording that begins again, a simulator that is reset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from weakref import WeakMethod

from builtin_interfaces.msg import Time
from rclpy.clock import JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import Header

from uhr_seg_ros.ros.messages.remarks import Throttle

JUMP_NS = 1_000_000_000
"""So far behind its predecessors, ns, a message is not late: time was set back."""

LEAP_NS = 60_000_000_000
"""So far ahead of its predecessors, ns, a stamp has to be confirmed before it is believed."""

_MAX_SOURCES = 1024


def stamp_ns(header: Header) -> int:
    """Return the stamp of a header in ns; see `time_ns`."""
    return time_ns(header.stamp)


def time_ns(stamp: Time) -> int:
    """Return a stamp in ns, whatever it is: rclpy.time refuses what a camera may send."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


@dataclass
class _Track:
    """The latest stamp of a source, and one far away from it that the next may confirm, ns."""

    latest: int
    away: int | None = None


class TimeJumps:
    """
    Tells its listeners when time was set back; may be used from several threads.

    Two things show it. With `use_sim_time` the node's clock is set back. Without it, as when a
    recording is looped without /clock, stamps are: a source, such as a topic, has to send two
    messages in a row from the new time, so one absurd stamp or a late message is no jump, nor are
    two publishers with different clocks on one topic. All sources together show a jump once.

    Args:
        node: its clock is watched for as long as the node lives.

    Attributes:
        count: jumps so far.

    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = Lock()
        self._tracks: dict[str, _Track] = {}
        self._listeners: list[Callable[[int], None]] = []
        self._throttle = Throttle()
        self.count = 0
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-JUMP_NS), on_clock_change=True
        )
        # The clock lives in C++, where the garbage collector would not find a way to the node.
        on_clock = WeakMethod(self._on_clock)
        self._handle: JumpHandle | None = node.get_clock().create_jump_callback(
            threshold, post_callback=lambda jump: _call(on_clock, jump)
        )

    def listen(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """
        Call a function at every jump, on the thread that noticed it.

        Args:
            listener: gets the time now, ns: what is more than `JUMP_NS` later is from before. It
                has to be quick, and may not raise.

        Returns:
            What ends that.

        """
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._forget(listener)

    def note(self, source: str, stamp_ns: int) -> None:
        """Look at the stamp of a message; a source is a topic, or whatever has a clock."""
        with self._lock:
            is_jump = self._is_jump(source, stamp_ns)
        if is_jump:
            self._tell(f'stamps of {source} were set back', stamp_ns)

    def close(self) -> None:
        """Leave the clock alone; stamps are still looked at."""
        if self._handle is not None:
            self._handle.unregister()
            self._handle = None

    def _is_jump(self, source: str, stamp_ns: int) -> bool:
        track = self._tracks.get(source)
        if track is None:
            if len(self._tracks) < _MAX_SOURCES:  # names in messages must not fill the memory
                self._tracks[source] = _Track(stamp_ns)
            return False
        ahead = stamp_ns - track.latest
        if -JUMP_NS <= ahead <= LEAP_NS:
            track.latest, track.away = max(track.latest, stamp_ns), None
            return False
        is_confirmed = track.away is not None and 0 < stamp_ns - track.away <= LEAP_NS
        track.away = stamp_ns
        if not is_confirmed:
            return False
        track.latest, track.away = stamp_ns, None
        return ahead < 0

    def _on_clock(self, jump: TimeJump) -> None:
        self._tell('the clock was set back or changed', self._node.get_clock().now().nanoseconds)

    def _tell(self, how: str, now_ns: int) -> None:
        with self._lock:
            self.count += 1
            # The others will be set back too, by the same jump.
            self._tracks.clear()
            listeners = list(self._listeners)
        for listener in listeners:
            listener(now_ns)
        # Clock and stamps may both show it: to give up twice does no harm, and it is said once.
        if self._throttle.allows('time'):
            self._node.get_logger().info(f'{how}: what is from before is given up')

    def _forget(self, listener: Callable[[int], None]) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)


def _call(method: WeakMethod, jump: TimeJump) -> None:
    if (bound := method()) is not None:
        bound(jump)
