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

"""Frames in the bytes of their cameras, against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.raw_frame import FORMATS, memory_shape, RawFrame

HEIGHT, WIDTH = 6, 8

#: Bytes of a pixel, rows of memory, and how OpenCV itself names the way to BGR; the numbers of
#: the formats in kernels.cu are their places here.
KNOWN = {
    'bgr8': (3, HEIGHT, None),
    'rgb8': (3, HEIGHT, cv2.COLOR_RGB2BGR),
    'bgra8': (4, HEIGHT, cv2.COLOR_BGRA2BGR),
    'rgba8': (4, HEIGHT, cv2.COLOR_RGBA2BGR),
    'mono8': (1, HEIGHT, cv2.COLOR_GRAY2BGR),
    'uyvy': (2, HEIGHT, cv2.COLOR_YUV2BGR_UYVY),
    'yuyv': (2, HEIGHT, cv2.COLOR_YUV2BGR_YUYV),
    'nv12': (1, HEIGHT * 3 // 2, cv2.COLOR_YUV2BGR_NV12),
    'nv21': (1, HEIGHT * 3 // 2, cv2.COLOR_YUV2BGR_NV21),
    'bayer_rggb8': (1, HEIGHT, cv2.COLOR_BayerRGGB2BGR),
    'bayer_bggr8': (1, HEIGHT, cv2.COLOR_BayerBGGR2BGR),
    'bayer_gbrg8': (1, HEIGHT, cv2.COLOR_BayerGBRG2BGR),
    'bayer_grbg8': (1, HEIGHT, cv2.COLOR_BayerGRBG2BGR),
}


def random_array(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_order_of_the_formats() -> None:
    assert tuple(KNOWN) == FORMATS


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('name', KNOWN)
def test_bgr_is_what_opencv_makes(name: str, padding: int) -> None:
    each, rows, code = KNOWN[name]
    assert memory_shape(name, HEIGHT, WIDTH) == (rows, WIDTH * each)
    memory = random_array(rows, WIDTH * each + padding)
    memory.flags.writeable = False
    data = memory[:, : WIDTH * each]
    raw = RawFrame(data, name, HEIGHT, WIDTH)
    pixels = data.copy() if each == 1 else data.reshape(rows, WIDTH, each).copy()
    expected = pixels if code is None else cv2.cvtColor(pixels, code)
    assert raw.bgr.dtype == np.uint8
    np.testing.assert_array_equal(raw.bgr, expected)
    assert np.shares_memory(raw.bgr, memory) == (name == 'bgr8')
    assert raw.bgr is raw.bgr


def test_an_image_is_not_copied() -> None:
    buffer = random_array(HEIGHT, WIDTH + 3, 3)
    buffer.flags.writeable = False
    for image in (buffer, buffer[:, 2:-1], buffer[1:2], buffer[:, :1], buffer[::-1]):
        raw = RawFrame.of_bgr(image)
        assert (raw.format, raw.height, raw.width) == ('bgr8', *image.shape[:2])
        assert raw.data.shape == memory_shape('bgr8', *image.shape[:2])
        np.testing.assert_array_equal(raw.bgr, image)
        assert np.shares_memory(raw.bgr, buffer)


def test_an_image_whose_pixels_lie_apart() -> None:
    buffer = random_array(HEIGHT, 2 * WIDTH, 4)
    planes = random_array(3, HEIGHT, WIDTH).transpose(1, 2, 0)
    for image in (buffer[:, ::2, :3], buffer[:, ::-1, :3], buffer[..., 2::-1], planes):
        np.testing.assert_array_equal(RawFrame.of_bgr(image).bgr, image)


@pytest.mark.parametrize('shape', [(4, 4), (4, 4, 4), (4, 4, 1), (1, 4, 4, 3)])
def test_not_an_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match='expected \\(height, width, 3\\)'):
        RawFrame.of_bgr(np.zeros(shape, np.uint8))


def test_image_of_another_kind() -> None:
    with pytest.raises(ImageError, match=r'the data is float32 \(4, 12\), expected uint8 \(4, 12'):
        RawFrame.of_bgr(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ImageError, match='4x0 px is empty'):
        RawFrame.of_bgr(np.zeros((0, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ('name', 'height', 'width', 'text'),
    [
        ('bgr16', 4, 4, "pixel format 'bgr16' is unknown, known: bgr8, rgb8"),
        ('mono8', 0, 4, 'mono8 frame of 4x0 px is empty: both sides must be at least 1'),
        ('bgr8', 4, -1, 'bgr8 frame of -1x4 px is empty'),
        ('uyvy', 4, 5, 'uyvy frame of 5x4 px has an odd width: chroma is shared by 2 pixels'),
        ('yuyv', 4, 5, 'has an odd width'),
        ('nv12', 4, 5, 'has an odd side: chroma is shared by 2 x 2 pixels'),
        ('nv21', 5, 4, 'has an odd side'),
        ('bayer_rggb8', 2, 4, 'bayer_rggb8 frame of 4x2 px is too small'),
        ('bayer_grbg8', 4, 2, 'a mosaic needs at least 3x3'),
    ],
)
def test_sizes_that_a_format_cannot_have(name: str, height: int, width: int, text: str) -> None:
    with pytest.raises(ImageError) as error:
        RawFrame(np.zeros((4, 4), np.uint8), name, height, width)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ('name', 'height', 'width'),
    [('mono8', 1, 1), ('uyvy', 1, 2), ('nv12', 2, 2), ('bayer_gbrg8', 3, 3), ('rgba8', 1, 3)],
)
def test_smallest_sizes(name: str, height: int, width: int) -> None:
    data = np.full(memory_shape(name, height, width), 128, np.uint8)
    assert RawFrame(data, name, height, width).bgr.shape == (height, width, 3)


@pytest.mark.parametrize('shape', [(6, 8), (9, 7), (8, 9), (9, 8, 1), (72,)])
def test_data_that_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r'nv12 frame of 8x6 px: the data is uint8 \(.*\(9, 8\)'):
        RawFrame(np.zeros(shape, np.uint8), 'nv12', 6, 8)
