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

"""The ground under a pixel of a GeoTIFF, from its own tags; OGC GeoTIFF 1.1 (19-008r4)."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, cosh, isfinite, pi, radians, sin
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.headers import bytes_of, kind, opened, TIFF
from uhr_seg_ros.image_io.ifd import Directory
from uhr_seg_ros.image_io.tiff_page import first_page

_PIXEL_SCALE, _TIE_POINT, _TRANSFORMATION = 33550, 33922, 34264
_KEY_DIRECTORY, _DOUBLES = 34735, 34736

# Keys, and what the one of the model means.
_MODEL, _ANGULAR_UNIT, _PROJECTED, _LINEAR_UNIT, _LINEAR_SIZE = 1024, 2054, 3072, 3076, 3077
_IS_PROJECTED, _IS_GEOGRAPHIC = 1, 2
_DEGREE = 9102

#: Code of a linear unit -> m.
_METERS = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937}

#: The map of the web enlarges areas by 1 / cos(latitude)^2.
WEB_MERCATOR = (3785, 3857)
# UTM of WGS 84, north and south, and of ETRS89: some writers name no unit beside these.
_IN_METERS = (*range(32601, 32661), *range(32701, 32761), *range(25828, 25839), *WEB_MERCATOR)

#: Ellipsoid WGS 84: semi-major axis, m, and the square of the eccentricity.
RADIUS, _ECCENTRICITY2 = 6_378_137.0, 6.694379990141e-3


@dataclass(frozen=True)
class GroundPixel:
    """
    What a pixel covers.

    Attributes:
        m2: square meters of the ground; 0 where it is not known.
        reason: why it is not known; empty where it is, and where a file says nothing at all.
    """

    m2: float = 0.0
    reason: str = ''


def ground_pixel(path: Path) -> GroundPixel:
    """
    Read how much ground a pixel covers: its mean, as at the center of the picture.

    Projected maps in meters or feet are known, geographic ones in degrees (on the ellipsoid
    WGS 84), and the map of the web, whose areas are reduced to those of the ground.

    Args:
        path: a picture file; other ones than GeoTIFF say nothing.
    """
    try:
        with opened(path) as file:
            if kind(file) != TIFF:
                return GroundPixel()
            page = first_page(file, bytes_of(file)).page
            return _of_page(page.directory, page.height, page.width)
    except (ImageError, ValueError, OverflowError, IndexError) as err:
        return GroundPixel(reason=f'its georeference cannot be read: {err}')


def is_georeferenced(path: Path) -> bool:
    """
    Tell if a picture file has a place on a map, whether or not that can be understood.

    Raises:
        ImageError: The file is missing, or its header is damaged.
    """
    with opened(path) as file:
        if kind(file) != TIFF:
            return False
        directory = first_page(file, bytes_of(file)).page.directory
        tags = _PIXEL_SCALE, _TRANSFORMATION, _KEY_DIRECTORY
        return any(directory.values(tag) is not None for tag in tags)


def _of_page(directory: Directory, height: int, width: int) -> GroundPixel:
    placed = _affine(directory)
    if placed is None:
        return GroundPixel()
    affine, origin = placed
    area = abs(float(np.linalg.det(affine)))
    _, northing = origin + affine @ (width / 2, height / 2)
    keys = _keys(directory)
    model = keys.get(_MODEL)
    if model == _IS_GEOGRAPHIC:
        if keys.get(_ANGULAR_UNIT, _DEGREE) != _DEGREE or abs(northing) > 90:
            return GroundPixel(reason='its georeference is geographic, but not in degrees')
        return _checked(area * m2_per_square_degree(northing))
    if model != _IS_PROJECTED:
        return GroundPixel(reason='its georeference names no coordinate system')
    projected = int(keys.get(_PROJECTED, 0))
    unit = _METERS.get(int(keys.get(_LINEAR_UNIT, 0)), keys.get(_LINEAR_SIZE))
    if unit is None and projected in _IN_METERS:
        unit = 1.0
    if unit is None:
        return GroundPixel(reason='its georeference names no unit of length that is known')
    area *= unit**2
    if projected in WEB_MERCATOR:
        area /= cosh(northing * unit / RADIUS) ** 2
    return _checked(area)


def _checked(m2: float) -> GroundPixel:
    if not isfinite(m2) or m2 <= 0:
        return GroundPixel(reason=f'its georeference gives a pixel {m2} m2')
    return GroundPixel(m2)


def _affine(directory: Directory) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the matrix (2, 2) from columns and rows to the map, and the map at pixel 0, 0."""
    matrix = directory.values(_TRANSFORMATION)
    if matrix is not None and len(matrix) >= 16:
        matrix = matrix[:16].astype(float).reshape(4, 4)
        return matrix[:2, :2], matrix[:2, 3]
    scale, tie = directory.values(_PIXEL_SCALE), directory.values(_TIE_POINT)
    if scale is None or tie is None or len(scale) < 2 or len(tie) < 6:
        return None
    affine = np.diag((float(scale[0]), -float(scale[1])))
    return affine, np.asarray(tie[3:5], float) - affine @ np.asarray(tie[:2], float)


def _keys(directory: Directory) -> dict[int, float]:
    """Return the keys that are numbers."""
    values, doubles = directory.values(_KEY_DIRECTORY), directory.values(_DOUBLES)
    found: dict[int, float] = {}
    if values is None or len(values) < 4:
        return found
    entries = values[4 : 4 + 4 * int(values[3])]
    for key, place, count, value in entries[: len(entries) // 4 * 4].reshape(-1, 4).tolist():
        if not place:
            found[key] = value
        elif place == _DOUBLES and count and doubles is not None and value < len(doubles):
            found[key] = float(doubles[value])
    return found


def m2_per_square_degree(latitude: float) -> float:
    """Return the area of 1 x 1 degrees as at a latitude, in degrees."""
    sine = sin(radians(latitude))
    bend = 1 - _ECCENTRICITY2 * sine**2
    # Radii of curvature along the meridian and across it.
    meridian, prime = RADIUS * (1 - _ECCENTRICITY2) / bend**1.5, RADIUS / bend**0.5
    return meridian * prime * cos(radians(latitude)) * (pi / 180) ** 2
