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
Arrays to compressed image messages, as image_transport's `compressed` writes them.

| pixels | `format` | |
|---|---|---|
| ids, mono8 or mono16 | `mono8; png compressed ` | lossless: a JPEG would invent classes along every boundary |
| pictures, bgr8 | `bgr8; jpeg compressed bgr8` | |
"""  # noqa: E501 - a table

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import Header

# Masks are runs of one id. No filter in the rows, where OpenCV knows the flag: since 4.12 it would
# try all of them, which takes ten times as long.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, 'IMWRITE_PNG_FILTER'):
    _PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]


def encode_png(array: np.ndarray, encoding: str, header: Header) -> CompressedImage:
    """
    Return a message with a PNG of ids, every one of them as it is.

    Args:
        array: (H, W) uint8 or uint16.
        encoding: of the raw image, `mono8` or `mono16`.
        header: taken over untouched.

    """
    # The space at the end is image_transport's.
    return _message(cv2.imencode('.png', array, _PNG)[1], f'{encoding}; png compressed ', header)


def encode_jpeg(array: np.ndarray, quality: int, header: Header) -> CompressedImage:
    """
    Return a message with a JPEG of a picture.

    Args:
        array: (H, W, 3) uint8 BGR.
        quality: 1 to 100.
        header: taken over untouched.

    """
    data = cv2.imencode('.jpg', array, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return _message(data, 'bgr8; jpeg compressed bgr8', header)


def _message(data: np.ndarray, text: str, header: Header) -> CompressedImage:
    # Not above: recordings are read where ROS is not installed.
    from sensor_msgs.msg import CompressedImage

    message = CompressedImage(header=header, format=text)
    message.data.frombytes(data.data)  # the one way that copies once, see `encode_image`
    return message
