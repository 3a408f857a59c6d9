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

"""OpenCV's decoders, asked for exactly one thing."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError


def decode(data: bytes, flags: int, kind: str) -> np.ndarray:
    """
    Decode a picture, pixels as stored.

    Args:
        data: The file.
        flags: Of `cv2.imdecode`; the EXIF orientation is always ignored.
        kind: Begins the text of the error, such as "PNG".

    Raises:
        ImageError: OpenCV refuses it.
    """
    array = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(array, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as err:
        if 'CV_IO_MAX_IMAGE' in str(err):
            msg = (
                f'{kind} is larger than this process lets OpenCV read: set '
                'OPENCV_IO_MAX_IMAGE_PIXELS in the environment'
            )
            raise ImageError(msg) from err
        msg = f'{kind} cannot be decoded: {err.err}'
        raise ImageError(msg) from err
    except MemoryError as err:
        msg = f'{kind} cannot be decoded: not enough memory'
        raise ImageError(msg) from err
    if image is None:
        msg = f'{kind} ({len(data)} bytes) cannot be decoded: damaged or incomplete'
        raise ImageError(msg)
    return image
