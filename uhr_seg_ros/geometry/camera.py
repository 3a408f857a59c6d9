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

"""A calibrated camera: from points to pixels and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.geometry.distortion import (
    Distortion,
    EquidistantDistortion,
    NoDistortion,
    PolynomialDistortion,
)

MODELS = {'plumb_bob': (4, 5), 'rational_polynomial': (4, 5, 8), 'equidistant': (4,)}
"""Distortion models of sensor_msgs/distortion_models.hpp, and how many coefficients each has."""

MIN_DEPTH_M = 1e-3
"""What is nearer than this to the camera's plane is behind it."""


class Projection(NamedTuple):
    """
    Where points fall in the image; NaN where the camera cannot see them.

    Attributes:
        column: (N,) float32, px; pixel centres are whole numbers, as in OpenCV.
        row: (N,) float32, px.
        nearness: (N,) float32, 1 / m: 1 / z, or for a fisheye, at whose rim z vanishes, 1 / range.

    """

    column: np.ndarray
    row: np.ndarray
    nearness: np.ndarray


@dataclass(frozen=True)
class Camera:
    """
    Intrinsics of the pixels of a mask.

    Attributes:
        model: a key of `MODELS`.
        focal: fx, fy, px.
        center: cx, cy, px.
        distortion: coefficients in the order of sensor_msgs/CameraInfo.d; none: a pinhole.
        height: of the mask, px.
        width: of the mask, px.

    Raises:
        ConfigError: an unknown model, another count of coefficients, or a focal length that is
            not positive.

    """

    model: str
    focal: tuple[float, float]
    center: tuple[float, float]
    distortion: tuple[float, ...]
    height: int
    width: int
    _lens: Distortion = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not all(0 < length < math.inf for length in self.focal):
            msg = f'focal length {self.focal} px is not positive: calibrate the camera'
            raise ConfigError(msg)
        object.__setattr__(self, '_lens', _lens(self.model, self.distortion))

    def project(self, points: np.ndarray) -> Projection:
        """
        Project points of the camera's optical frame; agrees with OpenCV to hundredths of a px.

        Args:
            points: (3, N) float32, m.

        """
        x, y, z = points
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            nearness = np.where(z > MIN_DEPTH_M, 1.0 / z, np.float32(np.nan))
            x, y = x * nearness, y * nearness
            square = x * x + y * y
            if self._lens.limit < math.inf:
                x[square > self._lens.limit] = np.nan
            x, y = self._lens.apply(x, y, square)
            if self.model == 'equidistant':
                nearness = nearness / np.sqrt(1.0 + square)
            column = x * np.float32(self.focal[0]) + np.float32(self.center[0])
            row = y * np.float32(self.focal[1]) + np.float32(self.center[1])
        return Projection(column, row, nearness)


def _lens(model: str, coefficients: Sequence[float]) -> Distortion:
    if model not in MODELS:
        msg = f'distortion model {shown(model)} is not one of {", ".join(MODELS)}'
        raise ConfigError(msg)
    if model == 'equidistant':
        return EquidistantDistortion(_counted(model, coefficients or (0.0,) * 4))
    if not any(coefficients):
        return NoDistortion()
    known = _counted(model, coefficients)
    return PolynomialDistortion((*known, *[0.0] * (8 - len(known))))


def _counted(model: str, coefficients: Sequence[float]) -> tuple[float, ...]:
    """Return the coefficients without zeros behind those that the model knows."""
    counts = MODELS[model]
    known, rest = tuple(coefficients[: counts[-1]]), coefficients[counts[-1] :]
    if len(known) not in counts or any(rest):
        msg = (
            f'{model} has {" or ".join(map(str, counts))} coefficients, not '
            f'{len(coefficients)}: {list(coefficients)}'
        )
        raise ConfigError(msg)
    return known
