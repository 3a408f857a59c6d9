# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""One camera of the node: its topics, its calibration and how its frames arrive."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.core.text import shortened
from uhr_seg_ros.ros.camera_monitor import CameraMonitor
from uhr_seg_ros.ros.inputs import CameraInput, Frame
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache
from uhr_seg_ros.ros.outputs import CameraOutput
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.points.cloud_labeler import CloudHooks, CloudLabeler
from uhr_seg_ros.ros.points.transforms import TransformFinder
from uhr_seg_ros.ros.topics.closing import close_all
from uhr_seg_ros.ros.topics.names import image_topic
from uhr_seg_ros.ros.topics.status import Problem, worst
from uhr_seg_ros.ros.topics.time_jumps import TimeJumps
from uhr_seg_ros.ros.worker import Counts

_MAX_TEXT = 500


class Camera:
    """
    Holds the topics of one camera; outputs exist while configured, inputs while active.

    Args:
        node: owner of the topics.
        name: namespace of the topics; empty for the camera without a name.
        transport: `raw` or `compressed`.
        jumps: looks at the stamps of the frames.
        on_error: called for a calibration that is rejected.

    Attributes:
        monitor: what `/diagnostics` tells about the frames.
        output: the publications, None while unconfigured.
        clouds: labels points, None while unconfigured or where that is not enabled.

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
        self._name = name
        self._prefix = f'{name}/' if name else ''
        self._jumps = jumps
        self._calibrations = CameraInfoCache(on_error)
        jumps.listen(lambda _: self._calibrations.forget_stamps())
        self._input: CameraInput | None = None
        self._unclosed: list[CameraInput | CameraOutput | CloudLabeler] = []
        self._topic = image_topic(node, self._prefix, transport)
        self.monitor = CameraMonitor(self._topic, node.get_fully_qualified_name())
        self._had_publisher = False
        self.output: CameraOutput | None = None
        self.clouds: CloudLabeler | None = None

    @property
    def wants_points(self) -> bool:
        """Whether someone subscribes to labelled points."""
        return self.clouds is not None and self.clouds.is_wanted

    def status(
        self, counts: Counts, now: float, settings: Settings, stall: Problem | None
    ) -> DiagnosticStatus:
        """Return the status of the input topic; see `CameraMonitor.status`."""
        more = {
            'camera_info_received': str(self._calibrations.received),
            'camera_info_rejected': str(self._calibrations.rejected),
        }
        problems: list[Problem | None] = []
        # Another thread may close them.
        if (camera_input := self._input) is not None and (text := camera_input.problem()):
            problems.append((DiagnosticStatus.WARN, text))
        if (clouds := self.clouds) is not None:
            more |= clouds.values()
            problems.append(clouds.problem())
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
        """Return what is odd about a frame that is processed all the same, once."""
        if self.monitor.note_remark(text):
            camera = f'camera {self._name}: ' if self._name else ''
            self._node.get_logger().warning(f'{camera}{shortened(text, _MAX_TEXT)}')

    def open_output(self, classes: ClassSet, *, samples: bool) -> None:
        """Announce the masks and their classes, and where frames are sampled if that varies."""
        self.monitor.pace.forget()
        self.close_output()  # what an end that failed has left
        self.output = CameraOutput(
            self._node, self._prefix, classes, self._calibrations, samples=samples
        )

    def open_clouds(self, classes: ClassSet, poses: TransformFinder, hooks: CloudHooks) -> None:
        """Announce labelled points."""
        self.clouds = CloudLabeler(
            self._node, self._name, classes, self._calibrations, poses, hooks
        )

    def open_input(self, settings: Settings, on_frame: Callable[[Frame], None]) -> None:
        """Subscribe; every frame is noted by the monitor and handed on."""

        def receive(frame: Frame) -> None:
            self._jumps.note(self._topic, frame.stamp_ns)
            now_ns = self._node.get_clock().now().nanoseconds
            self.monitor.note(frame.arrival, frame.stamp_ns, now_ns, frame.encoding)
            on_frame(frame)

        self.monitor.restart()
        self.close_input()  # what an end that failed has left
        self._input = CameraInput(self._node, self._prefix, settings, self._calibrations, receive)
        if self.clouds is not None:
            self.clouds.open_input()

    def follow(self, warning_s: float) -> None:
        """Let the subscriptions follow their publishers; see `CameraInput.follow`."""
        if (camera_input := self._input) is not None:
            # Of a camera that comes every 10 s, 5 s are no silence.
            camera_input.follow(warning_s and max(warning_s, self.monitor.usual_silence))
        if (clouds := self.clouds) is not None:
            clouds.follow()

    def close_input(self) -> None:
        """Unsubscribe, if subscribed; what fails at that is tried again by the next call."""
        camera_input, self._input = self._input, None
        try:
            if self.clouds is not None:
                self.clouds.close_input()
        finally:
            self._close(camera_input)

    def close_output(self) -> None:
        """Withdraw the publications, if there are any, likewise."""
        output, self.output = self.output, None
        clouds, self.clouds = self.clouds, None
        self._close(output, clouds)

    def _close(self, *used: CameraInput | CameraOutput | CloudLabeler | None) -> None:
        # Nobody uses them any more from here on, whether they can be closed or not.
        self._unclosed += filter(None, used)
        close_all(self._unclosed, lambda each: each.close())
