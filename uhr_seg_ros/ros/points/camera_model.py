# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""From a camera's calibration message to the intrinsics of a mask's pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.ros.camera_info import check_camera_info, frame_scale

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


def camera_of(info: CameraInfo, height: int, width: int, *, rectified: bool = False) -> Camera:
    """
    Return the camera that a mask was seen with.

    Args:
        info: calibration as the camera publishes it: its matrices are of the whole sensor, the
            frames may be binned, cut or of another size.
        height: of the mask, px.
        width: of the mask, px.
        rectified: whether the frames are: then P projects, without distortion, else K and D.

    Raises:
        MessageError: a calibration that no camera can have, or without a size.
        CameraError: no calibration, or a distortion model that is not known.

    """
    check_camera_info(info)
    scale = frame_scale(info, height, width)
    if scale is None:
        msg = f'camera_info is of {info.width} x {info.height}: calibrate the camera'
        raise MessageError(msg)
    # From the pixels of the sensor to those of the mask, along x and y.
    x, y = (
        factor / (binning or 1)
        for factor, binning in zip(scale, (info.binning_x, info.binning_y), strict=True)
    )
    matrix = np.reshape(info.p, (3, 4)) if rectified else np.reshape(info.k, (3, 3))
    return Camera(
        # A calibration without distortion may leave its model empty.
        model='plumb_bob' if rectified else info.distortion_model or 'plumb_bob',
        focal=(float(matrix[0, 0]) * x, float(matrix[1, 1]) * y),
        center=(
            (float(matrix[0, 2]) - info.roi.x_offset) * x,
            (float(matrix[1, 2]) - info.roi.y_offset) * y,
        ),
        distortion=() if rectified else tuple(map(float, info.d)),
        height=height,
        width=width,
    )


def second_of_pair(info: CameraInfo) -> Transform:
    """
    Return the transform from the frame of rectified images to where their camera is.

    The fourth column of P: the second camera of a stereo pair stands beside the first one, whose
    frame both may name. It is no motion for all others.

    Args:
        info: calibration that `camera_of` has taken with `rectified`.

    """
    matrix = np.reshape(info.p, (3, 4))
    offset = (matrix[0, 3] / matrix[0, 0], matrix[1, 3] / matrix[1, 1], 0.0)
    return Transform(np.eye(3), np.array(offset))
