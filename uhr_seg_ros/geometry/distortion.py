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
Lens distortion as OpenCV and sensor_msgs/CameraInfo define it.

A distortion polynomial turns back somewhere outside the field of view it was fitted to: beyond
that angle it would map rays that the camera cannot see into the middle of the image. Each model
knows the largest angle up to which its radial function grows; rays beyond it are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Protocol

import numpy as np
from numpy.polynomial import Polynomial


class Distortion(Protocol):
    """
    Moves points of the normalised image plane (x / z, y / z).

    Attributes:
        limit: largest squared radius up to which one ray belongs to one pixel, tan(angle)^2.

    """

    limit: float

    def apply(
        self, x: np.ndarray, y: np.ndarray, square: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the distorted coordinates.

        Args:
            x: (N,) float32.
            y: (N,) float32.
            square: (N,) float32, x^2 + y^2.

        """


class NoDistortion:
    """A perfect pinhole."""

    limit = math.inf

    def apply(
        self, x: np.ndarray, y: np.ndarray, square: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates as they are."""
        return x, y


class PolynomialDistortion:
    """
    `plumb_bob` and `rational_polynomial`, OpenCV's cv::projectPoints.

    Args:
        coefficients: k1, k2, p1, p2, k3, k4, k5, k6.

    """

    def __init__(self, coefficients: Sequence[float]) -> None:
        k1, k2, p1, p2, k3, k4, k5, k6 = coefficients
        self._tangential = (p1, p2)
        self._above = (1.0, k1, k2, k3)
        self._below = (1.0, k4, k5, k6)
        self.limit = _largest_radius(self._above, self._below, math.hypot(p1, p2)) ** 2

    def apply(
        self, x: np.ndarray, y: np.ndarray, square: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the distorted coordinates; see `Distortion`."""
        radial = _horner(self._above, square)
        if any(self._below[1:]):
            radial /= _horner(self._below, square)
        p1, p2 = self._tangential
        if not (p1 or p2):
            return x * radial, y * radial
        # 2 p1 x y + p2 (r^2 + 2 x^2) and p1 (r^2 + 2 y^2) + 2 p2 x y, with x and y taken out.
        radial += (2 * p2) * x + (2 * p1) * y
        return x * radial + p2 * square, y * radial + p1 * square


class EquidistantDistortion:
    """
    `equidistant`, OpenCV's cv::fisheye: the radius is a polynomial of the angle.

    Args:
        coefficients: k1, k2, k3, k4.

    """

    def __init__(self, coefficients: Sequence[float]) -> None:
        self._angular = (1.0, *coefficients)
        # The derivative of t + k1 t^3 + k2 t^5 + ... in t^2.
        slope = Polynomial([(2 * n + 1) * k for n, k in enumerate(self._angular)])
        angle = math.sqrt(_first_root(slope))
        self.limit = math.tan(angle) ** 2 if angle < math.pi / 2 else math.inf

    def apply(
        self, x: np.ndarray, y: np.ndarray, square: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the distorted coordinates; see `Distortion`."""
        radius = np.sqrt(square)
        angle = np.arctan(radius)
        scale = _horner(self._angular, angle * angle)
        # On the axis angle and radius are both 0, and their ratio is 1.
        scale *= angle / np.maximum(radius, 1e-12) + (radius < 1e-12)
        return x * scale, y * scale


def _horner(coefficients: Sequence[float], argument: np.ndarray) -> np.ndarray:
    """Return a polynomial's values, in the precision of the argument."""
    *rest, last = coefficients
    while last == 0 and len(rest) > 1:
        *rest, last = rest
    value = argument * last
    for coefficient in reversed(rest[1:]):
        value += coefficient
        value *= argument
    value += rest[0]
    return value


def _largest_radius(above: Sequence[float], below: Sequence[float], tangential: float) -> float:
    """
    Return the radius at which r above(r^2) / below(r^2) stops growing or has a pole.

    The tangential terms take up to 3 |p| r^2 away from a ray's radius, in its worst direction.
    """
    square = Polynomial([0.0, 0.0, 1.0])
    top = Polynomial([0.0, 1.0]) * Polynomial(above)(square)
    bottom = Polynomial(below)(square)
    slope = top.deriv() * bottom - top * bottom.deriv()
    slope -= Polynomial([0.0, 6.0 * tangential]) * bottom**2
    return min(_first_root(slope), _first_root(bottom))


def _first_root(polynomial: Polynomial) -> float:
    """Return the smallest positive real root, or infinity."""
    # Coefficients that matter to no ray would overflow the solver.
    roots = polynomial.trim(1e-40).roots()
    # Noise of the solver gives a double root a small imaginary part.
    real = roots.real[np.abs(roots.imag) < 1e-6 * np.abs(roots)]
    return float(min(real[real > 0], default=math.inf))
