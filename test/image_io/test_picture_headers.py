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

"""Sizes from headers."""

from __future__ import annotations

from pathlib import Path

import cv2
from making import write
import numpy as np
import pytest

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.headers import image_size

IMAGE = np.zeros((37, 53, 3), np.uint8)


@pytest.mark.parametrize('name', ['a.png', 'a.jpg', 'a.JPEG', 'a.bmp', 'a.webp', 'a.tif'])
def test_sizes(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, IMAGE)
    assert image_size(tmp_path / name) == (37, 53)


def test_progressive_jpeg_with_a_thumbnail_before_it(tmp_path: Path) -> None:
    thumbnail = cv2.imencode('.jpg', IMAGE[:8, :8])[1].tobytes()
    data = cv2.imencode('.jpg', IMAGE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    path = tmp_path / 'a.jpg'
    tables = b'\xff\xc4\0\x09' + bytes(7)
    # A byte of filling stands before the segment, which the format allows.
    path.write_bytes(data[:2] + b'\xff' + segment + tables + data[2:])
    assert image_size(path) == (37, 53)


def test_only_the_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    write(path, IMAGE)
    path.write_bytes(path.read_bytes()[:24])
    assert image_size(path) == (37, 53)


@pytest.mark.parametrize(
    'data', [b'no image', b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff\xe0\0\x04ab', b'\xff\xd8abcd']
)
def test_damaged(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / 'a.png'
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r'a\.png cannot be read: .* (header|begin like no)'):
        image_size(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r'a\.png cannot be read: No such file'):
        image_size(tmp_path / 'a.png')
