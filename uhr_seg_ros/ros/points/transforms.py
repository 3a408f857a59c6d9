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

"""Where points lie as a camera sees them: from tf2, or as the parameters declare it."""

from __future__ import annotations

from collections import deque
from typing import Any, TYPE_CHECKING

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.core.text import MAX_SHOWN, one_line, shown
from uhr_seg_ros.geometry.transform import IDENTITY, Transform
from uhr_seg_ros.ros.messages.headers import plain_frame
from uhr_seg_ros.ros.parameters.extrinsics import Extrinsics
from uhr_seg_ros.ros.topics.side_node import SideNode
from uhr_seg_ros.ros.topics.time_jumps import JUMP_NS, stamp_ns, TimeJumps

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped

try:
    import tf2_ros
except ImportError:  # not among the PyPI wheels
    tf2_ros = None


MAX_FRAME = 1000
"""Most letters of a frame's name: beyond it is garbage that costs time and memory."""


RECENT = 1000
"""So many transforms of moving frames are at hand when time is set back."""

YOUNG_S = 2.0
"""So long, s, it is told that tf2 is listened to only now."""

NEVER_NS = -(1 << 63)
"""Before any stamp."""


class TransformNotYetError(MessageError):
    """
    No transform yet between two frames, but there may be in a moment.

    Args:
        what: names both frames.
        reason: what tf2 says.
        way_out: what to do where waiting does not help.
        lag_ns: how far the newest transform is behind the stamps, ns; None where tf2 connects the
            frames in no way so far.

    """

    def __init__(self, what: str, reason: str, way_out: str, lag_ns: int | None) -> None:
        super().__init__(f'{what}: {reason}. {way_out}')
        self._what, self._reason, self._way_out = what, reason, way_out
        self.lag_ns = lag_ns

    def after(self, timeout: float, first: TransformNotYetError) -> MessageError:
        """Return the error for one that was waited for, s; `first` is from the beginning."""
        what = f'{self._what} within cloud.transform_timeout = {timeout:g} s'
        if self.lag_ns is None:
            return MessageError(f'{what}: {self._reason}. {self._way_out}')
        now = f'{self.lag_ns / 1e6:.0f} ms'
        if self.lag_ns <= 0:
            return MessageError(
                f'{what}: the stamps are {-self.lag_ns / 1e6:.0f} ms older than what tf2 knows: '
                f'have all publishers the same clock? {self._reason}'
            )
        if first.lag_ns is None:
            lag = f'tf2 connected them only meanwhile and is {now} behind the stamps'
        elif first.lag_ns == self.lag_ns:
            lag = f'tf2 is {now} behind the stamps, and nothing newer came meanwhile'
        else:
            lag = f'tf2 was {first.lag_ns / 1e6:.0f} ms behind the stamps, and is {now} now'
        way_out = 'see that it is published in time, or raise cloud.transform_timeout above that'
        return MessageError(f'{what}: {lag}; {way_out}. {self._reason}')


class _Unknown(Exception):
    """What tf2 says, how far it is behind the stamps, ns, and whether waiting may help."""

    def __init__(self, reason: str, lag_ns: int | None = None, *, may_come: bool = False) -> None:
        super().__init__(reason)
        self.lag_ns, self.may_come = lag_ns, may_come


class TransformFinder:
    """
    Finds transforms; listens to tf2 where tf2_ros is installed, while somebody wants that.

    What tf2 knows is forgotten when time jumps back, static transforms excepted: it would refuse
    everything newer than the end of its memory. The buffer is not given the node: those of Humble
    would not listen to its clock, and some of Jazzy raise an exception when that jumps.

    Args:
        node: whose names and remappings of /tf and /tf_static count.
        jumps: tells when time was set back, and looks at the stamps of transforms.

    """

    def __init__(self, node: Node, jumps: TimeJumps) -> None:
        self._buffer: Any = None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer()
            watched = _WatchedBuffer(self._buffer, jumps)
            self._listening = SideNode(
                node,
                'tf',
                ('/tf', '/tf_static'),
                lambda own: tf2_ros.TransformListener(watched, own, spin_thread=False),
            )
            jumps.listen(watched.start_again)
            self._has_listened = False

    def listen(self, wanted: bool) -> None:
        """Begin or end listening; what was known before a pause is forgotten."""
        if self._buffer is None:
            return
        if not wanted:
            self._listening.close()
        elif self._listening.open():
            if self._has_listened:  # tf2 would interpolate over the pause
                self._buffer.clear()
            self._has_listened = True

    def find(
        self, camera: Header, points: Header, declared: Extrinsics, fixed_frame: str = ''
    ) -> Transform:
        """
        Return the transform from the points' frame to the camera's; never waits for one.

        Args:
            camera: of a frame: its stamp and optical frame.
            points: of a cloud or a depth image.
            declared: used where tf2 does not connect the frames and they are the declared ones;
                not with a fixed frame, since it knows of no motion.
            fixed_frame: one that the vehicle moves in, such as `odom`: what it moves between the
                two stamps is taken into account. Empty: the transform at the points' stamp.

        Raises:
            TransformNotYetError: tf2 does not know it yet.
            MessageError: no frame_id, or no such transform; names both frames and the
                way out.

        """
        frames = plain_frame(camera.frame_id), plain_frame(points.frame_id)
        fixed_frame = plain_frame(fixed_frame)
        if not all(frames):
            msg = (
                f'the frame_id of the image is {shown(frames[0])} and that of the points '
                f'{shown(frames[1])}: both need one'
            )
            raise MessageError(msg)
        if (longest := max(map(len, frames))) > MAX_FRAME:
            msg = (
                f'a frame_id has {longest} letters: at most {MAX_FRAME} are accepted; these '
                f'are {shown(frames[0])} and {shown(frames[1])}'
            )
            raise MessageError(msg)
        # With a fixed frame a sensor that moves has another pose at the other stamp.
        if frames[0] == frames[1] and not fixed_frame:
            return IDENTITY
        try:
            return self._ask(frames, camera, points, fixed_frame)
        except _Unknown as unknown:
            if unknown.lag_ns is None and declared.frames == frames and not fixed_frame:
                return declared.pose
            camera_frame, points_frame = (one_line(each, MAX_SHOWN) for each in frames)
            what = f'no transform from {points_frame} to {camera_frame}'
            reason = str(unknown)
            if self._buffer is not None and 0 < self._listening.age_s < YOUNG_S:
                reason += '; tf2 is listened to only since somebody subscribes'
            way_out = _advice(declared, fixed_frame)
            if unknown.may_come:
                raise TransformNotYetError(what, reason, way_out, unknown.lag_ns) from None
            msg = f'{what}: {reason}. {way_out}'
            raise MessageError(msg) from None

    def _ask(
        self, frames: tuple[str, str], camera: Header, points: Header, fixed_frame: str
    ) -> Transform:
        """Ask tf2; raise `_Unknown` where it does not know."""
        if self._buffer is None:
            raise _Unknown('tf2_ros is not installed')
        try:
            try:
                return self._look_up(frames, camera, points, fixed_frame)
            except tf2_ros.TransformException as err:
                lag_ns = self._lag(frames, camera, points, fixed_frame)
                if lag_ns is None or lag_ns > 0:
                    raise _Unknown(one_line(err).rstrip('.'), lag_ns, may_come=True) from None
            try:  # it came meanwhile, or is from before what tf2 remembers
                return self._look_up(frames, camera, points, fixed_frame)
            except tf2_ros.TransformException as err:
                # The first stamps after time was set back come before that is noticed.
                may_come = lag_ns < -JUMP_NS
                raise _Unknown(one_line(err).rstrip('.'), lag_ns, may_come=may_come) from None
        except (ValueError, OverflowError) as err:  # a stamp below zero
            raise _Unknown(str(err)) from None

    def _look_up(
        self, frames: tuple[str, str], camera: Header, points: Header, fixed_frame: str
    ) -> Transform:
        stamp = Time.from_msg(points.stamp)
        if fixed_frame:
            found = self._buffer.lookup_transform_full(
                frames[0], Time.from_msg(camera.stamp), frames[1], stamp, fixed_frame
            )
        else:
            found = self._buffer.lookup_transform(*frames, stamp)
        offset, turn = found.transform.translation, found.transform.rotation
        return Transform.of_quaternion(
            (offset.x, offset.y, offset.z), (turn.x, turn.y, turn.z, turn.w)
        )

    def _lag(
        self, frames: tuple[str, str], camera: Header, points: Header, fixed_frame: str
    ) -> int | None:
        """
        Return how far what tf2 knows is behind the stamps, ns; None: it connects them in no way.

        Zero or less: the stamps are from before what it remembers.
        """
        steps = [(*frames, points)]
        if fixed_frame:
            steps = [(frames[0], fixed_frame, camera), (fixed_frame, frames[1], points)]
        lags = []
        for target, source, header in steps:
            # Exceptions and texts of tf2 do not tell frames that are not connected from late ones.
            try:
                latest = self._buffer.get_latest_common_time(target, source).nanoseconds
            except tf2_ros.TransformException:
                return None
            if latest:  # else everything between them is static
                lags.append(Time.from_msg(header.stamp).nanoseconds - latest)
        # Static ones are always there, now at least; and zero is how a simulation begins.
        return max(lags, default=Time.from_msg(points.stamp).nanoseconds)


class _WatchedBuffer:
    """A buffer of tf2 as its listener sees it; the stamps of what moves are looked at."""

    def __init__(self, buffer: Any, jumps: TimeJumps) -> None:
        self._buffer, self._jumps = buffer, jumps
        self._recent: deque[TransformStamped] = deque(maxlen=RECENT)

    def start_again(self, now_ns: int) -> None:
        """Forget what is from before time was set back, to `now_ns`."""
        self._buffer.clear()
        # Until that was noticed, tf2 has refused what came since.
        for transform in self._since_jump(now_ns):
            self._buffer.set_transform(transform, 'uhr_seg_ros')

    def _since_jump(self, now_ns: int) -> list[TransformStamped]:
        """Return the recent transforms up to where stamps went back, for each frame."""
        since: list[TransformStamped] = []
        bounds: dict[str, int] = {}
        for transform in reversed(list(self._recent)):
            child, stamp = transform.child_frame_id, stamp_ns(transform.header)
            if stamp <= bounds.get(child, now_ns + JUMP_NS):
                bounds[child] = stamp
                since.append(transform)
            else:
                bounds[child] = NEVER_NS
        return since[::-1]

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        self._buffer.set_transform_static(transform, authority)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        child = transform.child_frame_id[:MAX_FRAME]
        self._jumps.note(f'transforms to {child}', stamp_ns(transform.header))
        if len(transform.child_frame_id) + len(transform.header.frame_id) <= MAX_FRAME:
            self._recent.append(transform)
        self._buffer.set_transform(transform, authority)


def _advice(declared: Extrinsics, fixed_frame: str) -> str:
    """Tell the ways out where there is no transform."""
    if fixed_frame:
        return (
            f'With cloud.fixed_frame {fixed_frame} only tf2 can tell it: publish it, or leave '
            'cloud.fixed_frame empty'
        )
    msg = (
        'Publish it to /tf or /tf_static, or declare it: parameters translation, quaternion, '
        'camera_frame and points_frame under cloud, or under cloud.<camera>'
    )
    if declared.camera_frame:
        msg += f', which are from {declared.frames[1]} to {declared.frames[0]} now'
    return msg
