# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
From image messages to plain arrays, as views where that is possible.

Nothing of ROS is imported: messages that a recording gave without it have the same fields.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.pixels import memory_shape, PixelError, RawFrame

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

MAX_PIXELS = 1 << 28
"""Largest accepted frame, 16384 x 16384 px: beyond it the size fields are taken for garbage."""


class ImageError(UhrSegError):
    """A frame that cannot be read; the message names the value, the limit and the way out."""


class _Packed(NamedTuple):
    """How one packed encoding lies in memory; its 8-bit form is a format of `pixels`."""

    channels: int
    bytes_each: int
    format: str


def _packed_encodings() -> dict[str, _Packed]:
    """Return every packed encoding that is read here without help."""
    packed = {
        'yuv422': _Packed(2, 1, 'uyvy'),
        'uyvy': _Packed(2, 1, 'uyvy'),
        'yuv422_yuy2': _Packed(2, 1, 'yuyv'),
        'yuyv': _Packed(2, 1, 'yuyv'),
    }
    channels = {'bgr': 3, 'rgb': 3, 'bgra': 4, 'rgba': 4, 'mono': 1}
    channels |= {f'bayer_{pattern}': 1 for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')}
    for depth, bytes_each in (('8', 1), ('16', 2)):
        for name, count in channels.items():
            packed[name + depth] = _Packed(count, bytes_each, name + '8')
        for alias, name in (('UC1', 'mono'), ('UC3', 'bgr'), ('UC4', 'bgra')):
            packed[depth + alias] = packed[name + depth]
    return packed


_PACKED = _packed_encodings()
_PLANAR = ('nv12', 'nv21', 'nv24')


def view_image(message: Image) -> RawFrame:
    """
    Return the frame of an Image message in the bytes of its camera.

    Encodings that are a format of `pixels` are not copied: the frame is a view of the message's
    own data. Deeper pixels are scaled to 8 bit as cv_bridge does (65535 becomes 255).

    Args:
        message: `sensor_msgs/Image` in any encoding of `image_encodings.hpp` that holds colour or
            grey pixels; others go through cv_bridge where it is installed.

    Raises:
        ImageError: sizes, `step`, `encoding` and the amount of data do not fit together.

    """
    check_size(message)
    try:
        if message.encoding == 'nv24':
            return RawFrame.of_bgr(_decode_full_chroma(message))
        if message.encoding in _PLANAR:
            return _view_planar(message)
        if packed := _PACKED.get(message.encoding):
            return _view_packed(message, packed)
    except PixelError as error:
        msg = f'image {_describe(message)} could not be converted to bgr8: {error}'
        raise ImageError(msg) from error
    return RawFrame.of_bgr(_decode_with_cv_bridge(message))


def decode_compressed(message: CompressedImage) -> np.ndarray:
    """
    Return the frame of a CompressedImage message (JPEG, PNG and what else OpenCV reads).

    Args:
        message: `sensor_msgs/CompressedImage` as image_transport's `compressed` publishes it.

    Returns:
        (H, W, 3) uint8 BGR, never turned by an EXIF tag: the mask has to fit the sensor's pixels.

    Raises:
        ImageError: the data is no picture, a truncated or too large one, a depth image or a Bayer
            mosaic.

    """
    if 'compressedDepth' in message.format:
        msg = f'compressed image format {message.format!r} is depth: choose a colour topic'
        raise ImageError(msg)
    if message.format.startswith('bayer_'):
        msg = (f'compressed image format {message.format!r} is a Bayer mosaic: choose the topic '
               'of the debayered picture, or the raw transport')
        raise ImageError(msg)
    data = np.frombuffer(message.data, np.uint8)
    # libjpeg fills what is missing with grey and says nothing; a mask of that would be a lie.
    is_jpeg = data[:2].tobytes() == b'\xff\xd8'
    if is_jpeg and b'\xff\xd9' not in _last_bytes(data):
        msg = f'compressed image of {data.size} bytes is truncated: JPEG end marker is missing'
        raise ImageError(msg)
    image = _imdecode(data)
    if image is None:
        msg = (f'compressed image ({data.size} bytes, format {message.format!r}) could not be '
               f'decoded: expected a complete JPEG or PNG of at most {MAX_PIXELS} pixels')
        raise ImageError(msg)
    return image


def _describe(message: Image) -> str:
    return f'{message.width} x {message.height} {message.encoding!r}'


def check_size(message: Image) -> None:
    """Refuse an image without pixels, or with so many that they are garbage."""
    if message.width == 0 or message.height == 0:
        msg = f'image is {_describe(message)}: width and height must be at least 1'
        raise ImageError(msg)
    if message.width * message.height > MAX_PIXELS:
        msg = f'image is {_describe(message)}: more than {MAX_PIXELS} pixels are not accepted'
        raise ImageError(msg)


def check_data(message: Image, row_bytes: int, rows: int, why: str) -> None:
    """Refuse a `step` shorter than a row of pixels, and data that ends before the last row."""
    if message.step < row_bytes:
        msg = f'image step {message.step} is smaller than {why} = {row_bytes} bytes'
        raise ImageError(msg)
    # The padding after the last row may be absent, as cameras that send views leave it out.
    needed = message.step * (rows - 1) + row_bytes
    if len(message.data) < needed:
        msg = (f'image data is truncated: {len(message.data)} bytes, but {_describe(message)} '
               f'with step {message.step} needs {needed}')
        raise ImageError(msg)


def _view_packed(message: Image, packed: _Packed) -> RawFrame:
    height, width = message.height, message.width
    row_bytes = width * packed.channels * packed.bytes_each
    why = f'width {width} x {packed.channels} channels x {packed.bytes_each} byte'
    check_data(message, row_bytes, height, why)
    if packed.bytes_each > 1:
        rows = _to_8_bit(message, width * packed.channels)
    else:
        rows = _rows(message, height, row_bytes)
    return RawFrame(rows, packed.format, height, width)


def _to_8_bit(message: Image, samples: int) -> np.ndarray:
    """Return the rows of 16-bit samples scaled to (H, samples) uint8."""
    dtype = np.dtype('>u2' if message.is_bigendian else '<u2')
    shape, strides = (message.height, samples), (message.step, 2)
    deep = np.ndarray(shape, dtype, message.data, strides=strides)
    deep = np.require(deep, dtype.newbyteorder('='), 'A')
    return cv2.convertScaleAbs(deep, alpha=255.0 / 65535.0)


def _rows(message: Image, rows: int, row_bytes: int) -> np.ndarray:
    strides = (message.step, 1)
    return np.ndarray((rows, row_bytes), np.uint8, message.data, strides=strides)


def _view_planar(message: Image) -> RawFrame:
    """Return a plane of luma followed by one of interleaved chroma, half as high."""
    rows, row_bytes = memory_shape(message.encoding, message.height, message.width)
    check_data(message, row_bytes, rows, f'width {message.width} x 1 byte')
    data = _rows(message, rows, row_bytes)
    return RawFrame(data, message.encoding, message.height, message.width)


def _decode_full_chroma(message: Image) -> np.ndarray:
    """Return the BGR of a plane of luma followed by one of interleaved chroma, as high."""
    height, width, step = message.height, message.width, message.step
    check_data(message, width, height * 3, f'width {width} x 1 byte')
    luma = _rows(message, height, width)
    # A row of chroma has twice as many samples as one of luma, and twice the padding after them.
    chroma = np.ndarray((height, 2 * width), np.uint8, message.data, offset=step * height,
                        strides=(2 * step, 1))  # fmt: skip
    # Seen as the half-resolution chroma of a picture twice as large, nv24 is nv12.
    luma = luma.repeat(2, axis=0).repeat(2, axis=1)
    doubled = RawFrame(np.vstack((luma, chroma)), 'nv12', 2 * height, 2 * width)
    return doubled.bgr[::2, ::2]


def _last_bytes(data: np.ndarray) -> bytes:
    """Return the end of a picture, without the zeros that some drivers fill their buffers with."""
    return data[-1 << 16 :].tobytes().rstrip(b'\0')[-1024:]


def _imdecode(data: np.ndarray) -> np.ndarray | None:
    if data.size == 0:
        return None
    try:
        return cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


@lru_cache(maxsize=1)
def _cv_bridge() -> Any | None:
    """Return a CvBridge, or None where it is absent or was built for another NumPy."""
    try:
        from cv_bridge import CvBridge
        return CvBridge()
    except Exception:  # a NumPy mismatch raises more than ImportError
        return None


def _decode_with_cv_bridge(message: Image) -> np.ndarray:
    bridge = _cv_bridge()
    if bridge is None:
        msg = (f'image encoding {message.encoding!r} is not one of '
               f'{", ".join(sorted((*_PACKED, *_PLANAR)))}; for others install cv_bridge')
        raise ImageError(msg)
    try:
        return bridge.imgmsg_to_cv2(message, 'bgr8')
    except Exception as error:  # CvBridgeError, or whatever its C++ half throws
        msg = f'cv_bridge could not convert image {_describe(message)} to bgr8: {error}'
        raise ImageError(msg) from error
