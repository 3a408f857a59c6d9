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

"""Rasters with a place on a map, for tests; rasterio is imported when one is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: Upper left corner on the map, m, and side of a pixel, m.
CORNER, PIXEL = (500_000.0, 5_000_000.0), 0.5


def write_raster(path: Path, values: np.ndarray, **options: Any) -> Path:
    """
    Write a tiled GeoTIFF in UTM.

    Args:
        path: of the file.
        values: (bands, H, W), of the type of the file.
        options: of rasterio, such as `nodata`, in place of the usual ones.

    """
    import rasterio

    form = {
        'driver': 'GTiff',
        'crs': 'EPSG:32632',
        'transform': rasterio.transform.from_origin(*CORNER, PIXEL, PIXEL),
        'tiled': True,
        'blockxsize': 256,
        'blockysize': 256,
        'compress': 'deflate',
        **options,
    }
    count, height, width = values.shape
    with rasterio.open(
        path, 'w', count=count, height=height, width=width, dtype=values.dtype, **form
    ) as file:
        file.write(values)
    return path


def bands_of(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR -> (3, H, W) RGB."""
    return np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))


def colored(height: int, width: int, side: int = 20, seed: int = 0) -> np.ndarray:
    """Return an image (H, W, 3) uint8 BGR of squares in colors that are far from pure."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (-(-height // side), -(-width // side), 3), np.uint8)
    return np.ascontiguousarray(cells.repeat(side, 0).repeat(side, 1)[:height, :width])


def read_map(path: Path) -> np.ndarray:
    """Read the first band of a map, (H, W)."""
    import rasterio

    with rasterio.open(path) as file:
        return file.read(1)
