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

"""The Laplacian residuals of the luminance, which HLRC's small network sees beside the image."""

from __future__ import annotations

import cv2
import numpy as np

#: Name of what `luminance_residuals` gives, as an input of a graph.
RESIDUALS = 'residuals'

#: Rows of the luminance that are made at a time: they and what they are made of stay in a cache.
_BAND_ROWS = 64


def luminance_residuals(planes: np.ndarray) -> np.ndarray:
    """
    Return what an image loses when it is blurred and halved, at two levels.

    The luminance is the mean of the planes, at half their size. With `d` (five rows and columns of
    a Gaussian, every second pixel) and `u` (the same in four phases, to twice the size), as in the
    Laplacian pyramid (Burt and Adelson, 1983), the first level is `x - u(d(x))`. The second one is
    that of `d(x)`, enlarged bilinearly. Borders are reflected.

    OpenCV takes a fifth of the time that a graph takes for it: convolutions of one channel cost
    ONNX Runtime as much as those of 16.

    Args:
        planes: (1, C, H, W) float32; H and W are multiples of 8.

    Returns:
        (1, 2, H / 2, W / 2) float32.

    """
    height, width = planes.shape[2] // 2, planes.shape[3] // 2
    light = np.empty((height, width), np.float32)
    share = 1.0 / planes.shape[1]
    for top in range(0, height, _BAND_ROWS):
        rows = light[top : top + _BAND_ROWS]
        halves = (
            cv2.resize(plane, (width, len(rows)), interpolation=cv2.INTER_AREA)
            for plane in planes[0, :, 2 * top : 2 * (top + len(rows))]
        )
        cv2.multiply(next(halves), share, dst=rows)
        for half in halves:
            cv2.scaleAdd(half, share, rows, dst=rows)
    residuals = np.empty((1, 2, height, width), np.float32)
    half = cv2.pyrDown(light)
    cv2.subtract(light, cv2.pyrUp(half), dst=residuals[0, 0])
    coarse = cv2.subtract(half, cv2.pyrUp(cv2.pyrDown(half)))
    cv2.resize(coarse, (width, height), dst=residuals[0, 1], interpolation=cv2.INTER_LINEAR)
    return residuals
