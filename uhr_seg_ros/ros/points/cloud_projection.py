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

"""A cloud, the mask of its time and a transform: the labeled cloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.geometry.depth import depth_points
from uhr_seg_ros.geometry.labeling import LabeledPoints, PointLabeler
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.messages.camera_info import camera_of, CameraInfoCache, second_of_pair
from uhr_seg_ros.ros.messages.cloud_reading import read_points
from uhr_seg_ros.ros.messages.depth import DEPTH_BYTES, read_depth
from uhr_seg_ros.ros.parameters.settings import Settings


class SeenMask(NamedTuple):
    """
    What a camera saw.

    Attributes:
        header: of the frame.
        mask: (H, W) uint8 or uint16.
        confidence: (H, W) uint8, or None.
        classes: what the ids of the mask mean.

    """

    header: Header
    mask: np.ndarray
    confidence: np.ndarray | None
    classes: ClassSet

    @classmethod
    def of(cls, header: Header, result: Segmentation) -> SeenMask:
        """Return what a frame became."""
        assert result.classes is not None  # the segmenter says them
        return cls(header, result.mask, result.confidence, result.classes)

    @property
    def size(self) -> int:
        """Bytes of mask and confidence."""
        return self.mask.nbytes + (0 if self.confidence is None else self.confidence.nbytes)


class LabeledCloud(NamedTuple):
    """
    A cloud or a depth image whose points have classes.

    Attributes:
        header: of the points.
        labeled: what they are.
        shape: height and width of the cloud or the depth image that they came from.

    """

    header: Header
    labeled: LabeledPoints
    shape: tuple[int, int]


class CloudProjector:
    """
    Labels points by the mask that they are projected into.

    Args:
        calibrations: of the camera.
        depth_calibrations: of the depth camera, for depth images.
        remark: gets what is odd about a cloud that is read all the same.

    """

    def __init__(
        self,
        calibrations: CameraInfoCache,
        depth_calibrations: CameraInfoCache,
        remark: Callable[[str], None],
    ) -> None:
        self._calibrations = calibrations
        self._depth_calibrations, self._remark = depth_calibrations, remark

    def label(
        self,
        message: PointCloud2 | Image,
        seen: SeenMask,
        transform: Transform,
        settings: Settings,
    ) -> LabeledCloud:
        """
        Label the points of a cloud or of a depth image.

        Args:
            message: where the points are.
            seen: the mask.
            transform: from the frame of the points to that of the camera.
            settings: how to project, and which points to keep.

        Raises:
            UhrSegError: no calibration has come, or the points cannot be read.

        """
        info = self._calibrations.find(seen.header)
        if info is None:
            msg = (
                f'no camera_info has come for frames of {shown(seen.header.frame_id)}, so '
                f'points of {shown(message.header.frame_id)} cannot be projected: publish it'
            )
            raise MessageError(msg)
        height, width = seen.mask.shape
        camera = camera_of(info, height, width, rectified=settings.cloud_rectified)
        if settings.cloud_rectified:
            transform = second_of_pair(info) @ transform
        points = self._read(message, settings)
        labeler = PointLabeler(seen.classes, settings.z_buffer, settings.cloud_keep_unseen)
        labeled = labeler.label(points, camera, transform, seen.mask, seen.confidence)
        return LabeledCloud(message.header, labeled, (message.height, message.width))

    def _read(self, message: PointCloud2 | Image, settings: Settings) -> np.ndarray:
        """Return points (N, 3), one for each of the cloud or the depth image."""
        if settings.cloud_source == 'points':
            return read_points(message, self._remark)
        info = self._depth_calibrations.find(message.header)
        if info is None:
            msg = (
                'no camera_info has come for the depth images of '
                f'{shown(message.header.frame_id)}: publish it beside them'
            )
            raise MessageError(msg)
        camera = camera_of(info, message.height, message.width, rectified=settings.cloud_rectified)
        limit = FrameLimit(settings.max_pixels, settings.memory_limit_mb, DEPTH_BYTES)
        # All of them, as `PointLabeler` leaves out what is not wanted.
        return depth_points(read_depth(message, limit, self._remark), camera, keep_unknown=True)
