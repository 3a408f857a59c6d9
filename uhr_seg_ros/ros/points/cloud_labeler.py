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

"""The way of a cloud through the node: wait for its mask, be labeled, be published."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
import math
from threading import Lock
import time
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from uhr_seg_ros.core.text import one_line
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache
from uhr_seg_ros.ros.messages.headers import message_bytes
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.points.cloud_outputs import CloudOutputs
from uhr_seg_ros.ros.points.cloud_projection import CloudProjector, SeenMask
from uhr_seg_ros.ros.points.pairing import Pair, Pairing
from uhr_seg_ros.ros.points.transform_waiting import Search, TransformWaiting
from uhr_seg_ros.ros.points.transforms import TransformFinder
from uhr_seg_ros.ros.topics.adaptive_subscription import AdaptiveQosSubscription
from uhr_seg_ros.ros.topics.closing import close_all
from uhr_seg_ros.ros.topics.header_only import Sparing
from uhr_seg_ros.ros.topics.names import camera_info_topic
from uhr_seg_ros.ros.topics.silence import why_silent
from uhr_seg_ros.ros.topics.status import Problem
from uhr_seg_ros.ros.topics.time_jumps import JUMP_NS, stamp_ns, TimeJumps

MASKS_ALONE = 5
"""So many masks in a row without points are no accident."""

READY = 4
"""So many clouds may wait for the worker: one transform that comes late makes several ready."""


class CloudHooks(NamedTuple):
    """
    What the points of a camera need from the node.

    Attributes:
        settings: gives the parameters of this moment.
        call: runs a job on the worker.
        frames: gives the stamps of the camera's frames that wait or are in work, the newest last.
        jumps: tells when time was set back, and looks at the stamps of clouds.
        remark: gets what is odd about a cloud that is read all the same.
        on_error: gets why a cloud was rejected.
        on_time: gets what labeling and publishing one took, ms.

    """

    settings: Callable[[], Settings]
    call: Callable[[Callable[[], None]], object]
    frames: Callable[[], Sequence[int]]
    jumps: TimeJumps
    remark: Callable[[str], None]
    on_error: Callable[[Exception], None]
    on_time: Callable[[float], None]


class CloudLabeler:
    """
    Labels the points of one camera and publishes them; announced while the node is configured.

    The executor hands clouds in, the worker hands masks in. A cloud with a mask is ready as soon
    as its transform is known, which may have to be waited for; the worker does everything else,
    between frames.

    Args:
        node: owner of the topics.
        camera: name of the camera; empty for the one without a name.
        calibrations: of the camera.
        transforms: where points lie as the camera sees them.
        hooks: see `CloudHooks`.

    Attributes:
        topic_name: of the points, resolved.
        rejected: clouds that had a mask, but could not be labeled.
        dropped: clouds that had a mask, but newer ones came before the worker took them, or time
            was set back.

    """

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        calibrations: CameraInfoCache,
        transforms: TransformFinder,
        hooks: CloudHooks,
    ) -> None:
        self._node, self._camera = node, camera
        self._prefix = f'{camera}/' if camera else ''
        self._transforms, self._hooks = transforms, hooks
        self._depth_calibrations = CameraInfoCache(hooks.on_error)
        self._projector = CloudProjector(calibrations, self._depth_calibrations, hooks.remark)
        settings = hooks.settings()
        self._is_depth = settings.cloud_source == 'depth'
        self._topic = f'{self._prefix}{settings.cloud_source}'
        max_bytes = settings.cloud_memory_limit_mb * 1_000_000
        limit = f'cloud.memory_limit_mb = {settings.cloud_memory_limit_mb} MB'
        self._memory_limit = limit
        self._pairing = Pairing(
            round(settings.cloud_max_time_difference * 1e9), max_bytes, hooks.frames
        )
        self._waiting = TransformWaiting(
            self._on_found, lambda _, error: self._reject(error), max_bytes, limit
        )
        self._ready: deque[tuple[Pair, Transform]] = deque()
        self._lock = Lock()  # of what is ready, and of the counters
        self._is_open = False
        self._subscriptions: list[AdaptiveQosSubscription] = []
        self._masks_alone = 0
        self._over_memory_before = 0
        self._rejected_before = 0
        self._reason = ''
        self._difference_ms = math.nan
        self.topic_name = node.resolve_topic_name(self._topic)
        self.rejected = 0
        self.dropped = 0
        self._end_listening = hooks.jumps.listen(self._on_jump)
        self._outputs = CloudOutputs(node, self._prefix)

    @property
    def is_wanted(self) -> bool:
        """Whether someone subscribes to the labeled points, or to what is made of them."""
        return self._outputs.is_wanted

    def values(self) -> dict[str, str]:
        """Return the counters; received = paired + unpaired + waiting."""
        counts = self._pairing.counts()._asdict()
        with self._lock:
            counts |= {
                'waiting_for_transform': len(self._waiting),
                'rejected': self.rejected,
                'late_transform': self._waiting.late,
                'dropped': self.dropped,
            }
        values = {f'clouds_{name}': str(count) for name, count in counts.items()}
        values['clouds_time_difference_ms'] = f'{self._difference_ms:.1f}'
        if self._is_depth:
            values['depth_camera_info_received'] = str(self._depth_calibrations.received)
            values['depth_camera_info_rejected'] = str(self._depth_calibrations.rejected)
        return values

    def problem(self) -> Problem | None:
        """Judge what became of clouds since the last call, and whether masks find any."""
        since, self._rejected_before = self.rejected - self._rejected_before, self.rejected
        if since:
            text = f'{since} clouds rejected since the last report: {self._reason}'
            return DiagnosticStatus.WARN, text
        if self._masks_alone < MASKS_ALONE:
            return None
        seconds = self._hooks.settings().cloud_max_time_difference
        text = (
            f'the last {self._masks_alone} masks found no points of {self.topic_name} within '
            f'{seconds:g} s: {self._why_alone()}'
        )
        return DiagnosticStatus.WARN, text

    def _why_alone(self) -> str:
        """Return why masks find no points, and the way out."""
        over = self._over_memory() - self._over_memory_before
        if over:
            return (
                f'{over} clouds or masks were given up while they waited, as they had more '
                f'bytes than {self._memory_limit}; raise it'
            )
        missed_ns = self._pairing.missed_ns
        if missed_ns is None:
            subscriptions = tuple(self._subscriptions)  # another thread may close them
            if self._pairing.counts().received or not subscriptions:
                return 'see that they come'
            return f'none has come; {why_silent(self._node, subscriptions[0], self._topic)}'
        return (
            f'the nearest were {missed_ns / 1e9:.3f} s away; compare the stamps of both '
            'sensors, or raise cloud.max_time_difference'
        )

    def _over_memory(self) -> int:
        return self._pairing.counts().over_memory + self._pairing.masks_over_memory

    def open_input(self) -> None:
        """Subscribe."""
        self._is_open = True
        kind = Image if self._is_depth else PointCloud2
        sparing = Sparing(lambda: self._is_open and self.is_wanted, self._skip)
        self._subscribe(kind, self._topic, self._receive, sparing)
        if self._is_depth:
            infos = camera_info_topic(self._node, self._topic, f'{self._topic}/camera_info')
            self._subscribe(CameraInfo, infos, self._depth_calibrations.add)

    def update_qos(self) -> None:
        """Let the subscriptions follow their publishers."""
        for subscription in tuple(self._subscriptions):
            subscription.update_qos()

    def close_input(self) -> None:
        """Unsubscribe, and give up what waits, whatever one of the subscriptions raises."""
        try:
            close_all(self._subscriptions, AdaptiveQosSubscription.close)
        finally:
            with self._lock:  # a callback may be under way, and the worker in a frame
                self._is_open = False
            self._pairing.clear()
            self._give_up_after(None)
            self._masks_alone = 0

    def close(self) -> None:
        """Withdraw the topics."""
        self._end_listening()
        try:
            self.close_input()
        finally:
            self._outputs.close()

    def put_mask(self, header: Header, result: Segmentation) -> None:
        """Label the cloud that waits for this mask, if one does; else keep it for one to come."""
        seen = SeenMask.of(header, result)
        self._masks_alone += 1
        self._place(self._pairing.put_mask(stamp_ns(header), seen, seen.size))
        self._serve_ready()

    def _subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        sparing: Sparing | None = None,
    ) -> None:
        self._subscriptions.append(
            AdaptiveQosSubscription(self._node, kind, topic, callback, sparing=sparing)
        )

    def _receive(self, message: PointCloud2 | Image) -> None:
        self._put(message.header, message, message_bytes(message))

    def _skip(self, header: Header) -> None:
        """Count and pair a cloud that came while nobody subscribed: its points were not taken."""
        self._put(header, None, 0)

    def _put(self, header: Header, cloud: PointCloud2 | Image | None, size: int) -> None:
        stamp = stamp_ns(header)
        self._hooks.jumps.note(self.topic_name, stamp)
        # A pair at once: its mask was faster.
        self._place(self._pairing.put_cloud(stamp, cloud, size))

    def _on_jump(self, now_ns: int) -> None:
        """Give up what is from before time was set back."""
        self._pairing.forget_after(now_ns + JUMP_NS)
        self._give_up_after(now_ns + JUMP_NS)
        self._depth_calibrations.forget_stamps()
        self._masks_alone = 0

    def _give_up_after(self, after_ns: int | None) -> None:
        """Give up the pairs that are from after a time, ns; None: all."""
        count = self._waiting.forget_after(after_ns)
        with self._lock:
            kept = [
                each
                for each in self._ready
                if after_ns is not None and stamp_ns(each[0].cloud.header) <= after_ns
            ]
            self.dropped += count + len(self._ready) - len(kept)
            self._ready = deque(kept)

    def _place(self, pair: Pair | None) -> None:
        """Find the transform of a pair, now or soon; then it is ready."""
        if pair is None:
            return
        self._masks_alone = 0
        self._over_memory_before = self._over_memory()
        self._difference_ms = pair.difference_ns / 1e6
        if pair.cloud is None or not (self._is_open and self.is_wanted):
            return
        self._transforms.listen(True)
        settings = self._hooks.settings()
        header = pair.cloud.header
        find = partial(
            self._transforms.find,
            pair.mask.header,
            header,
            settings.extrinsics[self._camera],
            settings.cloud_fixed_frame,
        )
        frames = hash((pair.mask.header.frame_id, header.frame_id))  # names may be long
        search = Search(pair, frames, stamp_ns(header), message_bytes(pair.cloud), find)
        self._waiting.find(search, settings.cloud_transform_timeout)

    def _on_found(self, search: Search, transform: Transform) -> None:
        with self._lock:
            self._ready.append((search.pair, transform))
            while len(self._ready) > (READY if self._is_open else 0):
                self._ready.popleft()
                self.dropped += 1
        self._hooks.call(self._serve_ready)

    def _reject(self, error: Exception) -> None:
        with self._lock:
            self._reason = one_line(error)
            self.rejected += 1
        self._hooks.on_error(error)

    def _serve_ready(self) -> None:
        """Label what is ready; on the worker."""
        while (ready := self._next_ready()) is not None:
            self._serve(*ready)

    def _next_ready(self) -> tuple[Pair, Transform] | None:
        with self._lock:
            return self._ready.popleft() if self._ready else None

    def _serve(self, pair: Pair, transform: Transform) -> None:
        start = time.perf_counter()
        try:
            labeled = self._projector.label(
                pair.cloud, pair.mask, transform, self._hooks.settings()
            )
            self._outputs.publish(labeled)
        except Exception as error:  # no cloud may end the worker, or take its mask with it
            self._reject(error)
        else:
            self._hooks.on_time((time.perf_counter() - start) * 1e3)
