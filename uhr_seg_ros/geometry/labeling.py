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

"""Points with the classes of the pixels that they fall on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.geometry.visibility import find_seen, Seen, ZBuffer


class LabeledPoints(NamedTuple):
    """
    Points and what the camera sees there.

    Attributes:
        points: (N, 3) as they were given.
        label: (N,) uint8, `UNLABELLED` where the camera sees nothing of them, and for the ids of
            a uint16 mask that a byte does not hold.
        confidence: (N,) uint8, 255 = sure; 0 where unseen.
        color: (N,) uint32, 0x00RRGGBB of the class; 0 where unseen.
        indices: (N,) which of the points that were given these are; None: all of them.

    """

    points: np.ndarray
    label: np.ndarray
    confidence: np.ndarray
    color: np.ndarray
    indices: np.ndarray | None = None

    def spread(self, values: np.ndarray, unseen: int, shape: tuple[int, int]) -> np.ndarray:
        """
        Return values of these points as a picture with a pixel for each point that was given.

        Args:
            values: (N,), such as the labels.
            unseen: value of the points that were left out.
            shape: height and width of the points that were given.

        """
        if self.indices is None:
            return values.reshape(shape)
        picture = np.full(shape, unseen, values.dtype)
        picture.reshape(-1)[self.indices] = values
        return picture


class PointLabeler:
    """
    Labels points by a mask.

    Args:
        classes: what the mask's ids mean.
        z_buffer: finds hidden points; None: each point counts as visible.
        keep_unseen: whether points without a label stay, so that the cloud keeps its order.

    """

    def __init__(
        self, classes: ClassSet, z_buffer: ZBuffer | None, keep_unseen: bool = True
    ) -> None:
        blue, green, red = classes.palette_bgr().astype(np.uint32).T
        self._colors = red << 16 | green << 8 | blue
        self._z_buffer = z_buffer
        self._keep_unseen = keep_unseen

    def label(
        self,
        points: np.ndarray,
        camera: Camera,
        pose: Transform,
        mask: np.ndarray,
        confidence: np.ndarray | None = None,
    ) -> LabeledPoints:
        """
        Label points.

        Args:
            points: (N, 3) float32 or float64, m.
            camera: intrinsics of the mask's pixels.
            pose: from the points' frame to the camera's optical frame.
            mask: (H, W) uint8 or uint16, class ids.
            confidence: (H, W) uint8; None: every pixel counts as sure.

        Raises:
            DataError: sizes that differ.

        """
        _check_sizes(camera, mask, confidence)
        seen = find_seen(points, camera, pose)
        if self._z_buffer is not None:
            seen = seen.take(self._z_buffer.find_visible(seen, camera.height, camera.width))
        pixels = seen.row.astype(np.intp) * camera.width + seen.column
        ids = mask.reshape(-1).take(pixels)
        label = np.minimum(ids, UNLABELED).astype(np.uint8, copy=False)
        sure = np.full(len(ids), 255, np.uint8)
        if confidence is not None:
            confidence.reshape(-1).take(pixels, out=sure)
        values = (label, sure, self._colors.take(ids))
        if self._keep_unseen:
            return LabeledPoints(points, *_spread(seen, len(points), *values))
        return LabeledPoints(points[seen.indices], *values, indices=seen.indices)


def _spread(
    seen: Seen, count: int, label: np.ndarray, confidence: np.ndarray, color: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values of all points from those of the seen ones."""
    labels = np.full(count, UNLABELED, np.uint8)
    confidences = np.zeros(count, np.uint8)
    colors = np.zeros(count, np.uint32)
    labels[seen.indices] = label
    confidences[seen.indices] = confidence
    colors[seen.indices] = color
    return labels, confidences, colors


def _check_sizes(camera: Camera, mask: np.ndarray, confidence: np.ndarray | None) -> None:
    size = (camera.height, camera.width)
    for name, array in (('mask', mask), ('confidence', confidence)):
        if array is not None and array.shape != size:
            msg = f'{name} is {array.shape}, but the calibration is for {size} (height, width)'
            raise DataError(msg)
