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

"""Depth images in millimetres and metres, and ones that are broken."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import Image

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.ros.messages.depth import read_depth

DEPTH = np.array([[0.0, 1.5, 0.003], [65.535, 2.25, 7.0]])


def depth_image(encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    order = '>' if big_endian else '<'
    if encoding == '32FC1':
        numbers = DEPTH.astype(order + 'f4')
    else:
        numbers = np.round(DEPTH * 1000).astype(order + 'u2')
    rows = np.frombuffer(numbers.tobytes(), np.uint8).reshape(2, -1)
    message = Image(height=2, width=3, encoding=encoding, is_bigendian=big_endian)
    message.step = rows.shape[1] + padding
    message.data.frombytes(np.pad(rows, ((0, 0), (0, padding)), constant_values=9).tobytes())
    return message


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('encoding', ['16UC1', 'mono16', '32FC1'])
def test_depth_is_in_metres(encoding: str, padding: int, big_endian: bool) -> None:
    message = depth_image(encoding, padding, big_endian)
    depth = read_depth(message)
    assert depth.dtype == np.float32
    assert depth.dtype.isnative
    np.testing.assert_allclose(depth, DEPTH, rtol=1e-6)
    is_view = np.shares_memory(depth, np.frombuffer(message.data, np.uint8))
    assert is_view == (encoding == '32FC1' and not big_endian)


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('encoding', 'bgr8', "encoding 'bgr8': expected 16UC1 in mm or 32FC1 in m"),
        ('encoding', '32FC1', 'image step 6 is smaller than width 3 x 4 bytes = 12 bytes'),
        ('width', 0, 'width and height must be at least 1'),
        ('width', 4_000_000_000, 'at most 268435456 pixels'),
        ('height', 3, 'truncated: 12 bytes'),
        ('step', 5, 'image step 5 is smaller'),
        ('step', 4_000_000_000, 'truncated'),
    ],
)
def test_broken_depth_images(name: str, value: object, message: str) -> None:
    image = depth_image('16UC1')
    setattr(image, name, value)
    with pytest.raises(ImageError, match=message):
        read_depth(image)


@pytest.mark.parametrize(
    ('surplus', 'is_read'), [(1, True), (2, False), (3, False), (13, True), (17, False)]
)
def test_depth_that_is_longer_than_declared(surplus: int, is_read: bool) -> None:
    """Refused where the rows may lie further apart, the last one padded or not, or by a row."""
    depth = np.arange(12, dtype='<f4').reshape(3, 4)
    message = Image(height=3, width=4, encoding='32FC1', step=16)
    message.data.frombytes(depth.tobytes() + bytes(surplus))
    remarks: list[str] = []
    if is_read:
        np.testing.assert_array_equal(read_depth(message, remark=remarks.append), depth)
        assert f'{surplus} bytes longer' in remarks[0]
    else:
        with pytest.raises(ImageError, match='too long'):
            read_depth(message, remark=remarks.append)
