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

"""Frames as cameras give them: which bytes are which pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError


class _Layout(NamedTuple):
    """Bytes per pixel of a row, rows of memory per two rows of pixels, and what gives BGR."""

    bytes_each: int
    rows_per_two: int
    to_bgr: int | None


_LAYOUTS = {
    'bgr8': _Layout(3, 2, None),
    'rgb8': _Layout(3, 2, cv2.COLOR_RGB2BGR),
    'bgra8': _Layout(4, 2, cv2.COLOR_BGRA2BGR),
    'rgba8': _Layout(4, 2, cv2.COLOR_RGBA2BGR),
    'mono8': _Layout(1, 2, cv2.COLOR_GRAY2BGR),
    'uyvy': _Layout(2, 2, cv2.COLOR_YUV2BGR_UYVY),
    'yuyv': _Layout(2, 2, cv2.COLOR_YUV2BGR_YUY2),
    # A plane of luma, then one of chroma with half as many rows.
    'nv12': _Layout(1, 3, cv2.COLOR_YUV2BGR_NV12),
    'nv21': _Layout(1, 3, cv2.COLOR_YUV2BGR_NV21),
    # OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the
    # first row's first two: the same pattern, another name.
    'bayer_rggb8': _Layout(1, 2, cv2.COLOR_BayerBG2BGR),
    'bayer_bggr8': _Layout(1, 2, cv2.COLOR_BayerRG2BGR),
    'bayer_gbrg8': _Layout(1, 2, cv2.COLOR_BayerGR2BGR),
    'bayer_grbg8': _Layout(1, 2, cv2.COLOR_BayerGB2BGR),
}

#: Names of the formats; the place of a name is its number in kernels.cu.
FORMATS = tuple(_LAYOUTS)


@dataclass(frozen=True, eq=False)
class RawFrame:
    """
    One frame in the bytes of its camera.

    Attributes:
        data: (rows of memory, bytes of a row) uint8; rows may lie apart, the memory may be
            read-only. See `memory_shape`.
        format: one of `FORMATS`.
        height: px.
        width: px.

    Raises:
        ImageError: the format is unknown, or size, format and shape of the data do not fit.

    """

    data: np.ndarray
    format: str
    height: int
    width: int

    def __post_init__(self) -> None:
        expected = memory_shape(self.format, self.height, self.width)
        if self.data.shape != expected or self.data.dtype != np.uint8:
            msg = (
                f'{self.format} frame of {self.width}x{self.height} px: the data is '
                f'{self.data.dtype} {self.data.shape}, expected uint8 {expected}'
            )
            raise ImageError(msg)

    @classmethod
    def of_bgr(cls, image: np.ndarray) -> RawFrame:
        """
        Wrap an image (H, W, 3) uint8 BGR; it is copied only if its pixels lie apart.

        Raises:
            ImageError: not an image of this form.

        """
        if image.ndim != 3 or image.shape[2] != 3:
            msg = f'the image has shape {image.shape}, expected (height, width, 3)'
            raise ImageError(msg)
        height, width, _ = image.shape
        return cls(image.reshape(height, 3 * width), 'bgr8', height, width)

    @cached_property
    def bgr(self) -> np.ndarray:
        """
        The image (H, W, 3) uint8 BGR; for `bgr8` a view of the data.

        Raises:
            ImageError: OpenCV cannot convert it.

        """
        layout = _LAYOUTS[self.format]
        pixels = self.data
        if layout.bytes_each > 1:
            pixels = pixels.reshape(self.height, self.width, layout.bytes_each)
        if layout.to_bgr is None:
            return pixels
        try:
            return cv2.cvtColor(pixels, layout.to_bgr)
        except cv2.error as err:
            msg = (
                f'{self.format} frame of {self.width}x{self.height} px '
                f'could not be converted to bgr8: {err.err}'
            )
            raise ImageError(msg) from err


def memory_shape(format_name: str, height: int, width: int) -> tuple[int, int]:
    """
    Return how many rows of how many bytes a frame takes, without padding.

    Raises:
        ImageError: the format is unknown or has no such size.

    """
    if format_name not in _LAYOUTS:
        msg = f'pixel format {format_name!r} is unknown, known: {", ".join(FORMATS)}'
        raise ImageError(msg)
    if objection := _objection_to_size(format_name, height, width):
        msg = f'{format_name} frame of {width}x{height} px {objection}'
        raise ImageError(msg)
    layout = _LAYOUTS[format_name]
    return height * layout.rows_per_two // 2, width * layout.bytes_each


def _objection_to_size(format_name: str, height: int, width: int) -> str:
    layout = _LAYOUTS[format_name]
    if height < 1 or width < 1:
        return 'is empty: both sides must be at least 1'
    if format_name.startswith('bayer') and min(height, width) < 3:
        return 'is too small: a mosaic needs at least 3x3'
    if layout.bytes_each == 2 and width % 2:
        return 'has an odd width: chroma is shared by 2 pixels'
    if layout.rows_per_two == 3 and (height % 2 or width % 2):
        return 'has an odd side: chroma is shared by 2 x 2 pixels'
    return ''
