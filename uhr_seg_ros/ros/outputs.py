# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The publications of one camera."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import Publisher as LifecyclePublisher
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.labels import publish_labels
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache, fit_camera_info
from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.topics.closing import close_all, withdraw
from uhr_seg_ros.ros.topics.qos import output_overrides, output_qos
from uhr_seg_ros.ros.topics.status import make_status


class CameraOutput:
    """
    Mask, confidence, pictures, calibration and times of one camera, each for a subscriber only.

    Args:
        node: owner of the publishers.
        prefix: `front/` for the camera `front`, empty for the one without a name.
        classes: what the mask's ids mean.
        calibrations: where the mask's camera_info comes from.
        samples: whether to announce pictures of where frames are sampled, too.

    """

    def __init__(
        self,
        node: LifecycleNode,
        prefix: str,
        classes: ClassSet,
        calibrations: CameraInfoCache,
        *,
        samples: bool = False,
    ) -> None:
        self._node = node
        self._calibrations = calibrations
        self._prefix = f'~/{prefix}'
        # Goes with the publishers; the node's own group would keep a reference to each for ever.
        self._group = MutuallyExclusiveCallbackGroup()
        self._publishers: list[Publisher] = []
        try:
            self._mask = self._publisher(Image, 'mask')
            self._confidence = self._publisher(Image, 'confidence')
            self._overlay = self._publisher(Image, 'overlay')
            self._color_mask = self._publisher(Image, 'color_mask')
            self._camera_info = self._publisher(CameraInfo, 'camera_info')
            self._latency = self._publisher(DiagnosticArray, 'latency')
            self._sampling = self._publisher(Image, 'sampling') if samples else None
            self._publishers.append(publish_labels(node, self._prefix, classes, self._group))
        except Exception:  # such as an override of a QoS that does not exist
            self.close()
            raise

    @property
    def wants_confidence(self) -> bool:
        """Whether someone subscribes to the confidence."""
        return _is_wanted(self._confidence)

    @property
    def wants_sampling(self) -> bool:
        """Whether someone subscribes to the pictures of where frames are sampled."""
        return self._sampling is not None and _is_wanted(self._sampling)

    def wanted_pictures(self, settings: Settings) -> OverlayOptions:
        """Return which pictures someone subscribes to."""
        return OverlayOptions(
            overlay=_is_wanted(self._overlay),
            color_mask=_is_wanted(self._color_mask),
            alpha=settings.overlay_alpha,
            scale=settings.overlay_scale,
        )

    def publish(self, header: Header, result: Segmentation, *, confidence: bool = True) -> None:
        """Publish what became of a frame, all of it under its own header; points may need more."""
        if _is_wanted(self._mask):
            encoding = 'mono8' if result.mask.dtype == np.uint8 else 'mono16'
            self._mask.publish(encode_image(result.mask, encoding, header))
        if confidence and result.confidence is not None:
            self._confidence.publish(encode_image(result.confidence, 'mono8', header))
        if result.overlay is not None:
            self._overlay.publish(encode_image(result.overlay, 'bgr8', header))
        if result.color_mask is not None:
            self._color_mask.publish(encode_image(result.color_mask, 'bgr8', header))
        info = self._calibrations.find(header)
        if info is not None and _is_wanted(self._camera_info):
            self._camera_info.publish(fit_camera_info(info, header, *result.mask.shape))

    def publish_sampling(self, header: Header, picture: np.ndarray) -> None:
        """Publish where a frame was sampled: (h, w, 3) uint8 BGR."""
        self._sampling.publish(encode_image(picture, 'bgr8', header))

    def publish_times(self, header: Header, times_ms: Mapping[str, float]) -> None:
        """Publish what a frame took, in ms per stage, under the frame's own header."""
        if not _is_wanted(self._latency):
            return
        values = {f'{stage}_ms': f'{value:.3f}' for stage, value in times_ms.items()}
        topic = self._latency.topic_name
        name = self._node.get_fully_qualified_name()
        status = make_status(topic, DiagnosticStatus.OK, '', name, values)
        self._latency.publish(DiagnosticArray(header=header, status=[status]))

    def close(self) -> None:
        """Withdraw the topics; what fails at that is tried again by the next call."""
        close_all(self._publishers, partial(withdraw, self._node))

    def _publisher(self, message_type: type, name: str) -> LifecyclePublisher:
        publisher = self._node.create_lifecycle_publisher(
            message_type,
            self._prefix + name,
            output_qos(),
            callback_group=self._group,
            qos_overriding_options=output_overrides(),
        )
        self._publishers.append(publisher)
        return publisher


def _is_wanted(publisher: LifecyclePublisher) -> bool:
    return publisher.get_subscription_count() > 0
