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

"""From a depth image to points in the frame of its camera."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.camera import Camera

MAX_ERROR_PX = 0.1
"""So far from its pixel a ray may be projected: beyond it no ray belongs to the pixel."""


def depth_points(depth: np.ndarray, camera: Camera, *, keep_unknown: bool = False) -> np.ndarray:
    """
    Return the points of a depth image.

    Args:
        depth: (H, W) float32, m along the optical axis (REP-118); 0, negative and not finite
            values are no points.
        camera: of the depth image.
        keep_unknown: whether what is no point keeps its place, as NaN.

    Returns:
        (N, 3) float32 in the camera's optical frame (REP-103), m, in the order of the pixels; N is
        H * W with `keep_unknown`.

    Raises:
        ConfigError: the calibration is of another size.

    """
    if depth.shape != (camera.height, camera.width):
        msg = (
            f'depth image is {depth.shape[1]} x {depth.shape[0]}, but its calibration is for '
            f'{camera.width} x {camera.height}'
        )
        raise ConfigError(msg)
    rays = pixel_rays(camera)
    with np.errstate(invalid='ignore'):
        known = (depth > 0) & (depth < np.inf) & np.isfinite(rays[0])
    if keep_unknown:
        z = np.where(known, depth, np.float32(np.nan))
        return np.stack((rays[0] * z, rays[1] * z, z), axis=-1).reshape(-1, 3)
    known = np.flatnonzero(known)
    z = depth.reshape(-1).take(known)
    points = np.empty((len(known), 3), np.float32)
    for axis in (0, 1):
        np.multiply(rays[axis].reshape(-1).take(known), z, out=points[:, axis])
    points[:, 2] = z
    return points


@lru_cache(maxsize=4)
def pixel_rays(camera: Camera) -> np.ndarray:
    """
    Return x / z and y / z of the ray through every pixel.

    Returns:
        (2, H, W) float32, read-only; NaN where no ray belongs to a pixel.

    """
    rows, columns = np.indices((camera.height, camera.width), np.float32)
    pixels = np.stack((columns.ravel(), rows.ravel()))
    rays = _undistort(camera, pixels)
    ones = np.ones((1, rays.shape[1]), np.float32)
    back = np.stack(camera.project(np.concatenate((rays, ones)))[:2])
    with np.errstate(invalid='ignore'):
        rays[:, ~(np.abs(back - pixels).max(0) < MAX_ERROR_PX)] = np.nan
    rays = rays.reshape(2, camera.height, camera.width)
    rays.flags.writeable = False
    return rays


def _undistort(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """Return (2, N) float32 of what OpenCV finds; it may be wrong where there is nothing."""
    matrix = np.array(
        [[camera.focal[0], 0, camera.center[0]], [0, camera.focal[1], camera.center[1]], [0, 0, 1]]
    )
    if not any(camera.distortion) and camera.model != 'equidistant':
        offset, focal = (np.array(each, np.float32) for each in (camera.center, camera.focal))
        return (pixels - offset[:, None]) / focal[:, None]
    criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-8)
    source = np.ascontiguousarray(pixels.T, np.float64)[:, None]
    lens = np.array(camera.distortion or (0.0,) * 4, np.float64)
    if camera.model == 'equidistant':
        rays = cv2.fisheye.undistortPoints(source, matrix, lens, criteria=criteria)
    else:
        rays = cv2.undistortPoints(source, matrix, lens, criteria=criteria)
    return np.ascontiguousarray(rays[:, 0].T, np.float32)
