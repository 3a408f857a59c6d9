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

"""Calibrations: the one of a frame, what it is for a mask, and the camera that it describes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
import math
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.ros.messages.headers import message_bytes

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header


MAX_SIDE = 1 << 16
"""Longest side of a calibrated sensor, px."""

LARGEST = 1e9
"""Largest number of a calibration: a focal length of a million px is a telescope's."""

MAX_BYTES = 1 << 16
"""Most bytes of a calibration: beyond it names and distortion are taken for garbage."""

KEPT_BYTES = 4 << 20
"""Most bytes of the calibrations of a camera: 15 s of them at 60 Hz, for frames in work."""


class CameraInfoCache:
    """
    The newest calibrations of one camera; a frame never waits for one.

    They are limited in bytes, not in number: a frame looks for its own when it is done, and others
    come on as long as the network takes. The executor writes, the worker reads.

    Args:
        on_error: called when one is rejected.

    Attributes:
        received: how many came.
        rejected: how many of them no camera can have; the older ones stay.

    """

    def __init__(self, on_error: Callable[[MessageError], None] = lambda _: None) -> None:
        self._on_error = on_error
        self._lock = Lock()
        # By stamp, in the order of arrival.
        self._kept: OrderedDict[tuple[int, int], CameraInfo] = OrderedDict()
        self._bytes = 0
        self.received = 0
        self.rejected = 0

    def add(self, info: CameraInfo) -> None:
        """Remember a calibration, or reject it."""
        self.received += 1
        try:
            check_camera_info(info)
        except MessageError as err:
            self.rejected += 1
            self._on_error(err)
            return
        with self._lock:
            self._drop(_stamp(info.header))
            self._kept[_stamp(info.header)] = info
            self._bytes += message_bytes(info)
            while self._bytes > KEPT_BYTES:
                self._drop(next(iter(self._kept)))

    def find(self, header: Header) -> CameraInfo | None:
        """Return the one with the frame's stamp, else the newest, else None."""
        with self._lock:
            newest = next(reversed(self._kept.values()), None)
            return self._kept.get(_stamp(header), newest)

    def forget_stamps(self) -> None:
        """Keep the newest alone, such as when time was set back and stamps will come again."""
        with self._lock:
            for stamp in list(self._kept)[:-1]:
                self._drop(stamp)

    def _drop(self, stamp: tuple[int, int]) -> None:
        dropped = self._kept.pop(stamp, None)
        if dropped is not None:
            self._bytes -= message_bytes(dropped)


def _stamp(header: Header) -> tuple[int, int]:
    return header.stamp.sec, header.stamp.nanosec


def check_camera_info(info: CameraInfo) -> None:
    """
    Refuse what would make nonsense of the mask's calibration.

    Raises:
        MessageError: more bytes than `MAX_BYTES`, sizes that no camera has, a region outside
            the image, or numbers that are not finite or so large that scaling them overflows.

    """
    size = message_bytes(info)
    if size > MAX_BYTES:  # before its numbers are looked at one by one
        msg = (
            f'camera_info has {size} bytes, with {len(info.d)} numbers in d, '
            f'{len(info.header.frame_id)} letters in frame_id and {len(info.distortion_model)} '
            f'in distortion_model: at most {MAX_BYTES} are accepted'
        )
        raise MessageError(msg)
    if info.width > MAX_SIDE or info.height > MAX_SIDE:
        msg = f'camera_info is of {info.width} x {info.height}: a side has at most {MAX_SIDE} px'
        raise MessageError(msg)
    for side, binning in ((info.width, info.binning_x), (info.height, info.binning_y)):
        if binning > max(side, 1):
            msg = f'camera_info has a binning of {binning} for a side of {side} px'
            raise MessageError(msg)
    roi = info.roi
    if roi.x_offset + roi.width > info.width or roi.y_offset + roi.height > info.height:
        msg = (
            f'camera_info has a roi of {roi.width} x {roi.height} at {roi.x_offset}, '
            f'{roi.y_offset}, outside its {info.width} x {info.height}'
        )
        raise MessageError(msg)
    for name in ('k', 'p', 'r', 'd'):
        values = getattr(info, name)
        if bad := [value for value in values if not math.isfinite(value)]:
            msg = f'camera_info has {bad[0]} in {name}: expected finite numbers'
            raise MessageError(msg)
        if bad := [value for value in values if abs(value) > LARGEST]:
            msg = f'camera_info has {bad[0]:g} in {name}: no camera has more than {LARGEST:g}'
            raise MessageError(msg)


def fit_camera_info(info: CameraInfo, header: Header, height: int, width: int) -> CameraInfo:
    """
    Return a calibration for a mask.

    Where the calibration was made for another size, K, P and the region of interest are scaled as
    image_proc's resize does; distortion and rotation do not depend on the size.

    Args:
        info: calibration as the camera publishes it; left as it is.
        header: header of the frame.
        height: of the mask, px.
        width: of the mask, px.

    """
    fitted = deepcopy(info)
    fitted.header = header
    scale = frame_scale(info, height, width)
    if scale is None:
        fitted.width, fitted.height = width, height
    elif scale != (1.0, 1.0):
        _scale(fitted, *scale)
    return fitted


def frame_scale(info: CameraInfo, height: int, width: int) -> tuple[float, float] | None:
    """Return how much wider and higher a mask is than the camera's frames; None: no size."""
    # A binned or cut frame is smaller than the sensor that width and height tell of.
    frame_width = (info.roi.width or info.width) // (info.binning_x or 1)
    frame_height = (info.roi.height or info.height) // (info.binning_y or 1)
    if not frame_width or not frame_height:  # not calibrated
        return None
    return width / frame_width, height / frame_height


def _scale(info: CameraInfo, x: float, y: float) -> None:
    info.width, info.height = round(info.width * x), round(info.height * y)
    info.roi.x_offset, info.roi.width = round(info.roi.x_offset * x), round(info.roi.width * x)
    info.roi.y_offset, info.roi.height = round(info.roi.y_offset * y), round(info.roi.height * y)
    for index in (0, 2):
        info.k[index] *= x
    for index in (4, 5):
        info.k[index] *= y
    for index in (0, 2, 3):
        info.p[index] *= x
    for index in (5, 6, 7):
        info.p[index] *= y


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
