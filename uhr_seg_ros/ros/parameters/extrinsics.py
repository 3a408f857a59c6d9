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

"""The parameters by which the pose of a camera is declared where tf2 does not know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.ros.messages.headers import plain_frame
from uhr_seg_ros.ros.parameters.spec import ParameterSpec, row, specs_of


def _check_translation(values: list[float]) -> str:
    return _check_pose(values, (0.0, 0.0, 0.0, 1.0))


def _check_quaternion(values: list[float]) -> str:
    return _check_pose((0.0, 0.0, 0.0), values)


def _check_pose(translation: Sequence[float], quaternion: Sequence[float]) -> str:
    try:
        Transform.of_quaternion(translation, quaternion)
    except ConfigError as err:
        return str(err)
    return ''


@dataclass(frozen=True)
class Extrinsics:
    """
    The declared pose of one camera; its parameters are called `cloud.<camera>.<name>`.

    Attributes:
        camera_frame: the optical frame of a camera; empty: nothing is declared.
        points_frame: the frame of a LiDAR or a depth camera.
        translation: where the points' frame begins in the camera's: x, y, z, m.
        quaternion: how it is turned in it: x, y, z, w.

    """

    camera_frame: str = row(
        '', 'Optical frame of the camera, for which a pose is declared; empty: tf2 gives it.'
    )
    points_frame: str = row('', 'Frame of the points, for which a pose is declared.')
    translation: tuple[float, ...] = row(
        [0.0, 0.0, 0.0],
        'Where points_frame begins in camera_frame: x, y, z, m.',
        validator=_check_translation,
    )
    quaternion: tuple[float, ...] = row(
        [0.0, 0.0, 0.0, 1.0],
        'How points_frame is turned in camera_frame: x, y, z, w.',
        validator=_check_quaternion,
    )

    @property
    def frames(self) -> tuple[str, str]:
        """Both frames, the camera's first."""
        return plain_frame(self.camera_frame), plain_frame(self.points_frame)

    @property
    def pose(self) -> Transform:
        """The transform from the points' frame to the camera's."""
        return Transform.of_quaternion(self.translation, self.quaternion)


def extrinsic_specs(camera: str) -> tuple[ParameterSpec, ...]:
    """Return the parameters by which the pose of one camera is declared; it may have no name."""
    return specs_of(Extrinsics, f'cloud.{camera}.' if camera else 'cloud.')
