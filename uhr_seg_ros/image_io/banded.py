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

"""Pictures whose bands and values are chosen by rules, read by window as others are."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.image_io.rasters import Raster
from uhr_seg_ros.image_io.tiff_segments import check_window, Window

#: So many files are known at most by what percentiles make black and white of them.
_MOST = 1 << 16

#: File and rules -> what becomes black and white; percentiles take a look at all of the file.
_limits: dict[tuple[str, int, int, BandRules], np.ndarray] = {}
_lock = Lock()


def read_banded(path: Path, window: Window | None, rules: BandRules) -> np.ndarray:
    """
    Read an image or a part of it, as `uhr_seg segment` reads a map by the same rules.

    Args:
        path: what `Raster` reads.
        window: top, left, height and width in px, inside the image; None for all of it.
        rules: without another resolution.

    Returns:
        (h, w, 3) uint8 BGR.

    Raises:
        ConfigError: rasterio is missing, or the rules do not fit the bands.
        ImageError: the file is missing or damaged.

    """
    key = _key(path, rules)
    with Raster(path, rules, _limits.get(key)) as raster:
        top, left, height, width = window or (0, 0, *raster.size)
        check_window((top, left, height, width), *raster.size)
        part = raster.read((top, top + height), (left, left + width))
        if raster.damaged:
            msg = f'{path} cannot be read: {len(raster.damaged)} of its blocks are damaged'
            raise ImageError(msg)
        if raster.limits is not None:
            with _lock:
                if len(_limits) >= _MOST:
                    _limits.clear()
                _limits[key] = raster.limits
    return part.image


def check_banded(path: Path, rules: BandRules) -> None:
    """
    Refuse a file whose bands are not those of the rules; percentiles are not looked for.

    Raises:
        ConfigError: as `read_banded`.
        ImageError: as `read_banded`.

    """
    anything = None if rules.stretch is None else (0.0, 1.0)
    with Raster(path, BandRules(rules.bands, anything)):
        pass


def _key(path: Path, rules: BandRules) -> tuple[str, int, int, BandRules]:
    """Tell a file from itself as it was before it was written again."""
    try:
        state = path.stat()
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise ImageError(msg) from err
    return os.path.abspath(path), state.st_mtime_ns, state.st_size, rules
