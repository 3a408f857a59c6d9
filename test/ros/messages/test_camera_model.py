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

"""Calibrations of masks that are smaller than the sensor, or a part of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from uhr_seg_ros.core.errors import ConfigError, MessageError
from uhr_seg_ros.ros.messages.camera_info import camera_of, fit_camera_info

POINT = np.float32([[0.3], [-0.2], [2.0]])


def calibration(model: str = 'plumb_bob', **fields: int) -> CameraInfo:
    info = CameraInfo(width=640, height=480, distortion_model=model, **fields)
    info.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    info.d = [-0.1, 0.02, 1e-3, 0.0, 0.0]
    return info


def pixel(info: CameraInfo, height: int, width: int) -> tuple[float, float]:
    projected = camera_of(info, height, width).project(POINT)
    return projected.column[0], projected.row[0]


def test_same_size() -> None:
    camera = camera_of(calibration(), 480, 640)
    assert (camera.focal, camera.center) == ((500.0, 510.0), (320.0, 240.0))
    assert camera.distortion == (-0.1, 0.02, 1e-3, 0.0, 0.0)
    assert (camera.height, camera.width) == (480, 640)


def test_another_size_scales_the_pixels() -> None:
    column, row = pixel(calibration(), 480, 640)
    assert pixel(calibration(), 960, 320) == pytest.approx((column / 2, row * 2), rel=1e-6)


def test_intrinsics_are_those_that_are_published_with_the_mask() -> None:
    info = calibration()
    fitted = fit_camera_info(info, Header(), 240, 1280)
    assert camera_of(info, 240, 1280) == camera_of(fitted, 240, 1280)


def test_binned_frames() -> None:
    column, row = pixel(calibration(), 480, 640)
    binned = calibration(binning_x=2, binning_y=4)
    assert pixel(binned, 120, 320) == pytest.approx((column / 2, row / 4), rel=1e-6)
    assert pixel(binned, 240, 640) == pytest.approx((column, row / 2), rel=1e-6)


def test_cut_frames() -> None:
    column, row = pixel(calibration(), 480, 640)
    cut = calibration()
    cut.roi.x_offset, cut.roi.y_offset, cut.roi.width, cut.roi.height = 101, 51, 400, 300
    assert pixel(cut, 300, 400) == pytest.approx((column - 101, row - 51), rel=1e-6)
    # A third of the size: the offset is no whole number of pixels then.
    assert pixel(cut, 100, 400) == pytest.approx((column - 101, (row - 51) / 3), rel=1e-6)
    cut.binning_x = cut.binning_y = 2
    assert pixel(cut, 150, 200) == pytest.approx(((column - 101) / 2, (row - 51) / 2), rel=1e-6)


def test_no_model_is_a_pinhole() -> None:
    info = calibration('')
    info.d = []
    assert camera_of(info, 480, 640).distortion == ()


@pytest.mark.parametrize(
    ('name', 'value', 'error', 'message'),
    [
        ('width', 0, MessageError, '0 x 480: calibrate the camera'),
        ('k', [0.0] * 9, ConfigError, 'focal length .* calibrate the camera'),
        ('k', [math.nan] * 9, MessageError, 'nan in k'),
        ('distortion_model', 'omni', ConfigError, "'omni' is not one of"),
        ('d', [0.1], ConfigError, '4 or 5 coefficients, not 1'),
    ],
)
def test_what_is_no_calibration(name: str, value: object, error: type, message: str) -> None:
    info = calibration()
    setattr(info, name, value)
    with pytest.raises(error, match=message):
        camera_of(info, 480, 640)
