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
From depth image messages to meters.

Nothing of ROS is imported: messages that a recording gave without it have the same fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.ros.messages.layout import check_data, check_size
from uhr_seg_ros.ros.messages.remarks import log_once, Remark

if TYPE_CHECKING:
    from sensor_msgs.msg import Image

_ENCODINGS = {'16UC1': 'u2', 'mono16': 'u2', '32FC1': 'f4'}
"""REP-118: 16UC1 in mm, 32FC1 in m; some drivers call the former mono16."""

DEPTH_BYTES = 70
"""What a pixel of depth becomes, as measured: rays, points, labels and their message."""


def read_depth(
    message: Image,
    limit: FrameLimit = FrameLimit(),  # noqa: B008 - it cannot change
    remark: Remark = log_once,
) -> np.ndarray:
    """
    Return a depth image.

    Args:
        message: `16UC1` in mm or `32FC1` in m, of any step and byte order.
        limit: what is larger is refused.
        remark: told what is odd, yet can be read.

    Returns:
        (H, W) float32, m; 0, NaN and infinity mean that nothing was measured. A view of the
        message's own data for `32FC1` in the machine's byte order.

    Raises:
        ImageError: another encoding, or sizes, `step` and the amount of data do not fit together.

    """
    check_size(message, limit)
    if message.encoding not in _ENCODINGS:
        msg = (
            f'depth image has encoding {shown(message.encoding)}: expected 16UC1 in mm or '
            '32FC1 in m, as REP-118 says'
        )
        raise ImageError(msg)
    dtype = np.dtype(('>' if message.is_bigendian else '<') + _ENCODINGS[message.encoding])
    row_bytes = message.width * dtype.itemsize
    why = f'width {message.width} x {dtype.itemsize} bytes'
    check_data(message, row_bytes, message.height, why, remark)
    shape, strides = (message.height, message.width), (message.step, dtype.itemsize)
    depth = np.ndarray(shape, dtype, message.data, strides=strides)
    if dtype.kind == 'u':
        return depth * np.float32(1e-3)
    return depth.astype(np.float32, copy=False)
