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
Image messages to frames in the bytes of the camera, and arrays to image messages.

Reading needs nothing of ROS: messages that a recording gave without it have the same fields.
"""

from __future__ import annotations

from functools import lru_cache
import sys
from typing import Any, NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.raw_frame import memory_shape, RawFrame
from uhr_seg_ros.core.text import one_line, shown
from uhr_seg_ros.image_io.jpeg_structure import JpegError, read_header
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.ros.messages.compressed import decode_compressed
from uhr_seg_ros.ros.messages.encoded import DecodedMessage
from uhr_seg_ros.ros.messages.layout import check_data, check_size, describe, find_chroma
from uhr_seg_ros.ros.messages.remarks import log_once, Remark

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header


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


def read_frame(
    message: Image | CompressedImage | DecodedMessage, remark: Remark, limit: FrameLimit
) -> RawFrame:
    """Return the frame of a message; see `view_image` and `decode_compressed`."""
    if isinstance(message, DecodedMessage):
        return message.read(limit)
    if hasattr(message, 'format'):
        return RawFrame.of_bgr(decode_compressed(message, remark, limit))
    return view_image(message, remark, limit)


def view_image(
    message: Image,
    remark: Remark = log_once,
    limit: FrameLimit = FrameLimit(),  # noqa: B008 - it cannot change
) -> RawFrame:
    """
    Return the frame of an Image message in the bytes of its camera.

    Encodings that are a format of `pixels` are not copied: the frame is a view of the message's
    own data. Deeper pixels are scaled to 8 bit as cv_bridge does (65535 becomes 255).

    Args:
        message: `sensor_msgs/Image` in any encoding of `image_encodings.hpp` that holds color or
            gray pixels; others go through cv_bridge where it is installed.
        remark: told what is odd, yet can be read.
        limit: what is larger is refused.

    Raises:
        ImageError: sizes, `step`, `encoding` and the amount of data do not fit together.

    """
    try:
        limit.check('image', message.height, message.width)
    except ImageError:
        check_size(message, limit)  # the same, and it names the encoding
        raise
    _check_raw(message)
    try:
        if message.encoding == 'nv24':
            return RawFrame.of_bgr(_decode_full_chroma(message, remark))
        if message.encoding in _PLANAR:
            return _view_planar(message, remark)
        if packed := _PACKED.get(message.encoding):
            return _view_packed(message, packed, remark)
    except ImageError as error:
        msg = f'image {describe(message)} could not be converted to bgr8: {error}'
        raise ImageError(msg) from error
    return RawFrame.of_bgr(_decode_with_cv_bridge(message))


def _check_raw(message: Image) -> None:
    """Refuse a JPEG in the place of pixels, as usb_cam's raw_mjpeg sends it."""
    if bytes(message.data[:3]) != b'\xff\xd8\xff':
        return
    try:
        header = read_header(memoryview(message.data).cast('B'))
    except JpegError:  # pixels that begin like one
        return
    is_declared = (header.height, header.width) == (message.height, message.width)
    # Pixels may begin like one, too, but then they are not too few.
    if is_declared or len(message.data) < message.step * (message.height - 1):
        size = '' if is_declared else f' of {header.width} x {header.height}'
        msg = (
            f'image {describe(message)} holds a JPEG{size}: let the driver decode it '
            '(pixel_format mjpeg2rgb of usb_cam), or publish it as sensor_msgs/CompressedImage'
        )
        raise ImageError(msg)


def _view_packed(message: Image, packed: _Packed, remark: Remark) -> RawFrame:
    height, width = message.height, message.width
    row_bytes = width * packed.channels * packed.bytes_each
    if message.step < row_bytes or len(message.data) != message.step * height:
        why = f'width {width} x {packed.channels} channels x {packed.bytes_each} byte'
        check_data(message, row_bytes, height, why, remark)
    if packed.channels == 1:
        _check_channels(message, row_bytes, remark)
    if packed.bytes_each > 1:
        rows = _to_8_bit(message, width * packed.channels)
    else:
        rows = _rows(message, height, row_bytes)
    return RawFrame(rows, packed.format, height, width)


def _check_channels(message: Image, row_bytes: int, remark: Remark) -> None:
    """Refuse colors that are called gray: rows that are three or four times as long."""
    times, rest = divmod(message.step, row_bytes)
    if message.height == 1 or rest or times not in (2, 3, 4):
        return
    text = f'image step {message.step} is {times} times a row of {describe(message)}'
    if times == 2:  # also the left half of a stereo pair
        remark(f'{text}: read as a part of a wider picture; if it is not, mend the encoding')
        return
    msg = f'{text}: set the encoding that the data has, or copy a part of a wider picture first'
    raise ImageError(msg)


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


def _view_planar(message: Image, remark: Remark) -> RawFrame:
    """Return a plane of luma followed by one of interleaved chroma, half as high."""
    height, width = message.height, message.width
    rows, row_bytes = memory_shape(message.encoding, height, width)
    luma = find_chroma(message, row_bytes, 0.5, f'width {width} x 1 byte', remark)
    data = _rows(message, rows + luma - height, row_bytes)
    if luma > height:
        data = np.vstack((data[:height], data[luma:]))
    return RawFrame(data, message.encoding, height, width)


def _decode_full_chroma(message: Image, remark: Remark) -> np.ndarray:
    """Return the BGR of a plane of luma followed by one of interleaved chroma, as high."""
    height, width, step = message.height, message.width, message.step
    begin = step * find_chroma(message, width, 2, f'width {width} x 1 byte', remark)
    luma = _rows(message, height, width)
    # A row of chroma has twice as many samples as one of luma, and twice the padding after them.
    chroma = np.ndarray(
        (height, 2 * width), np.uint8, message.data, offset=begin, strides=(2 * step, 1)
    )
    # Seen as the half-resolution chroma of a picture twice as large, nv24 is nv12.
    luma = luma.repeat(2, axis=0).repeat(2, axis=1)
    doubled = RawFrame(np.vstack((luma, chroma)), 'nv12', 2 * height, 2 * width)
    return doubled.bgr[::2, ::2]


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
        msg = (
            f'image encoding {shown(message.encoding)} is not one of '
            f'{", ".join(sorted((*_PACKED, *_PLANAR)))}; for others install cv_bridge'
        )
        raise ImageError(msg)
    try:
        return bridge.imgmsg_to_cv2(message, 'bgr8')
    except Exception as error:  # CvBridgeError, or whatever its C++ half throws
        reason = one_line(error)
        msg = f'cv_bridge could not convert image {describe(message)} to bgr8: {reason}'
        raise ImageError(msg) from error


def encode_image(array: np.ndarray, encoding: str, header: Header) -> Image:
    """
    Return an Image message that holds a copy of an array.

    Args:
        array: (H, W) or (H, W, C), uint8 or uint16, in the channel order that `encoding` says.
        encoding: such as `mono8`, `mono16` or `bgr8`.
        header: taken over untouched.

    """
    # Not above: recordings are decoded where ROS is not installed.
    from sensor_msgs.msg import Image

    message = Image()
    message.header = header
    message.height, message.width = array.shape[:2]
    message.encoding = encoding
    message.is_bigendian = int(sys.byteorder == 'big')
    message.step = int(np.prod(array.shape[1:])) * array.itemsize
    # Filling the array that the message already owns is the one way that costs a single copy on
    # every distribution: setters check or copy again, element by element for an ndarray.
    message.data.frombytes(np.ascontiguousarray(array).data.cast('B'))
    return message
