# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The door between ROS image messages and plain arrays: views in, one copy out."""

from __future__ import annotations

from functools import lru_cache
import sys
from typing import Any, NamedTuple, TYPE_CHECKING

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from uhr_seg_ros.errors import UhrSegError

if TYPE_CHECKING:
    from std_msgs.msg import Header

MAX_PIXELS = 1 << 28
"""Largest accepted frame, 16384 x 16384 px: beyond it the size fields are taken for garbage."""


class ImageError(UhrSegError):
    """A frame that cannot be read; the message names the value, the limit and the way out."""


class _Layout(NamedTuple):
    """How one packed encoding lies in memory, and what turns it into BGR."""

    channels: int
    bytes_each: int
    to_bgr: int | None


def _layouts() -> dict[str, _Layout]:
    """Return every packed encoding that is read here without help."""
    layouts = {
        'uyvy': _Layout(2, 1, cv2.COLOR_YUV2BGR_UYVY),
        'yuyv': _Layout(2, 1, cv2.COLOR_YUV2BGR_YUY2),
    }
    colors = {
        'bgr': (3, None), 'rgb': (3, cv2.COLOR_RGB2BGR), 'bgra': (4, cv2.COLOR_BGRA2BGR),
        'rgba': (4, cv2.COLOR_RGBA2BGR), 'mono': (1, cv2.COLOR_GRAY2BGR),
        # OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the
        # first row's first two: the same pattern, another name.
        'bayer_rggb': (1, cv2.COLOR_BayerBG2BGR), 'bayer_bggr': (1, cv2.COLOR_BayerRG2BGR),
        'bayer_gbrg': (1, cv2.COLOR_BayerGR2BGR), 'bayer_grbg': (1, cv2.COLOR_BayerGB2BGR),
    }
    for depth, bytes_each in (('8', 1), ('16', 2)):
        for name, (channels, code) in colors.items():
            layouts[name + depth] = _Layout(channels, bytes_each, code)
        for alias, name in (('UC1', 'mono'), ('UC3', 'bgr'), ('UC4', 'bgra')):
            layouts[depth + alias] = layouts[name + depth]
    layouts['yuv422'] = layouts['uyvy']
    layouts['yuv422_yuy2'] = layouts['yuyv']
    return layouts


_LAYOUTS = _layouts()
_PLANAR = ('nv12', 'nv21', 'nv24')


def decode_image(message: Image) -> np.ndarray:
    """
    Return the frame of an Image message.

    `bgr8` and `8UC3` are not copied: the array is a view of the message's own data, rows `step`
    bytes apart. Deeper pixels are scaled to 8 bit as cv_bridge does (65535 becomes 255).

    Args:
        message: `sensor_msgs/Image` in any encoding of `image_encodings.hpp` that holds colour or
            grey pixels; others go through cv_bridge where it is installed.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: sizes, `step`, `encoding` and the amount of data do not fit together.

    """
    _check_size(message)
    try:
        if message.encoding in _PLANAR:
            return _decode_planar(message)
        if layout := _LAYOUTS.get(message.encoding):
            return _convert(_pixels(message, layout), layout)
    except cv2.error as error:
        msg = f'image {_describe(message)} could not be converted to bgr8: {error.err}'
        raise ImageError(msg) from error
    return _decode_with_cv_bridge(message)


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


def encode_image(array: np.ndarray, encoding: str, header: Header) -> Image:
    """
    Return an Image message that holds a copy of an array.

    Args:
        array: (H, W) or (H, W, C), uint8 or uint16, in the channel order that `encoding` says.
        encoding: such as `mono8`, `mono16` or `bgr8`.
        header: taken over untouched.

    """
    message = Image()
    message.header = header
    message.height, message.width = array.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(sys.byteorder == 'big')
    message.step = int(np.prod(array.shape[1:])) * array.itemsize
    # Filling the array that the message already owns is the one way that costs a single copy on
    # every distribution: setters check or copy again, element by element for an ndarray.
    message.data.frombytes(memoryview(np.ascontiguousarray(array)).cast('B'))
    return message


def _describe(message: Image) -> str:
    return f'{message.width} x {message.height} {message.encoding!r}'


def _check_size(message: Image) -> None:
    if message.width == 0 or message.height == 0:
        msg = f'image is {_describe(message)}: width and height must be at least 1'
        raise ImageError(msg)
    if message.width * message.height > MAX_PIXELS:
        msg = f'image is {_describe(message)}: more than {MAX_PIXELS} pixels are not accepted'
        raise ImageError(msg)


def _check_data(message: Image, row_bytes: int, rows: int, why: str) -> None:
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


def _pixels(message: Image, layout: _Layout) -> np.ndarray:
    """Return the message's data as a (H, W) or (H, W, C) array; a copy only to swap bytes."""
    height, width = message.height, message.width
    pixel_bytes = layout.channels * layout.bytes_each
    why = f'width {width} x {layout.channels} channels x {layout.bytes_each} byte'
    _check_data(message, width * pixel_bytes, height, why)
    dtype = np.dtype(f'{">" if message.is_bigendian else "<"}u{layout.bytes_each}')
    pixels = np.ndarray((height, width, layout.channels), dtype, message.data,
                        strides=(message.step, pixel_bytes, layout.bytes_each))
    if layout.bytes_each > 1:
        pixels = np.require(pixels, dtype.newbyteorder('='), 'A')
    return pixels[:, :, 0] if layout.channels == 1 else pixels


def _convert(pixels: np.ndarray, layout: _Layout) -> np.ndarray:
    if layout.bytes_each > 1:
        pixels = cv2.convertScaleAbs(pixels, alpha=255.0 / 65535.0)
    return pixels if layout.to_bgr is None else cv2.cvtColor(pixels, layout.to_bgr)


def _decode_planar(message: Image) -> np.ndarray:
    """Return the frame of a Y plane followed by a plane of interleaved chroma."""
    height, width, step = message.height, message.width, message.step
    full_chroma = message.encoding == 'nv24'
    if not full_chroma and (height % 2 or width % 2):
        msg = f'image {_describe(message)} has an odd side: chroma is shared by 2 x 2 pixels'
        raise ImageError(msg)
    rows = height * 3 if full_chroma else height * 3 // 2
    _check_data(message, width, rows, f'width {width} x 1 byte')
    if not full_chroma:
        planes = np.ndarray((rows, width), np.uint8, message.data, strides=(step, 1))
        is_nv21 = message.encoding == 'nv21'
        code = cv2.COLOR_YUV2BGR_NV21 if is_nv21 else cv2.COLOR_YUV2BGR_NV12
        return cv2.cvtColor(planes, code)
    luma = np.ndarray((height, width), np.uint8, message.data, strides=(step, 1))
    # A row of chroma has twice as many samples as one of luma, and twice the padding after them.
    chroma = np.ndarray((height, 2 * width), np.uint8, message.data, offset=step * height,
                        strides=(2 * step, 1))  # fmt: skip
    # Seen as the half-resolution chroma of a picture twice as large, nv24 is nv12.
    luma = luma.repeat(2, axis=0).repeat(2, axis=1)
    return cv2.cvtColor(np.vstack((luma, chroma)), cv2.COLOR_YUV2BGR_NV12)[::2, ::2]


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
               f'{", ".join(sorted((*_LAYOUTS, *_PLANAR)))}; for others install cv_bridge')
        raise ImageError(msg)
    try:
        return bridge.imgmsg_to_cv2(message, 'bgr8')
    except Exception as error:  # CvBridgeError, or whatever its C++ half throws
        msg = f'cv_bridge could not convert image {_describe(message)} to bgr8: {error}'
        raise ImageError(msg) from error
