# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""From a camera's calibration message to the intrinsics of a mask's pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.ros.camera_info import CameraInfoError, check_camera_info, frame_scale

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


def camera_of(info: CameraInfo, height: int, width: int) -> Camera:
    """
    Return the camera that a mask was seen with.

    Args:
        info: calibration of the unrectified frames, as the camera publishes it: K and D are of
            the whole sensor, the frames may be binned, cut or of another size.
        height: of the mask, px.
        width: of the mask, px.

    Raises:
        CameraInfoError: a calibration that no camera can have, or without a size.
        CameraError: no calibration, or a distortion model that is not known.

    """
    check_camera_info(info)
    scale = frame_scale(info, height, width)
    if scale is None:
        msg = f'camera_info is of {info.width} x {info.height}: calibrate the camera'
        raise CameraInfoError(msg)
    # From the pixels of the sensor to those of the mask, along x and y.
    x, y = (factor / (binning or 1)
            for factor, binning in zip(scale, (info.binning_x, info.binning_y), strict=True))
    return Camera(
        # A calibration without distortion may leave its model empty.
        model=info.distortion_model or 'plumb_bob',
        focal=(float(info.k[0]) * x, float(info.k[4]) * y),
        center=((float(info.k[2]) - info.roi.x_offset) * x,
                (float(info.k[5]) - info.roi.y_offset) * y),
        distortion=tuple(map(float, info.d)),
        height=height,
        width=width,
    )  # fmt: skip
