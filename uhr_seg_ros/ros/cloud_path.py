# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The way of a cloud through the node: wait for its mask, be labelled, be published."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import math
import time
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from uhr_seg_ros.classes import ClassSet
from uhr_seg_ros.geometry.depth import depth_points
from uhr_seg_ros.geometry.labelling import PointLabeller
from uhr_seg_ros.ros.camera_info import CameraInfoCache, CameraInfoError
from uhr_seg_ros.ros.camera_model import camera_of, second_of_pair
from uhr_seg_ros.ros.cloud import encode_cloud
from uhr_seg_ros.ros.cloud_reading import read_points
from uhr_seg_ros.ros.depth import read_depth
from uhr_seg_ros.ros.diagnostics import Problem
from uhr_seg_ros.ros.inputs import camera_info_topic, stamp_ns
from uhr_seg_ros.ros.pairing import Pair, Pairing
from uhr_seg_ros.ros.parameters import Settings
from uhr_seg_ros.ros.poses import PoseFinder
from uhr_seg_ros.ros.qos import FollowingSubscription, output_overrides, output_qos
from uhr_seg_ros.segmenter import Segmentation

MASKS_ALONE = 5
"""So many masks in a row without points are no accident."""


class SeenMask(NamedTuple):
    """
    What a camera saw.

    Attributes:
        header: of the frame.
        mask: (H, W) uint8 or uint16.
        confidence: (H, W) uint8, or None.

    """

    header: Header
    mask: np.ndarray
    confidence: np.ndarray | None


class CloudHooks(NamedTuple):
    """
    What the points of a camera need from the node.

    Attributes:
        settings: gives the parameters of this moment.
        call: runs a job on the worker.
        on_error: gets why a cloud was rejected.
        on_time: gets what labelling and publishing one took, ms.

    """

    settings: Callable[[], Settings]
    call: Callable[[Callable[[], None]], object]
    on_error: Callable[[Exception], None]
    on_time: Callable[[float], None]


class CloudPath:
    """
    Labels the points of one camera and publishes them; announced while the node is configured.

    The executor hands clouds in, the worker hands masks in and does everything else, between
    frames.

    Args:
        node: owner of the topics.
        camera: name of the camera; empty for the one without a name.
        classes: what the masks' ids mean.
        calibrations: of the camera.
        poses: where points lie as the camera sees them.
        hooks: see `CloudHooks`.

    Attributes:
        topic_name: of the points, resolved.
        rejected: clouds that had a mask, but could not be labelled.
        dropped: clouds that had a mask, but a newer one came before the worker took them.

    """

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        classes: ClassSet,
        calibrations: CameraInfoCache,
        poses: PoseFinder,
        hooks: CloudHooks,
    ) -> None:
        self._node, self._camera, self._classes = node, camera, classes
        self._prefix = f'{camera}/' if camera else ''
        self._calibrations, self._poses, self._hooks = calibrations, poses, hooks
        self._depth_calibrations = CameraInfoCache(hooks.on_error)
        settings = hooks.settings()
        self._is_depth = settings.cloud_source == 'depth'
        self._topic = f'{self._prefix}{settings.cloud_source}'
        self._pairing = Pairing(round(settings.cloud_max_time_difference * 1e9))
        self._early: deque[Pair] = deque()
        self._subscriptions: list[FollowingSubscription] = []
        self._masks_alone = 0
        self._rejected_before = 0
        self._reason = ''
        self._difference_ms = math.nan
        self.topic_name = node.resolve_topic_name(self._topic)
        self.rejected = 0
        self.dropped = 0
        self._publisher = node.create_lifecycle_publisher(
            PointCloud2,
            f'~/{self._prefix}points',
            output_qos(),
            callback_group=MutuallyExclusiveCallbackGroup(),
            qos_overriding_options=output_overrides(),
        )

    @property
    def is_wanted(self) -> bool:
        """Whether someone subscribes to the labelled points."""
        return self._publisher.get_subscription_count() > 0

    def values(self) -> dict[str, str]:
        """Return the counters; received = paired + unpaired + waiting."""
        counts = self._pairing.counts()._asdict()
        counts |= {'rejected': self.rejected, 'dropped': self.dropped}
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
            f'{seconds:g} s: see that they come, compare the stamps of both sensors, or raise '
            'cloud.max_time_difference'
        )
        return DiagnosticStatus.WARN, text

    def open_input(self) -> None:
        """Subscribe."""
        self._subscribe(Image if self._is_depth else PointCloud2, self._topic, self._receive)
        if self._is_depth:
            infos = camera_info_topic(self._node, self._topic, f'{self._topic}/camera_info')
            self._subscribe(CameraInfo, infos, self._depth_calibrations.add)

    def follow(self) -> None:
        """Let the subscriptions follow their publishers."""
        for subscription in self._subscriptions:
            subscription.follow()

    def close_input(self) -> None:
        """Unsubscribe, and give up what waits."""
        while self._subscriptions:
            self._subscriptions.pop().close()
        self._pairing.clear()
        self._early.clear()
        self._masks_alone = 0

    def close(self) -> None:
        """Withdraw the topics."""
        self.close_input()
        self._node.destroy_lifecycle_publisher(self._publisher)

    def offer_mask(self, header: Header, result: Segmentation) -> None:
        """Label the cloud that waits for this mask, if one does; else keep it for one to come."""
        seen = SeenMask(header, result.mask, result.confidence)
        pair = self._pairing.offer_mask(stamp_ns(header), seen)
        self._masks_alone += 1
        if pair is not None:
            self._note(pair)
            self._serve(pair)

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        self._subscriptions.append(FollowingSubscription(self._node, kind, topic, callback))

    def _receive(self, message: PointCloud2 | Image) -> None:
        pair = self._pairing.offer_cloud(stamp_ns(message.header), message)
        if pair is not None:  # its mask was faster
            self._note(pair)
            self._early.append(pair)
            self._hooks.call(self._serve_newest)

    def _note(self, pair: Pair) -> None:
        self._masks_alone = 0
        self._difference_ms = pair.difference_ns / 1e6

    def _serve_newest(self) -> None:
        """Serve the newest of the clouds that came while the worker did something else."""
        while len(self._early) > 1:
            self._early.popleft()
            self.dropped += 1
        if self._early:
            self._serve(self._early.popleft())

    def _serve(self, pair: Pair) -> None:
        if not self.is_wanted:
            return
        start = time.perf_counter()
        try:
            self._publisher.publish(self._label(pair.cloud, pair.mask))
        except Exception as error:  # no cloud may end the worker, or take its mask with it
            self._reason = str(error).partition('\n')[0]
            self.rejected += 1
            self._hooks.on_error(error)
        else:
            self._hooks.on_time((time.perf_counter() - start) * 1e3)

    def _label(self, message: PointCloud2 | Image, seen: SeenMask) -> PointCloud2:
        settings = self._hooks.settings()
        info = self._calibrations.find(seen.header)
        if info is None:
            msg = (f'no camera_info has come for frames of {seen.header.frame_id!r}, so points of '
                   f'{message.header.frame_id!r} cannot be projected: publish it')
            raise CameraInfoError(msg)
        height, width = seen.mask.shape
        camera = camera_of(info, height, width, rectified=settings.cloud_rectified)
        pose = self._poses.find(
            seen.header, message.header, settings.extrinsics[self._camera],
            settings.cloud_fixed_frame,
        )  # fmt: skip
        if settings.cloud_rectified:
            pose = second_of_pair(info) @ pose
        points, size = self._read(message, rectified=settings.cloud_rectified)
        labeller = PointLabeller(self._classes, settings.z_buffer, settings.cloud_keep_unseen)
        labelled = labeller.label(points, camera, pose, seen.mask, seen.confidence)
        return encode_cloud(labelled, message.header, *size)

    def _read(
        self, message: PointCloud2 | Image, *, rectified: bool
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """Return points (N, 3) and height and width of the cloud that they are."""
        if not self._is_depth:
            return read_points(message), (message.height, message.width)
        info = self._depth_calibrations.find(message.header)
        if info is None:
            msg = (f'no camera_info has come for the depth images of {message.header.frame_id!r}: '
                   'publish it beside them')
            raise CameraInfoError(msg)
        camera = camera_of(info, message.height, message.width, rectified=rectified)
        points = depth_points(read_depth(message), camera)
        return points, (1, len(points))
