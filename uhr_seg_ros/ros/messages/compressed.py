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
From compressed image messages to plain arrays.

What a publisher writes into `format`, and what it does:

| `format` | by | pixels |
|---|---|---|
| `rgb8; jpeg compressed bgr8`, `rgb16; png compressed bgr16` | image_transport | a true picture |
| `rgb8; jpeg compressed rgb8` | scripts, telephones | a true picture, whatever the order says |
| `yuv422; jpeg compressed mono8` | image_transport | gray: it drops colors that are not RGB |
| `bayer_rggb8; jpeg compressed mono8` | image_transport | gray, from the mosaic |
| `bayer_rggb8; jpeg compressed `, `...; png compressed ` | image_transport | the mosaic: refused |
| `rgb8; tiff compressed ` | image_transport | as sent: red and blue in the other's place |
| `bgr8; tiff compressed `, `mono16; tiff compressed ` | image_transport | a true picture |
| `16UC1; compressedDepth png` | image_transport | depth: refused |
| `jpeg`, `png`, empty, anything else | drivers | what the content is |

Nothing of ROS is imported: messages that a recording gave without it have the same fields.
"""

from __future__ import annotations

from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.text import one_line, shown
from uhr_seg_ros.image_io.jpeg import damage_is_told
from uhr_seg_ros.image_io.jpeg_structure import is_jpeg
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.image_io.memory import decode_picture, is_tiff
from uhr_seg_ros.ros.messages.remarks import log_once, Remark

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage

_MAX_FORMAT = 200

_COLORS = ('rgb', 'bgr', 'bayer_', 'yuv', 'uyvy', 'yuyv', 'nv1', 'nv2', '8uc3', '8uc4')


class Format(NamedTuple):
    """
    The words of a message's `format`, in small letters.

    Attributes:
        encoding: of the image that was compressed; empty where it is not told.
        codec: such as `jpeg`.
        target: what the image was converted to before; empty if it was not.

    """

    encoding: str
    codec: str
    target: str

    @property
    def is_mosaic(self) -> bool:
        """Whether the picture is a Bayer mosaic."""
        return self.encoding.startswith('bayer_') and not self.target

    @property
    def is_swapped(self) -> bool:
        """Whether red and blue are in the other's place, if the content is TIFF."""
        return self.codec == 'tiff' and not self.target and self.encoding.startswith('rgb')

    @property
    def is_of_color_camera(self) -> bool:
        """Whether the image had colors before it was compressed."""
        return self.encoding.startswith(_COLORS)


def parse_format(text: str) -> Format:
    """Return the words of a message's `format`, as far as it is no longer than one can be."""
    encoding, separator, rest = text[:_MAX_FORMAT].strip().lower().partition(';')
    if not separator:
        return Format('', encoding, '')
    codec, word, target = [*rest.split(), '', '', ''][:3]
    return Format(encoding.strip(), codec, target if word == 'compressed' else '')


def decode_compressed(
    message: CompressedImage,
    remark: Remark = log_once,
    limit: FrameLimit = FrameLimit(),  # noqa: B008 - it cannot change
) -> np.ndarray:
    """
    Return the frame of a CompressedImage message: JPEG, PNG, TIFF, BMP or WebP.

    Alpha is left out; 16 bit are scaled as raw images are (65535 becomes 255).

    Args:
        message: `sensor_msgs/CompressedImage` as image_transport's `compressed` publishes it.
        remark: told what is odd, yet can be read.
        limit: what is larger is refused by its header.

    Returns:
        (H, W, 3) uint8 BGR, never turned by an EXIF tag: the mask has to fit the sensor's pixels.

    Raises:
        ImageError: the data is no picture, a damaged, truncated or too large one, a depth image
            or a Bayer mosaic.

    """
    form = parse_format(message.format)
    _check_kind(message.format, form)
    data = memoryview(message.data).cast('B')
    if is_jpeg(data) and not damage_is_told():
        remark(
            'simplejpeg is not installed, so frames that were damaged on the way are '
            'segmented as if they were whole: pip install simplejpeg'
        )
    try:
        image, is_gray = decode_picture(data, limit, remark)
    except ImageError as err:
        msg = (
            f'compressed image ({len(data)} bytes, format {shown(message.format)}) could not '
            f'be decoded: {one_line(err)}'
        )
        raise ImageError(msg) from err
    if image.dtype != np.uint8:
        image = cv2.convertScaleAbs(image, alpha=255.0 / 65535.0)
    if is_gray and form.is_of_color_camera:
        remark(
            f'compressed image format {shown(message.format)} holds a gray picture of a '
            'color camera: its publisher drops the colors; take the raw topic, or let the '
            'camera give rgb8'
        )
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if form.is_swapped and is_tiff(data):
        return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return image


def _check_kind(text: str, form: Format) -> None:
    """Refuse what the format says to be no picture."""
    if 'compressedDepth' in text[:_MAX_FORMAT] or form.encoding == '32fc1':
        msg = f'compressed image format {shown(text)} is depth: choose a color topic'
        raise ImageError(msg)
    if form.is_mosaic:
        msg = (
            f'compressed image format {shown(text)} is a Bayer mosaic: choose the topic of the '
            'debayered picture, or the raw transport'
        )
        raise ImageError(msg)
