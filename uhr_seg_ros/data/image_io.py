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

"""Picture files of data sets: those of `uhr_seg_ros.image_io`, with the errors of this room."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from uhr_seg_ros.core.errors import ConfigError, DataError, ImageError
from uhr_seg_ros.image_io import banded, files, headers, ifd
from uhr_seg_ros.image_io.files import cache
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.image_io.tiff_segments import Window

__all__ = [
    'BandRules',
    'cache',
    'check_banded',
    'check_upright',
    'image_size',
    'is_read_by_window',
    'orientation',
    'read_banded',
    'read_ids',
    'read_image',
    'Window',
]


def _of_data(function: Callable) -> Callable:
    @wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (ImageError, ConfigError) as err:
            raise DataError(str(err)) from err

    return call


image_size = _of_data(headers.image_size)
orientation = _of_data(headers.orientation)
is_read_by_window = _of_data(headers.is_read_by_window)
read_image = _of_data(files.read_image)
read_ids = _of_data(files.read_ids)
read_banded = _of_data(banded.read_banded)
check_banded = _of_data(banded.check_banded)


def check_upright(path: Path, other: str) -> None:
    """
    Refuse a file that viewers turn: nothing says which view its partner fits.

    Args:
        path: The file.
        other: Its partner, for the text of the error.

    Raises:
        DataError: The file has another orientation than 1, or no header.
    """
    turned = orientation(path)
    if turned != ifd.UPRIGHT:
        msg = (
            f'{path} has the EXIF tag Orientation = {turned} ({ifd.ORIENTATION_NAMES[turned]}), '
            f'and it is not clear what goes with {other}: the pixels as they are stored, or as '
            'viewers show them. If the stored ones, strip the tag (exiftool -Orientation= FILE), '
            'else turn the pixels (mogrify -auto-orient FILE)'
        )
        raise DataError(msg)
