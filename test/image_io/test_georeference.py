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

"""Square meters under a pixel of a GeoTIFF, against what is known of the maps."""

from __future__ import annotations

from math import cos, radians
from pathlib import Path

import numpy as np
import pytest

from uhr_seg_ros.image_io.georeference import ground_pixel

PROJECTED, GEOGRAPHIC = 1, 2


def geotiff(
    path: Path,
    scale: float,
    keys: dict[int, int],
    place: tuple[float, float] = (500_000.0, 5_000_000.0),
    matrix: list[float] | None = None,
    doubles: tuple[float, ...] = (),
) -> Path:
    """Write 40 x 20 px whose upper left corner lies at a place of a map."""
    tifffile = pytest.importorskip('tifffile', reason='writes the files')
    entries = [(key, 0, 1, value) for key, value in sorted(keys.items())]
    if doubles:
        entries.append((3077, 34736, 1, 0))
    values = [1, 1, 0, len(entries), *(number for entry in entries for number in entry)]
    tags = [(34735, 'H', len(values), values)]
    if doubles:
        tags.append((34736, 'd', len(doubles), doubles))
    if matrix:
        tags.append((34264, 'd', 16, matrix))
    else:
        tags.append((33550, 'd', 3, (scale, scale, 0.0)))
        tags.append((33922, 'd', 6, (0.0, 0.0, 0.0, *place, 0.0)))
    pixels = np.zeros((20, 40, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric='rgb', extratags=tags)
    return path


@pytest.mark.parametrize(
    ('keys', 'doubles', 'm2'),
    [
        ({3072: 32632, 3076: 9001}, (), 0.25),
        ({3072: 32632}, (), 0.25),
        ({3072: 2263, 3076: 9003}, (), 0.25 * (1200 / 3937) ** 2),
        ({3072: 2263, 3076: 9002}, (), 0.25 * 0.3048**2),
        ({3072: 32767, 3076: 32767}, (2.0,), 1.0),
    ],
)
def test_projected(tmp_path: Path, keys: dict, doubles: tuple[float, ...], m2: float) -> None:
    path = geotiff(tmp_path / 'a.tif', 0.5, {1024: PROJECTED, **keys}, doubles=doubles)
    found = ground_pixel(path)
    assert found.m2 == pytest.approx(m2, rel=1e-12)
    assert not found.reason


def test_turned_map(tmp_path: Path) -> None:
    turned = [0.3, -0.4, 0, 5e5, -0.4, -0.3, 0, 5e6, 0, 0, 0, 0, 0, 0, 0, 1]
    keys = {1024: PROJECTED, 3072: 32632}
    assert ground_pixel(geotiff(tmp_path / 'a.tif', 0, keys, matrix=turned)).m2 == pytest.approx(
        0.25
    )


def test_map_of_the_web_enlarges(tmp_path: Path) -> None:
    """At 60 degrees north, y = 8,399,738 m, lengths are doubled."""
    keys = {1024: PROJECTED, 3072: 3857, 3076: 9001}
    path = geotiff(tmp_path / 'a.tif', 1.0, keys, place=(0.0, 8_399_747.9))
    assert ground_pixel(path).m2 == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    ('latitude', 'meridian', 'parallel'),
    # Length of a degree on WGS 84, m, as geographers list them.
    [(0.0, 110_574, 111_320), (45.0, 111_132, 78_847), (60.0, 111_412, 55_800)],
)
def test_degrees(tmp_path: Path, latitude: float, meridian: float, parallel: float) -> None:
    scale = 1e-6
    keys = {1024: GEOGRAPHIC, 2048: 4326}
    path = geotiff(tmp_path / 'a.tif', scale, keys, place=(7.0, latitude + 10 * scale))
    assert ground_pixel(path).m2 == pytest.approx(scale**2 * meridian * parallel, rel=1e-4)
    assert parallel == pytest.approx(111_320 * cos(radians(latitude)), rel=3e-3)


@pytest.mark.parametrize(
    ('keys', 'place', 'reason'),
    [
        ({}, (0.0, 0.0), 'names no coordinate system'),
        ({1024: PROJECTED, 3072: 2056}, (0.0, 0.0), 'names no unit of length'),
        ({1024: GEOGRAPHIC}, (7.0, 5_000_000.0), 'not in degrees'),
    ],
)
def test_unknown(tmp_path: Path, keys: dict, place: tuple[float, float], reason: str) -> None:
    found = ground_pixel(geotiff(tmp_path / 'a.tif', 0.5, keys, place=place))
    assert (found.m2, reason in found.reason) == (0.0, True)


def test_other_files_say_nothing(tmp_path: Path) -> None:
    (tmp_path / 'a.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    assert ground_pixel(tmp_path / 'a.png').reason == ''
    path = geotiff(tmp_path / 'a.tif', 0.5, {1024: PROJECTED})
    path.write_bytes(path.read_bytes()[:200])
    assert 'cannot be read' in ground_pixel(path).reason
