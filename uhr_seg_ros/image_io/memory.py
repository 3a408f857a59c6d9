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

"""Pictures that lie in memory, as in messages: by their content, whatever they are called."""

from __future__ import annotations

from collections.abc import Callable
import io
from typing import NamedTuple

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import bmp, ifd, opencv, png, tiff, webp
from uhr_seg_ros.image_io.jpeg import decode_jpeg
from uhr_seg_ros.image_io.jpeg_structure import is_jpeg, read_header
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.image_io.tiff_page import (
    BLACK_IS_ZERO,
    first_page,
    Page,
    RGB,
    UNDEFINED,
    UNSIGNED,
)

_HEAD = 32

#: No compression of TIFF gives more bytes for one.
_TIFF_RATIO = 4096

#: Cameras give three, some of them infrared or alpha too.
_MAX_BANDS = 8

_Decode = Callable[[bytes, FrameLimit], np.ndarray]


class Picture(NamedTuple):
    """
    A picture as it is stored: not turned by an EXIF tag, alpha left out.

    Attributes:
        pixels: (H, W) grey or (H, W, 3) BGR, uint8 or, of 16 bits, uint16.
        is_gray: whether it has one channel; a decoder may have made three of it.

    """

    pixels: np.ndarray
    is_gray: bool


def decode_picture(
    data: bytes | memoryview, limit: FrameLimit, note: Callable[[str], None] = lambda _: None
) -> Picture:
    """
    Decode a JPEG, PNG, TIFF, BMP or WebP; the header decides before memory is taken.

    Args:
        data: bytes, or a buffer of them.
        limit: what is larger is refused.
        note: told when damage cannot be.

    Raises:
        ImageError: the data is none of these, damaged, truncated or too large.

    """
    if is_jpeg(data):
        header = read_header(data)
        limit.check('JPEG', header.height, header.width)
        components = len(header.components)
        if components == 4:
            msg = 'JPEG has CMYK colours, those of print, which are not read: save it as RGB'
            raise ImageError(msg)
        return Picture(decode_jpeg(data, note=note), components == 1)
    decode = _decoder(bytes(data[:_HEAD]))
    if decode is None:
        what = 'it is empty' if not len(data) else 'it begins like no format that is read'
        msg = (
            f'{what} (JPEG, PNG, TIFF, BMP or WebP; a packet of a stream is decoded where its '
            'format names it: h264 or h265)'
        )
        raise ImageError(msg)
    pixels = decode(bytes(data), limit)
    return Picture(pixels, pixels.ndim == 2)


def is_tiff(data: bytes | memoryview) -> bool:
    """Return whether data begins as a TIFF does."""
    return ifd.is_tiff(bytes(data[:_HEAD]))


def _decoder(head: bytes) -> _Decode | None:
    if head.startswith(png.SIGNATURE):
        return _decode_png
    if ifd.is_tiff(head):
        return _decode_tiff
    if webp.is_webp(head):
        return _decode_webp
    return _decode_bmp if head.startswith(bmp.SIGNATURE) else None


def _decode_png(data: bytes, limit: FrameLimit) -> np.ndarray:
    limit.check('PNG', *png.size(data))
    picture = png.parse(data)
    values = picture.read()
    if picture.palette is not None:
        return picture.colors(values)
    return values if picture.bits >= 8 else values * np.uint8(255 // ((1 << picture.bits) - 1))


def _decode_tiff(data: bytes, limit: FrameLimit) -> np.ndarray:
    page = first_page(io.BytesIO(data), len(data)).page
    limit.check('TIFF', page.height, page.width)
    # Tiles are stored whole, however little of them the picture needs.
    limit.check('tile of a TIFF', page.segment_height, page.segment_width)
    if page.samples > _MAX_BANDS:
        msg = f'TIFF has {page.samples} bands, at most {_MAX_BANDS} are read: publish rgb8'
        raise ImageError(msg)
    needed = page.height * page.width * page.samples * page.bits // 8
    if needed > len(data) * _TIFF_RATIO:
        msg = (
            f'TIFF of {len(data)} bytes is cut short: it says {page.width}x{page.height} px, '
            f'{needed} bytes'
        )
        raise ImageError(msg)
    if page.bits == 16:
        return _decode_deep_tiff(data, page)
    pixels, _ = tiff.read_pixels(io.BytesIO(data), len(data), None)
    return np.ascontiguousarray(pixels)


def _decode_deep_tiff(data: bytes, page: Page) -> np.ndarray:
    """Decode what files may not be: cameras give the full range of 16 bits."""
    plain = page.sample_format in (UNSIGNED, UNDEFINED) and (page.samples, page.photometric) in (
        (1, BLACK_IS_ZERO),
        (3, RGB),
        (4, RGB),
    )
    if not plain:
        msg = (
            f'TIFF has {page.samples} bands of 16 bits that are neither grey nor RGB: '
            'publish mono16 or rgb16'
        )
        raise ImageError(msg)
    pixels = opencv.decode(data, cv2.IMREAD_UNCHANGED, 'TIFF')
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., :3])


def _decode_webp(data: bytes, limit: FrameLimit) -> np.ndarray:
    limit.check('WebP', *webp.size(data[: webp.HEAD]))
    return webp.read(data)[0]


def _decode_bmp(data: bytes, limit: FrameLimit) -> np.ndarray:
    limit.check('BMP', *bmp.size(data))
    return bmp.read(data)
