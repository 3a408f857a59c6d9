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

"""A camera and a LiDAR beside the real node, and whoever looks at the labelled points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from stage import frame, Stage, wait_until
from std_msgs.msg import Header
from tiny_bundle import paint

from uhr_seg_ros.ros.messages.cloud import FIELDS, pack_records

MakeStage = Callable[..., Stage]

HEIGHT, WIDTH = 96, 160
FOCAL = 100.0
DISTANCE = 8.0
#: The LiDAR stands 0.5 m above the camera, in the body frame both look along.
ABOVE = 0.5
DECLARED = {
    'cloud.enabled': True,
    'cloud.camera_frame': 'camera',
    'cloud.points_frame': 'lidar',
    'cloud.translation': [0.0, -ABOVE, 0.0],
    'cloud.quaternion': [0.5, -0.5, 0.5, 0.5],
}
LABELED = np.dtype(
    {
        'names': ['x', 'y', 'z', 'rgb', 'label', 'confidence'],
        'formats': ['f4', 'f4', 'f4', 'u4', 'u1', 'u1'],
        'offsets': [0, 4, 8, 12, 16, 17],
        'itemsize': 20,
    }
)


def header(frame_id: str, stamp: float = 1.0) -> Header:
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = int(stamp), round(stamp % 1 * 1e9)
    return made


def calibration(frame_id: str = 'camera') -> CameraInfo:
    center = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    matrix = [FOCAL, 0.0, center[0], 0.0, FOCAL, center[1], 0.0, 0.0, 1.0]
    return CameraInfo(
        header=header(frame_id),
        height=HEIGHT,
        width=WIDTH,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=matrix,
        p=[*matrix[:3], 0.0, *matrix[3:6], 0.0, *matrix[6:], 0.0],
    )


def wall() -> np.ndarray:
    """Return (H, W, 3) m of the LiDAR's frame: what every pixel sees on an upright wall."""
    rows, columns = np.indices((HEIGHT, WIDTH), np.float64)
    left = -(columns - (WIDTH - 1) / 2) / FOCAL * DISTANCE
    up = -(rows - (HEIGHT - 1) / 2) / FOCAL * DISTANCE
    ahead = np.full_like(left, DISTANCE)
    return np.stack((ahead, left, up - ABOVE), axis=-1).astype(np.float32)


def cloud(points: np.ndarray, stamp: float = 1.0, frame_id: str = 'lidar') -> PointCloud2:
    """Return an organised cloud of points (H, W, 3)."""
    records = np.zeros(points.shape[0] * points.shape[1], [(n, 'f4') for n in 'xyz'])
    for axis, name in enumerate('xyz'):
        records[name] = points[..., axis].reshape(-1)
    message = pack_records(header(frame_id, stamp), FIELDS[:3], records)
    message.height, message.width = points.shape[:2]
    message.row_step = message.width * message.point_step
    return message


def values(message: PointCloud2) -> np.ndarray:
    """Return a labelled cloud (N,) structured, its colour as a number."""
    return np.frombuffer(message.data, LABELED)


class Rig:
    """A camera with its calibration, a LiDAR, and whoever looks at the labelled points."""

    def __init__(self, make_stage: MakeStage, points: str = 'points', **parameters: Any) -> None:
        self.stage = make_stage(**{**DECLARED, **parameters})
        kind = Image if points == 'depth' else PointCloud2
        self.camera = self.stage.camera()
        self.lidar = self.stage.camera(points, kind)
        self.infos: Publisher = self.stage.camera('camera_info', CameraInfo)
        readers = 2 if points == 'depth' else 1  # that of the depth camera is the same one
        wait_until(lambda: self.infos.get_subscription_count() >= readers, 'both subscriptions')
        (self.masks,) = self.stage.outputs('mask')
        (self.clouds,) = self.stage.outputs('points', message_type=PointCloud2)

    def calibrate(self, info: CameraInfo | None = None) -> None:
        before = self.camera_infos()
        self.infos.publish(info or calibration())
        wait_until(lambda: self.camera_infos() > before, 'the calibration to arrive')
        # The one of depth images comes by a subscription of its own.
        values = self.stage.values('/image_raw')
        if 'depth_camera_info_received' in values:
            wait_until(
                lambda: self.stage.values('/image_raw')['depth_camera_info_received'] != '0', 'it'
            )

    def camera_infos(self) -> int:
        return int(self.stage.values('/image_raw').get('camera_info_received', 0))

    def see(self, mask: np.ndarray, stamp: float = 1.0) -> None:
        """Publish a frame with this mask, and wait until it was served."""
        count = len(self.masks)
        self.camera.publish(frame(paint(mask), stamp))
        wait_until(lambda: len(self.masks) > count, 'a mask')

    def wait_for(self, **counts: int) -> dict[str, str]:
        """Return the camera's diagnostics once the counters of clouds have these values."""
        wanted = {f'clouds_{name}': str(count) for name, count in counts.items()}

        def reached() -> dict[str, str] | None:
            found = self.stage.values('/image_raw')
            return found if wanted.items() <= found.items() else None

        return wait_until(reached, str(wanted), last=lambda: self.stage.values('/image_raw'))

    def labeled(self, count: int = 1) -> PointCloud2:
        return wait_until(
            lambda: len(self.clouds) >= count and self.clouds[count - 1],
            f'labelled cloud {count}',
            last=self.stage.log_lines,
        )
