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

"""
Rigid transforms between frames.

Frames follow REP-103: metres, right-handed; a body frame has x forward, y left, z up, an optical
frame (`*_optical_frame`) z forward, x right, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uhr_seg_ros.core.errors import ConfigError

NORM_TOLERANCE = 0.01
"""How far the norm of a quaternion may be from 1: hand-written ones have three digits."""


@dataclass(frozen=True, eq=False)
class Transform:
    """
    Takes points from a source frame to a target frame: `rotation @ point + translation`.

    Attributes:
        rotation: (3, 3) float64.
        translation: (3,) float64, m: where the source's origin lies in the target frame.

    """

    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def of_quaternion(cls, translation: Sequence[float], quaternion: Sequence[float]) -> Transform:
        """
        Make the transform that tf2 gives as `lookup_transform(target, source)`.

        Args:
            translation: x, y, z, m.
            quaternion: x, y, z, w, as geometry_msgs/Quaternion orders them; it is normalised.

        Raises:
            ConfigError: wrong counts, numbers that are not finite, or a norm that is not 1.

        """
        offset = _finite('translation', translation, 3)
        x, y, z, w = _unit(_finite('quaternion', quaternion, 4))
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        return cls(rotation, offset)

    def inverse(self) -> Transform:
        """Return the transform from target to source."""
        return Transform(self.rotation.T, -self.rotation.T @ self.translation)

    def __matmul__(self, first: Transform) -> Transform:
        """Return the transform that applies `first` and then this one."""
        offset = self.rotation @ first.translation + self.translation
        return Transform(self.rotation @ first.rotation, offset)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """
        Transform points.

        Args:
            points: (N, 3) float32 or float64, m, of any strides.

        Returns:
            (3, N) float32: coordinates apart, each in one piece, as the next steps read them.

        """
        # In the points' own precision: a map's coordinates of 1e6 m need float64 until the
        # translation has taken them to the camera.
        apart = np.ascontiguousarray(points.T)
        moved = self.rotation.astype(apart.dtype) @ apart
        moved += self.translation.astype(apart.dtype)[:, None]
        return moved.astype(np.float32, copy=False)


IDENTITY = Transform(np.eye(3), np.zeros(3))

OPTICAL_FROM_BODY = Transform(
    np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]), np.zeros(3)
)
"""From a camera's body frame to its optical frame (REP-103, suffix frames)."""


def _finite(name: str, values: Sequence[float], count: int) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.shape != (count,):
        msg = f'{name} {list(values)} has {len(values)} numbers: expected {count}'
        raise ConfigError(msg)
    if not np.isfinite(array).all():
        msg = f'{name} {array.tolist()} is not finite: check who publishes the transform'
        raise ConfigError(msg)
    return array


def _unit(quaternion: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(quaternion))
    if abs(norm - 1.0) > NORM_TOLERANCE:
        msg = (
            f'quaternion {quaternion.tolist()} (x, y, z, w) has norm {norm:g}: expected 1; '
            'no rotation is 0, 0, 0, 1'
        )
        raise ConfigError(msg)
    return quaternion / norm
