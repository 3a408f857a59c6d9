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

"""Data that is longer or shorter than declared: the right pixels, or none."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.ros.messages.depth import read_depth
from uhr_seg_ros.ros.messages.images import view_image

HEIGHT, WIDTH = 108, 148
TO_BGR = {'nv12': cv2.COLOR_YUV2BGR_NV12, 'nv21': cv2.COLOR_YUV2BGR_NV21}
#: Encoding -> bytes of a pixel.
PACKED = {
    'mono8': 1,
    'bgr8': 3,
    'rgb8': 3,
    'bgra8': 4,
    'mono16': 2,
    'rgb16': 6,
    'bayer_rggb8': 1,
    'bayer_gbrg16': 2,
    'yuv422': 2,
    'yuv422_yuy2': 2,
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def message_of(data: np.ndarray | bytes, encoding: str, step: int, **fields: int) -> Image:
    message = Image(encoding=encoding, height=HEIGHT, width=WIDTH, step=step, **fields)
    message.data.frombytes(bytes(data))
    return message


def read(message: Image) -> tuple[np.ndarray, list[str]]:
    remarks: list[str] = []
    return view_image(message, remarks.append).bgr, remarks


def check(message: Image, plain: Image, *, remarks: int) -> None:
    """Check that two messages hold the same picture, and what is told about the first."""
    (image, told), (expected, nothing) = read(message), read(plain)
    np.testing.assert_array_equal(image, expected)
    assert (len(told), nothing) == (remarks, [])


@pytest.mark.parametrize('encoding', PACKED)
def test_packed(encoding: str) -> None:
    row = WIDTH * PACKED[encoding]
    pixels = noise(HEIGHT, row)
    plain = message_of(pixels, encoding, row)
    more = noise(8 * row).tobytes()
    data = pixels.tobytes()

    def longer(count: int) -> Image:
        return message_of(data + more[:count], encoding, row)

    for count in (1, HEIGHT // 2, row - 1):  # a buffer that is a little too long
        check(longer(count), plain, remarks=1)
    check(longer(4 * row), plain, remarks=1)  # 112 rows
    with pytest.raises(ImageError, match='too long'):
        view_image(longer(8 * row))  # 116, which nothing aligns to
    with pytest.raises(ImageError, match='truncated'):
        view_image(message_of(data[:-1], encoding, row))
    with pytest.raises(ImageError, match='smaller than'):
        view_image(message_of(data, encoding, row - 1))
    with pytest.raises(ImageError, match='truncated'):
        view_image(message_of(data, encoding, 2**32 - 1))


@pytest.mark.parametrize('encoding', PACKED)
def test_packed_rows_further_apart_than_step(encoding: str) -> None:
    row = WIDTH * PACKED[encoding]
    for padding in (1, 2, 16, 112):
        padded = np.pad(noise(HEIGHT, row), ((0, 0), (0, padding)))
        with pytest.raises(ImageError, match=f'step between its rows: {row + padding} bytes'):
            view_image(message_of(padded, encoding, row))
        with pytest.raises(ImageError, match='too long'):  # the last padding may be absent
            view_image(message_of(padded.tobytes()[:-padding], encoding, row))


@pytest.mark.parametrize('times', [1.25, 1.5, 2, 3, 4])
@pytest.mark.parametrize('encoding', PACKED)
def test_more_bytes_per_pixel_than_the_encoding_has(encoding: str, times: float) -> None:
    row = WIDTH * PACKED[encoding]
    for height in (4, 16, 48, HEIGHT, 1080):
        message = message_of(bytes(int(row * height * times)), encoding, row)
        message.height = height
        with pytest.raises(ImageError, match='too long'):
            view_image(message)


@pytest.mark.parametrize('encoding', ['mono8', '8UC1', 'mono16', 'bayer_rggb8'])
def test_a_step_for_more_bytes_per_pixel(encoding: str) -> None:
    row = WIDTH * (2 if '16' in encoding else 1)
    pixels = noise(HEIGHT, 4 * row)
    for times in (3, 4):
        with pytest.raises(ImageError, match=f'step {times * row} is {times} times a row'):
            view_image(message_of(pixels[:, : times * row], encoding, times * row))
    # One of two cameras side by side.
    half = message_of(pixels[:, : 2 * row], encoding, 2 * row)
    check(half, message_of(pixels[:, :row], encoding, row), remarks=1)
    check(
        message_of(pixels[:, : 2 * row + 1], encoding, 2 * row + 1),
        message_of(pixels[:, :row], encoding, row),
        remarks=0,
    )


def planar(luma: np.ndarray, chroma: np.ndarray, *, below: int = 0, last: int = 0) -> bytes:
    """Return two planes with rows of garbage below them."""
    parts = [luma, noise(below, luma.shape[1]), chroma, noise(last, luma.shape[1])]
    return b''.join(part.tobytes() for part in parts)


@pytest.mark.parametrize('padding', [0, 16])
@pytest.mark.parametrize('encoding', TO_BGR)
def test_planes_with_aligned_rows(encoding: str, padding: int) -> None:
    planes = noise(HEIGHT * 3 // 2, WIDTH)
    expected = cv2.cvtColor(planes, TO_BGR[encoding])
    padded = np.pad(planes, ((0, 0), (0, padding)), constant_values=77)
    luma, chroma, step = padded[:HEIGHT], padded[HEIGHT:], WIDTH + padding

    def image(**more: int) -> tuple[np.ndarray, list[str]]:
        return read(message_of(planar(luma, chroma, **more), encoding, step))

    for below, last in ((0, 0), (4, 2), (4, 0), (20, 10), (20, 0), (0, 2)):
        found, told = image(below=below, last=last)
        np.testing.assert_array_equal(found, expected, err_msg=f'{below} {last}')
        assert len(told) == bool(below or last)
    for below, last in ((1, 0), (0, 1), (6, 3), (4, 5), (0, 10), (36, 18), (54, 0), (108, 54)):
        with pytest.raises(ImageError, match='too long'):
            image(below=below, last=last)
    with pytest.raises(ImageError, match='truncated'):
        view_image(message_of(planar(luma, chroma)[: -padding - 1], encoding, step))


def test_planes_of_full_hd_with_aligned_rows() -> None:
    planes = noise(1620, 64)
    data = planar(planes[:1080], planes[1080:], below=8, last=4)
    message = Image(encoding='nv12', height=1080, width=64, step=64)
    message.data.frombytes(data)
    np.testing.assert_array_equal(read(message)[0], cv2.cvtColor(planes, TO_BGR['nv12']))


def test_no_height_is_read_from_the_wrong_row() -> None:
    # Every row of the luma has its number, the chroma is grey, so a wrong place is a wrong value.
    for height in range(16, 200, 2):
        numbers = np.arange(height, dtype=np.uint8)[:, None].repeat(46, 1)
        gray, message = np.full((height // 2, 46), 128, np.uint8), Image(encoding='nv12')
        expected = cv2.cvtColor(np.vstack((numbers, gray)), TO_BGR['nv12'])
        message.height, message.width, message.step = height, 46, 46
        for to in (2, 4, 8, 16, 32, 64):
            luma = -(-height // to) * to
            for rows in {height // 2, luma // 2, -(-height // 2 // to) * to}:
                parts = (
                    numbers,
                    bytes((luma - height) * 46),
                    gray,
                    bytes((rows - height // 2) * 46),
                )
                message.data = b''.join(map(bytes, parts))
                try:
                    np.testing.assert_array_equal(read(message)[0], expected)
                except ImageError:
                    assert (luma, rows) not in ((height, height // 2), (112, 56))


def test_planes_that_may_be_aligned_or_padded_are_refused() -> None:
    # 168 rows of 216 bytes are as much as 162 rows of 224.
    message = Image(encoding='nv12', height=108, width=216, step=216, data=bytes(168 * 216))
    with pytest.raises(ImageError, match='224 bytes'):
        view_image(message)


def test_full_chroma_with_aligned_rows() -> None:
    luma, chroma = noise(HEIGHT, WIDTH), noise(2 * HEIGHT, WIDTH)[::-1].copy()
    plain = message_of(planar(luma, chroma), 'nv24', WIDTH)
    check(message_of(planar(luma, chroma, below=4, last=8), 'nv24', WIDTH), plain, remarks=1)
    check(message_of(planar(luma, chroma, below=4), 'nv24', WIDTH), plain, remarks=1)
    with pytest.raises(ImageError, match='too long'):
        view_image(message_of(planar(luma, chroma, below=7), 'nv24', WIDTH))


def test_a_jpeg_in_the_place_of_pixels() -> None:
    stored = cv2.imencode('.jpg', noise(HEIGHT, WIDTH, 3))[1].tobytes()
    data = stored.ljust(HEIGHT * WIDTH * 3, b'\0')
    for encoding in ('rgb8', 'mjpeg'):
        with pytest.raises(ImageError, match='holds a JPEG: let the driver decode it'):
            view_image(message_of(data, encoding, 3 * WIDTH))
    other = message_of(stored, 'bgr8', 3 * WIDTH)
    other.width, other.height, other.step = 2 * WIDTH, 3 * HEIGHT, 6 * WIDTH
    with pytest.raises(ImageError, match=f'holds a JPEG of {WIDTH} x {HEIGHT}: let the driver'):
        view_image(other)
    pixels = noise(HEIGHT, WIDTH, 3)
    pixels[0, 0] = 0xFF, 0xD8, 0xFF
    np.testing.assert_array_equal(view_image(message_of(pixels, 'bgr8', 3 * WIDTH)).bgr, pixels)


@pytest.mark.parametrize(('each', 'is_told'), [(1, True), (1.5, True), (2, True), (2.5, False)])
def test_data_of_another_encoding_is_not_only_truncated(each: float, is_told: bool) -> None:
    message = Image(encoding='bgr8', height=20, width=30, step=90)
    message.data = bytes(int(20 * 30 * each))
    with pytest.raises(ImageError, match='truncated') as error:
        view_image(message)
    told = f'that is {each:g} bytes for each pixel: if nothing is missing, set the encoding'
    assert (told in str(error.value)) == is_told


def test_one_row() -> None:
    message = Image(encoding='mono8', height=1, width=9, step=2**32 - 1, data=bytes(range(9)))
    np.testing.assert_array_equal(view_image(message).bgr[0, :, 0], range(9))


@pytest.mark.parametrize('change', [lambda d: d + d[:4], lambda d: d + d, lambda d: d[:-1]])
def test_depth_follows_the_same_rule(change: Callable[[bytes], bytes]) -> None:
    depth = np.arange(HEIGHT * WIDTH, dtype='<u2')
    message = message_of(change(depth.tobytes()), '16UC1', 2 * WIDTH)
    if len(message.data) - depth.nbytes == 4:
        np.testing.assert_allclose(read_depth(message).ravel(), depth * 1e-3, rtol=1e-6)
    else:
        with pytest.raises(ImageError, match='too long|truncated'):
            read_depth(message)
