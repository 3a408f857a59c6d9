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

"""One camera of the node: its topics, its calibration and how its frames arrive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
import math
import time
from typing import Any, NamedTuple, TypeAlias

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.core.text import MAX_SHOWN, one_line, shortened
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.pipelines.relabeling import Relabeling
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.attention import Attention
from uhr_seg_ros.ros.camera_monitor import CameraMonitor
from uhr_seg_ros.ros.domain_watch import DomainWatch
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache
from uhr_seg_ros.ros.messages.encoded import DecodedMessage, format_of
from uhr_seg_ros.ros.messages.remarks import Throttle
from uhr_seg_ros.ros.outputs import CameraOutput
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.points.cloud_labeler import CloudHooks, CloudLabeler
from uhr_seg_ros.ros.points.ground_mapper import GroundMapper
from uhr_seg_ros.ros.points.transforms import TransformFinder
from uhr_seg_ros.ros.topics.adaptive_subscription import AdaptiveQosSubscription, stamp_of
from uhr_seg_ros.ros.topics.closing import close_all
from uhr_seg_ros.ros.topics.header_only import Sparing
from uhr_seg_ros.ros.topics.names import camera_info_topic, image_topic, message_class
from uhr_seg_ros.ros.topics.packet_stream import PacketStream, StreamHooks
from uhr_seg_ros.ros.topics.qos import INPUT_DEPTH, STREAM_DEPTH
from uhr_seg_ros.ros.topics.silence import failed_reassemblies, reassembly_advice, why_silent
from uhr_seg_ros.ros.topics.status import Problem, worst
from uhr_seg_ros.ros.topics.time_jumps import stamp_ns, time_ns, TimeJumps
from uhr_seg_ros.ros.worker import Counts, Worker

FRESH_S = 1.0
"""So long after a frame, s, what the network loses is not why frames do not come."""

LEAD_S = 0.1
"""Frames that come so long, s, before the worker may take one are taken with their pixels."""

REFRESH_S = 1.0
"""The frame that waits is replaced at least this often, s, however long it is to wait."""

LOOK_PERIOD_S = 1.0
"""A frame is looked at this often, s: ground does not change faster, and a GPU has to wait."""

DOMAIN_LOG_PERIOD_S = 600.0
"""The log tells this often, s, that frames are not what the bundle is for."""

_MAX_TEXT = 500


FrameMessage: TypeAlias = 'Image | CompressedImage | DecodedMessage'
"""A frame as it came, or the picture of a packet; packets of other types have the same fields."""


class Frame(NamedTuple):
    """A message on its way through the node, when it arrived (monotonic, s), and its stamp, ns."""

    message: FrameMessage
    arrival: float
    stamp_ns: int


class CameraInput:
    """
    Frames and calibration of one camera.

    Args:
        node: owner of the subscriptions.
        prefix: `front/` for the camera `front`, empty for the one without a name.
        settings: transport and reliability.
        calibrations: gets every camera_info.
        receive: gets frames.
        sparing: which of them are dropped without being read.

    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        settings: Settings,
        calibrations: CameraInfoCache,
        receive: Callable[[Frame], None],
        sparing: Sparing,
    ) -> None:
        self._node = node
        self._name = f'{prefix}image_raw'
        self._receive, self._skip = receive, sparing.skip
        self._images = AdaptiveQosSubscription(
            node,
            *_source(node, prefix, settings),
            self._on_image,
            settings.image_qos,
            sparing._replace(skip=self._on_skipped),
            INPUT_DEPTH if settings.image_transport == 'raw' else STREAM_DEPTH,
        )
        try:
            self._infos = AdaptiveQosSubscription(
                node,
                CameraInfo,
                camera_info_topic(node, self._name, f'{prefix}camera_info'),
                calibrations.add,
            )
        except Exception:  # such as an override of a QoS that does not exist
            self._images.close()
            raise
        self._last_frame = time.monotonic()
        self._next_warning_s = 0.0
        self._failed_reassemblies = failed_reassemblies()

    def check_publishers(self, warning_s: float) -> None:
        """
        Follow the publishers' quality of service, and warn when no frame comes.

        Args:
            warning_s: silence to warn after, s; 0 = never.

        """
        self._images.update_qos()
        self._infos.update_qos()
        silence = time.monotonic() - self._last_frame
        if silence < FRESH_S:
            self._failed_reassemblies = failed_reassemblies()
        if warning_s and silence >= max(warning_s, self._next_warning_s):
            self._next_warning_s = 2 * silence  # a camera that stays away does not fill the log
            lost = reassembly_advice(failed_reassemblies() - self._failed_reassemblies)
            self._node.get_logger().warning(
                f'no frame on {self._images.topic_name} for {silence:.0f} s; '
                f'{why_silent(self._node, self._images, self._name)}{f". {lost}" if lost else ""}'
            )

    def problem(self) -> str:
        """Return what is wrong with the frames that come, or an empty string."""
        return self._images.problem() or self._infos.problem()

    def close(self) -> None:
        """Unsubscribe from both, whatever one of them raises."""
        close_all([self._images, self._infos], AdaptiveQosSubscription.close)

    def _on_image(self, message: FrameMessage) -> None:
        self._note_frame()
        self._receive(Frame(message, self._last_frame, time_ns(stamp_of(message))))

    def _on_skipped(self, header: Header) -> None:
        self._note_frame()
        self._skip(header)

    def _note_frame(self) -> None:
        self._last_frame = time.monotonic()
        self._next_warning_s = 0.0


def _source(node: Node, prefix: str, settings: Settings) -> tuple[type, str]:
    transport = settings.image_transport
    if transport == 'raw':
        return Image, f'{prefix}image_raw'
    return message_class(transport), image_topic(node, prefix, transport)


class Camera:
    """
    Holds the topics of one camera; outputs exist while configured, inputs while active.

    Args:
        node: owner of the topics.
        name: namespace of the topics; empty for the camera without a name.
        jumps: looks at the stamps of the frames.
        on_error: called for a calibration that is rejected.

    Attributes:
        name: as given.
        monitor: what `/diagnostics` tells about the frames.
        attention: how closely they are looked at; another one with every bundle.
        watch: whether the frames are such as the bundle is for, None while unconfigured.
        output: the publications, None while unconfigured.
        clouds: labels points, None while unconfigured or where that is not enabled.
        ground: puts masks on the ground, None likewise.

    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        transport: str,
        jumps: TimeJumps,
        on_error: Callable[[MessageError], None],
    ) -> None:
        self._node = node
        self.name = name
        self._prefix = f'{name}/' if name else ''
        self._shown = f'camera {name}: ' if name else ''
        self._next_look_s = 0.0
        self._domain_throttle = Throttle(DOMAIN_LOG_PERIOD_S)
        self._jumps = jumps
        self._calibrations = CameraInfoCache(on_error)
        jumps.listen(lambda _: self._calibrations.forget_stamps())
        self.attention = Attention()
        jumps.listen(lambda _: self.attention.forget())
        self._input: CameraInput | None = None
        self._stream: PacketStream | None = None
        self._worker: Worker
        self._newest = -math.inf
        self._unclosed: list[CameraInput | CameraOutput | CloudLabeler | GroundMapper] = []
        self.monitor = CameraMonitor('', node.get_fully_qualified_name())
        self.choose_transport(transport)
        self._had_publisher = False
        self.watch: DomainWatch | None = None
        self.output: CameraOutput | None = None
        self.clouds: CloudLabeler | None = None
        self.ground: GroundMapper | None = None

    @property
    def wants_points(self) -> bool:
        """Whether someone subscribes to labeled points."""
        clouds = self.clouds  # another thread may close it
        return clouds is not None and clouds.is_wanted

    @property
    def wants_transforms(self) -> bool:
        """Whether someone subscribes to what needs to know where things are."""
        ground = self.ground  # another thread may close it
        is_active = self._input is not None
        return is_active and (self.wants_points or (ground is not None and ground.is_wanted))

    def status(
        self,
        counts: Counts,
        now: float,
        settings: Settings,
        stall: Problem | None,
        idle: Problem | None = None,
    ) -> DiagnosticStatus:
        """Return the status of the input topic; see `CameraMonitor.status`."""
        more = {
            'camera_info_received': str(self._calibrations.received),
            'camera_info_rejected': str(self._calibrations.rejected),
        }
        problems: list[Problem | None] = [idle]
        # Another thread may close them.
        if (watch := self.watch) is not None:
            more |= watch.values()
            if text := watch.problem(settings):
                problems.append((DiagnosticStatus.WARN, text))
        if (camera_input := self._input) is not None and (text := camera_input.problem()):
            problems.append((DiagnosticStatus.WARN, text))
        for part in (self._stream, self.clouds, self.ground):
            if part is not None:
                more |= part.values()
                problems.append(part.problem())
        problem = worst(*problems) if any(problems) else None
        return self.monitor.status(
            counts,
            now,
            expected_frequency=settings.diagnostics_expected_frequency,
            max_rate_hz=settings.max_rate_hz,
            subscribed=self._input is not None,
            published=self._is_published(),
            stall=stall,
            more=more,
            problem=problem,
        )

    def _is_published(self) -> bool:
        """Return whether somebody publishes frames, as far as discovery tells of anybody."""
        count = self._node.count_publishers(self.monitor.topic_name)
        self._had_publisher = self._had_publisher or count > 0
        return count > 0 or not self._had_publisher

    def remark(self, text: str) -> None:
        """Log what is odd about a frame that is processed all the same, once."""
        if self.monitor.note_remark(text):
            self._node.get_logger().warning(f'{self._shown}{shortened(text, _MAX_TEXT)}')

    def is_watched(self, arrival: float, settings: Settings) -> bool:
        """Tell whether to look if a frame that came then, s, is such as the bundle is for."""
        if not settings.domain_warning or arrival < self._next_look_s:
            return False
        self._next_look_s = arrival + LOOK_PERIOD_S
        return True

    def look(self, header: Header, result: Segmentation, settings: Settings) -> None:
        """Look at a frame that is watched, and log what is wrong, now and then."""
        if (watch := self.watch) is None:  # a transition did not wait for the frame
            return
        watch.look(header, result, settings)
        if (text := watch.problem(settings)) and self._domain_throttle.allows(text):
            self._node.get_logger().warning(f'{self._shown}{text}')

    def choose_transport(self, transport: str) -> None:
        """Take frames as one of `TRANSPORTS`, from the next activation on."""
        self.monitor.topic_name = image_topic(self._node, self._prefix, transport)

    def open_output(
        self, bundle: Bundle, labels: Relabeling, on_error: Callable[[Exception], None]
    ) -> None:
        """Announce the masks and their classes, and where frames are sampled if that varies."""
        self.monitor.pace.forget()
        self.attention = Attention()
        self.close_output()  # what an end that failed has left
        self.watch = DomainWatch(bundle, self._calibrations)
        self.output = CameraOutput(
            self._node,
            self._prefix,
            labels,
            self._calibrations,
            on_error,
            samples=bundle.kind.has_sampling_grid,
        )

    def adopt(self, bundle: Bundle, labels: Relabeling) -> None:
        """Go on with another bundle; nothing if the outputs were withdrawn."""
        self.monitor.pace.forget()
        self.attention = Attention()
        if self.output is not None:
            self.watch = DomainWatch(bundle, self._calibrations)
            self.output.adopt(labels, samples=bundle.kind.has_sampling_grid)

    def open_clouds(self, poses: TransformFinder, hooks: CloudHooks) -> None:
        """Announce labeled points."""
        self.clouds = CloudLabeler(self._node, self.name, self._calibrations, poses, hooks)

    def open_ground(self, classes: ClassSet, poses: TransformFinder, hooks: CloudHooks) -> None:
        """Announce what the mask says about the ground."""
        self.ground = GroundMapper(
            self._node, self.name, classes, self._calibrations, poses, hooks
        )

    def open_input(self, settings: Settings, worker: Worker) -> None:
        """Subscribe; every frame is noted by the monitor, and handed on if it may be taken."""
        self._worker = worker
        self.monitor.restart()
        self.close_input()  # what an end that failed has left
        if settings.image_transport != 'raw':
            self._stream = self._open_stream(settings)
        sparing = Sparing(self._is_wanted, self._skip)
        self._input = CameraInput(
            self._node, self._prefix, settings, self._calibrations, self._receive, sparing
        )
        if self.clouds is not None:
            self.clouds.open_input()

    def _open_stream(self, settings: Settings) -> PacketStream:
        hooks = StreamHooks(
            put=self._put,
            skip=partial(self._worker.skip, self.name),
            reject=partial(self._worker.reject, self.name),
            is_wanted=self._may_be_taken,
        )
        return PacketStream(FrameLimit(settings.max_pixels), settings.decoder, hooks)

    def _receive(self, frame: Frame) -> None:
        message: Any = frame.message
        is_raw = isinstance(message, Image)
        encoding = message.encoding if is_raw else format_of(message)
        if len(encoding) > MAX_SHOWN:
            encoding = one_line(encoding, MAX_SHOWN)
        self._note(frame.arrival, frame.stamp_ns, encoding)
        stream = self._stream  # another thread may close it
        if is_raw or stream is None or not stream.takes(frame):
            self._put(frame)

    def _put(self, frame: Frame) -> None:
        self._newest = frame.arrival
        self._worker.put(self.name, frame)

    def _skip(self, header: Header) -> None:
        self._note(time.monotonic(), stamp_ns(header), None)
        self._worker.skip(self.name)

    def _note(self, arrival: float, stamp: int, encoding: str | None) -> None:
        self._jumps.note(self.monitor.topic_name, stamp)
        now_ns = self._node.get_clock().now().nanoseconds
        self.monitor.note(arrival, stamp, now_ns, encoding)

    def _is_wanted(self) -> bool:
        """Return whether a message that comes now is of use: in a stream, pictures need others."""
        stream = self._stream
        return (stream is not None and stream.is_used) or self._may_be_taken()

    def _may_be_taken(self) -> bool:
        """Return whether a frame that comes now may be the one that the worker will take."""
        if self._worker.ignores:
            return False
        lead = max(LEAD_S, 2 * self.monitor.usual_interval)  # one may be lost
        waits = self._worker.time_to_turn(self.name)
        return waits <= lead or time.monotonic() - self._newest >= REFRESH_S

    def check_publishers(self, warning_s: float) -> None:
        """Adapt the subscriptions to their publishers; see `CameraInput.check_publishers`."""
        if (camera_input := self._input) is not None:
            # Of a camera that comes every 10 s, 5 s are no silence.
            camera_input.check_publishers(warning_s and max(warning_s, self.monitor.usual_silence))
        if (clouds := self.clouds) is not None:
            clouds.update_qos()

    def close_input(self) -> None:
        """Unsubscribe, if subscribed; what fails at that is tried again by the next call."""
        camera_input, self._input = self._input, None
        try:
            for part in (self.clouds, self.ground):
                if part is not None:
                    part.close_input()
        finally:
            self.close_stream()
            self._close(camera_input)

    def close_stream(self) -> None:
        """Decode no more packets."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def close_output(self) -> None:
        """Withdraw the publications, if there are any, likewise."""
        output, self.output, self.watch = self.output, None, None
        clouds, self.clouds = self.clouds, None
        ground, self.ground = self.ground, None
        self._close(output, clouds, ground)

    def _close(
        self, *used: CameraInput | CameraOutput | CloudLabeler | GroundMapper | None
    ) -> None:
        # Nobody uses them any more from here on, whether they can be closed or not.
        self._unclosed += filter(None, used)
        close_all(self._unclosed, lambda each: each.close())
