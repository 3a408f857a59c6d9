# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The subscriptions of one camera."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import NamedTuple

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.text import MAX_SHOWN, one_line
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.ros.ip_reassembly import failed_reassemblies, reassembly_advice
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache
from uhr_seg_ros.ros.messages.compressed import decode_compressed
from uhr_seg_ros.ros.messages.images import view_image
from uhr_seg_ros.ros.messages.remarks import Remark
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.topics.adaptive_subscription import AdaptiveQosSubscription
from uhr_seg_ros.ros.topics.closing import close_all
from uhr_seg_ros.ros.topics.names import SUFFIX
from uhr_seg_ros.ros.topics.silence import why_silent

FRESH_S = 1.0
"""So long after a frame, s, what the network loses is not why frames do not come."""


class Frame(NamedTuple):
    """A message on its way through the node, and when it arrived (monotonic clock, s)."""

    message: Image | CompressedImage
    arrival: float

    def view(self, remark: Remark, limit: FrameLimit) -> RawFrame:
        """Return the picture; see `view_image` and `decode_compressed`."""
        if isinstance(self.message, CompressedImage):
            return RawFrame.of_bgr(decode_compressed(self.message, remark, limit))
        return view_image(self.message, remark, limit)

    @property
    def stamp_ns(self) -> int:
        """The header's stamp in ns."""
        return stamp_ns(self.message.header)

    @property
    def encoding(self) -> str:
        """What the message says that it holds, in a short line."""
        if isinstance(self.message, CompressedImage):
            return one_line(self.message.format, MAX_SHOWN)
        return one_line(self.message.encoding, MAX_SHOWN)


class CameraInput:
    """
    Frames and calibration of one camera.

    Args:
        node: owner of the subscriptions.
        prefix: `front/` for the camera `front`, empty for the one without a name.
        settings: transport and reliability.
        calibrations: gets every camera_info.
        on_frame: gets every frame.

    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        settings: Settings,
        calibrations: CameraInfoCache,
        on_frame: Callable[[Frame], None],
    ) -> None:
        self._node = node
        self._name = f'{prefix}image_raw'
        self._on_frame = on_frame
        self._images = AdaptiveQosSubscription(
            node, *_source(node, prefix, settings), self._on_image, settings.image_qos
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

    def follow(self, warning_s: float) -> None:
        """
        Follow the publishers' quality of service, and warn when no frame comes.

        Args:
            warning_s: silence to warn after, s; 0 = never.

        """
        self._images.follow()
        self._infos.follow()
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

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._last_frame = time.monotonic()
        self._next_warning_s = 0.0
        self._on_frame(Frame(message, self._last_frame))


def stamp_ns(header: Header) -> int:
    """Return a stamp in ns, whatever it is: rclpy.time refuses what a camera may send."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def image_topic(node: Node, prefix: str, transport: str) -> str:
    """Return the resolved topic of a camera's frames; `transport` is raw or compressed."""
    # As image_transport does, the base topic is remapped first and the transport appended; many
    # give the whole name of the compressed topic instead.
    topic = node.resolve_topic_name(f'{prefix}image_raw')
    if transport == 'raw' or topic.endswith(SUFFIX):
        return topic
    return node.resolve_topic_name(topic + SUFFIX)


def camera_info_topic(node: Node, images: str, name: str) -> str:
    """Return the resolved topic of a calibration: `name` if remapped, else beside the images."""
    resolved = node.resolve_topic_name(name)
    if resolved != node.resolve_topic_name(name, only_expand=True):
        return resolved
    namespace = node.resolve_topic_name(images).removesuffix(SUFFIX).rpartition('/')[0]
    return f'{namespace}/camera_info'


def _source(node: Node, prefix: str, settings: Settings) -> tuple[type, str]:
    if settings.image_transport == 'raw':
        return Image, f'{prefix}image_raw'
    return CompressedImage, image_topic(node, prefix, 'compressed')
