# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""From plain arrays to image messages, with one copy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import Image

if TYPE_CHECKING:
    from std_msgs.msg import Header


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
