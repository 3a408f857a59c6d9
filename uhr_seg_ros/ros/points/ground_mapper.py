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

"""The way of a mask onto the ground: wait for the camera's pose, be projected, be published."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseArray
import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import Publisher as LifecyclePublisher
from rclpy.publisher import Publisher
from std_msgs.msg import Header

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.core.text import one_line, shown
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.ground_plane import ground_pixels, GroundGrid, occupancy
from uhr_seg_ros.geometry.landing_sites import LandingSites
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.messages.camera_info import camera_of, CameraInfoCache, second_of_pair
from uhr_seg_ros.ros.messages.ground import (
    Detection3DArray,
    encode_grid,
    encode_site_detections,
    encode_sites,
    OccupancyGrid,
)
from uhr_seg_ros.ros.parameters.settings import Settings
from uhr_seg_ros.ros.points.cloud_labeler import CloudHooks
from uhr_seg_ros.ros.points.cloud_projection import SeenMask
from uhr_seg_ros.ros.points.ground_classes import ground_values
from uhr_seg_ros.ros.points.pairing import Pair
from uhr_seg_ros.ros.points.transform_waiting import Search, TransformWaiting
from uhr_seg_ros.ros.points.transforms import TransformFinder
from uhr_seg_ros.ros.topics.closing import close_all, withdraw
from uhr_seg_ros.ros.topics.latest_jobs import LatestJobs
from uhr_seg_ros.ros.topics.qos import output_overrides, output_qos
from uhr_seg_ros.ros.topics.status import Problem
from uhr_seg_ros.ros.topics.time_jumps import JUMP_NS, stamp_ns

MAX_WAITING_BYTES = 128_000_000
"""Of the masks that wait for a transform: fifteen of 4K."""


class GroundMapper:
    """
    Puts the masks of one camera on the ground; announced while the node is configured.

    Everything but the search for the pose is done on a thread of its own, for the newest mask: a
    grid that comes late holds up no frame.

    Args:
        node: owner of the topics.
        camera: name of the camera; empty for the one without a name.
        classes: what the masks' ids mean; those of a mask count.
        calibrations: of the camera.
        transforms: where the ground lies as the camera sees it.
        hooks: what the node has for it; `call` and `frames` are not used.

    Attributes:
        published: masks that became a grid.
        rejected: masks that could not.

    Raises:
        ConfigError: classes that the bundle does not have, or none at all.

    """

    def __init__(
        self,
        node: LifecycleNode,
        camera: str,
        classes: ClassSet,
        calibrations: CameraInfoCache,
        transforms: TransformFinder,
        hooks: CloudHooks,
    ) -> None:
        settings = hooks.settings()
        self._known = classes
        self._values = ground_values(classes, settings.ground_free, settings.ground_occupied)
        self._node, self._camera = node, camera
        self._prefix = f'{camera}/' if camera else ''
        self._calibrations, self._transforms, self._hooks = calibrations, transforms, hooks
        self._frame = settings.ground_frame
        self._lock = Lock()
        self._reason = ''
        self._rejected_before = 0
        self.published = self.rejected = 0
        self._seen_from: tuple[Any, ...] = ()
        self._pixels = np.empty((0, 0), np.int32)
        self._sites = LandingSites()
        self._waiting = TransformWaiting(
            self._on_found, lambda _, error: self._reject(error), MAX_WAITING_BYTES, '128 MB'
        )
        self._jobs = LatestJobs('ground', self._reject)
        self._group = MutuallyExclusiveCallbackGroup()
        self._open: list[Publisher[Any]] = []
        self._end_listening = hooks.jumps.listen(self._on_jump)
        self._grids: LifecyclePublisher[Any] | None = None
        self._detections: LifecyclePublisher[Any] | None = None
        try:
            self._landing = self._publisher(PoseArray, 'landing_sites')
            if Detection3DArray is not None:
                kind = Detection3DArray
                self._detections = self._publisher(kind, 'landing_sites/detections')
            if OccupancyGrid is not None:
                self._grids = self._publisher(OccupancyGrid, 'ground_grid')
        except Exception:  # such as an override of a QoS that does not exist
            self.close()
            raise
        if self._grids is None:
            node.get_logger().warning(
                f'nav_msgs is not installed: no ~/{self._prefix}ground_grid. Install '
                'ros-$ROS_DISTRO-nav-msgs, or pip install ros-nav-msgs; landing sites need none'
            )

    @property
    def is_wanted(self) -> bool:
        """Whether someone subscribes."""
        return any(each.get_subscription_count() for each in tuple(self._open))

    def values(self) -> dict[str, str]:
        """Return the counters."""
        return {
            'ground_published': str(self.published),
            'ground_rejected': str(self.rejected),
            'ground_skipped': str(self._jobs.skipped),
        }

    def problem(self) -> Problem | None:
        """Judge what became of masks since the last call."""
        since, self._rejected_before = self.rejected - self._rejected_before, self.rejected
        if not since:
            return None
        text = f'{since} masks not put on the ground since the last report: {self._reason}'
        return DiagnosticStatus.WARN, text

    def put_mask(self, header: Header, result: Segmentation) -> None:
        """Put a mask on the ground, now or as soon as its pose is known."""
        if not self.is_wanted:
            return
        self._transforms.listen(True)
        settings = self._hooks.settings()
        ground = Header(stamp=header.stamp, frame_id=self._frame)
        seen = SeenMask.of(header, result)._replace(confidence=None)
        # Where the ground lies for the camera at the time of the frame.
        find = partial(self._transforms.find, header, ground, settings.extrinsics[self._camera])
        frames = hash((header.frame_id, self._frame))
        search = Search(Pair(ground, seen, 0), frames, stamp_ns(header), 0, find)
        self._waiting.find(search, settings.cloud_transform_timeout)

    def close_input(self) -> None:
        """Give up what waits."""
        self._waiting.forget_after()
        self._sites.forget()

    def close(self) -> None:
        """Withdraw the topics; what fails at that is tried again by the next call."""
        self._end_listening()
        self._waiting.forget_after()
        self._jobs.close()
        close_all(self._open, partial(withdraw, self._node))

    def _on_jump(self, now_ns: int) -> None:
        self._waiting.forget_after(now_ns + JUMP_NS)
        self._sites.forget()

    def _on_found(self, search: Search, transform: Transform) -> None:
        self._jobs.put('grid', partial(self._map, search.pair, transform))

    def _reject(self, error: Exception) -> None:
        with self._lock:
            self._reason = one_line(error)
            self.rejected += 1
        self._hooks.on_error(error)

    def _map(self, pair: Pair, transform: Transform) -> None:
        settings, ground, seen = self._hooks.settings(), pair.cloud, pair.mask
        camera, transform = self._view(seen, transform, settings)
        x, y, _ = transform.inverse().translation
        z, reach = settings.ground_z, settings.ground_range
        grid = GroundGrid.around((float(x), float(y)), z, reach, settings.ground_resolution)
        values = self._values_of(seen.classes, settings)
        cells = occupancy(self._pixels_of(grid, camera, transform, reach), seen.mask, values)
        if self._grids is not None and self._grids.get_subscription_count():
            self._grids.publish(encode_grid(cells, grid, ground))
        self._publish_sites(cells, grid, settings, ground)
        self.published += 1

    def _publish_sites(
        self, cells: np.ndarray, grid: GroundGrid, settings: Settings, ground: Header
    ) -> None:
        detections = self._detections
        if detections is not None and not detections.get_subscription_count():
            detections = None
        if detections is None and not self._landing.get_subscription_count():
            return
        least = settings.landing_min_radius
        sites = self._sites.update(cells, grid, least, settings.landing_count)
        self._landing.publish(encode_sites(sites, grid.z, ground))
        if detections is not None:
            detections.publish(encode_site_detections(sites, grid.z, least, ground))

    def _values_of(self, classes: ClassSet, settings: Settings) -> np.ndarray:
        """Return what the ids of a mask mean on the ground; they stay while the classes do."""
        if classes != self._known:
            self._values = ground_values(classes, settings.ground_free, settings.ground_occupied)
            self._known = classes
            self._sites.forget()
        return self._values

    def _view(
        self, seen: SeenMask, transform: Transform, settings: Settings
    ) -> tuple[Camera, Transform]:
        """Return the camera of a mask, and where the ground lies for it."""
        info = self._calibrations.find(seen.header)
        if info is None:
            msg = (
                f'no camera_info has come for frames of {shown(seen.header.frame_id)}, so '
                'masks cannot be put on the ground: publish it'
            )
            raise MessageError(msg)
        height, width = seen.mask.shape
        camera = camera_of(info, height, width, rectified=settings.cloud_rectified)
        if settings.cloud_rectified:
            transform = second_of_pair(info) @ transform
        return camera, transform

    def _pixels_of(
        self, grid: GroundGrid, camera: Camera, transform: Transform, reach: float
    ) -> np.ndarray:
        """Return the pixels of the cells; they stay while neither camera nor ground moves."""
        pose = transform.rotation.tobytes(), transform.translation.tobytes()
        seen_from = (grid, camera, pose, reach)
        if seen_from != self._seen_from:
            self._pixels = ground_pixels(grid, camera, transform, reach)
            self._seen_from = seen_from
        return self._pixels

    def _publisher(self, kind: type, name: str) -> LifecyclePublisher[Any]:
        publisher: LifecyclePublisher[Any] = self._node.create_lifecycle_publisher(
            kind,
            f'~/{self._prefix}{name}',
            output_qos(),
            callback_group=self._group,
            qos_overriding_options=output_overrides(),
        )
        self._open.append(publisher)
        return publisher
