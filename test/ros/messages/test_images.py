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

"""Every encoding against OpenCV, and messages that are broken."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.raw_frame import FORMATS, memory_shape
from uhr_seg_ros.ros.messages.compressed import decode_compressed
from uhr_seg_ros.ros.messages.images import encode_image, view_image

HEIGHT, WIDTH = 6, 8

TO_BGR = {
    'bgr': None,
    'rgb': cv2.COLOR_RGB2BGR,
    'bgra': cv2.COLOR_BGRA2BGR,
    'rgba': cv2.COLOR_RGBA2BGR,
    'mono': cv2.COLOR_GRAY2BGR,
    'bayer_rggb': cv2.COLOR_BayerRGGB2BGR,
    'bayer_bggr': cv2.COLOR_BayerBGGR2BGR,
    'bayer_gbrg': cv2.COLOR_BayerGBRG2BGR,
    'bayer_grbg': cv2.COLOR_BayerGRBG2BGR,
}
CHANNELS = {'bgr': 3, 'rgb': 3, 'bgra': 4, 'rgba': 4}
ALIASES = {'UC1': 'mono', 'UC3': 'bgr', 'UC4': 'bgra'}
PACKED = {f'{name}{depth}': (name, depth) for name in TO_BGR for depth in (8, 16)} | {
    f'{depth}{alias}': (name, depth) for alias, name in ALIASES.items() for depth in (8, 16)
}


def random_array(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, True)


def message_of(
    rows: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False
) -> Image:
    """Return a message whose rows (H, bytes) are followed by padding."""
    message = Image(encoding=encoding, height=HEIGHT, width=WIDTH, is_bigendian=big_endian)
    message.step = rows.shape[1] + padding
    padded = np.full((len(rows), message.step), 77, np.uint8)
    padded[:, : rows.shape[1]] = rows
    message.data.frombytes(padded.tobytes())
    return message


def as_bytes(array: np.ndarray, big_endian: bool = False) -> np.ndarray:
    """Return (H, bytes) of an array as it lies in memory."""
    ordered = array.astype(array.dtype.newbyteorder('>' if big_endian else '<'))
    return np.frombuffer(ordered.tobytes(), np.uint8).reshape(len(array), -1)


def reference(array: np.ndarray, name: str) -> np.ndarray:
    eight_bit = array if array.dtype == np.uint8 else np.round(array / 257.0).astype(np.uint8)
    return eight_bit if TO_BGR[name] is None else cv2.cvtColor(eight_bit, TO_BGR[name])


@pytest.mark.parametrize('padding', [0, 6, 7])
@pytest.mark.parametrize('encoding', PACKED)
def test_packed_encodings(encoding: str, padding: int) -> None:
    name, depth = PACKED[encoding]
    shape = (HEIGHT, WIDTH, CHANNELS[name]) if name in CHANNELS else (HEIGHT, WIDTH)
    array = random_array(*shape, dtype=np.uint8 if depth == 8 else np.uint16)
    for big_endian in (False, True):
        message = message_of(as_bytes(array, big_endian), encoding, padding, big_endian)
        image = view_image(message).bgr
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, reference(array, name), err_msg=str(big_endian))


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize(
    ('encoding', 'code'),
    [
        ('yuv422', cv2.COLOR_YUV2BGR_UYVY),
        ('uyvy', cv2.COLOR_YUV2BGR_UYVY),
        ('yuv422_yuy2', cv2.COLOR_YUV2BGR_YUY2),
        ('yuyv', cv2.COLOR_YUV2BGR_YUY2),
    ],
)
def test_interleaved_chroma(encoding: str, code: int, padding: int) -> None:
    array = random_array(HEIGHT, WIDTH, 2)
    image = view_image(message_of(as_bytes(array), encoding, padding)).bgr
    np.testing.assert_array_equal(image, cv2.cvtColor(array, code))


@pytest.mark.parametrize('padding', [0, 8])
@pytest.mark.parametrize(
    ('encoding', 'code'), [('nv12', cv2.COLOR_YUV2BGR_NV12), ('nv21', cv2.COLOR_YUV2BGR_NV21)]
)
def test_chroma_plane(encoding: str, code: int, padding: int) -> None:
    planes = random_array(HEIGHT * 3 // 2, WIDTH)
    image = view_image(message_of(planes, encoding, padding)).bgr
    np.testing.assert_array_equal(image, cv2.cvtColor(planes, code))


def test_full_chroma_plane_agrees_with_the_subsampled_one() -> None:
    luma = random_array(HEIGHT, WIDTH)
    chroma = random_array(HEIGHT // 2, WIDTH // 2, 2)
    nv12 = view_image(message_of(np.vstack((luma, chroma.reshape(-1, WIDTH))), 'nv12')).bgr
    full = chroma.repeat(2, 0).repeat(2, 1).reshape(-1, WIDTH)
    nv24 = view_image(message_of(np.vstack((luma, full)), 'nv24')).bgr
    np.testing.assert_array_equal(nv24, nv12)


def test_bgr8_is_a_view_of_the_message() -> None:
    message = message_of(as_bytes(random_array(HEIGHT, WIDTH, 3)), 'bgr8', padding=5)
    image = view_image(message).bgr
    assert np.shares_memory(image, np.frombuffer(message.data, np.uint8))
    assert image.strides == (WIDTH * 3 + 5, 3, 1)


@pytest.mark.parametrize(
    ('encoding', 'name'),
    [
        *zip(FORMATS, FORMATS, strict=True),
        ('8UC1', 'mono8'),
        ('8UC3', 'bgr8'),
        ('8UC4', 'bgra8'),
        ('yuv422', 'uyvy'),
        ('yuv422_yuy2', 'yuyv'),
    ],
)
def test_bytes_of_the_camera_are_not_touched(encoding: str, name: str) -> None:
    rows, row_bytes = memory_shape(name, HEIGHT, WIDTH)
    memory = random_array(rows, row_bytes)
    message = message_of(memory, encoding, padding=5)
    raw = view_image(message)
    assert (raw.format, raw.height, raw.width) == (name, HEIGHT, WIDTH)
    assert np.shares_memory(raw.data, np.frombuffer(message.data, np.uint8))
    assert raw.data.strides == (row_bytes + 5, 1)
    np.testing.assert_array_equal(raw.data, memory)


@pytest.mark.parametrize(
    ('encoding', 'name'), [('mono16', 'mono8'), ('rgb16', 'rgb8'), ('bayer_gbrg16', 'bayer_gbrg8')]
)
def test_deep_pixels_keep_their_order(encoding: str, name: str) -> None:
    _, row_bytes = memory_shape(name, HEIGHT, WIDTH)
    deep = random_array(HEIGHT, row_bytes, dtype=np.uint16)
    raw = view_image(message_of(as_bytes(deep), encoding))
    assert raw.format == name
    np.testing.assert_array_equal(raw.data, np.round(deep / 257.0))


def test_padding_after_the_last_row_may_be_absent() -> None:
    array = random_array(HEIGHT, WIDTH, 3)
    message = message_of(as_bytes(array), 'bgr8', padding=5)
    del message.data[-5:]
    np.testing.assert_array_equal(view_image(message).bgr, array)


@pytest.mark.parametrize(
    ('array', 'encoding'),
    [
        (random_array(HEIGHT, WIDTH), 'mono8'),
        (random_array(HEIGHT, WIDTH, dtype=np.uint16), 'mono16'),
        (random_array(HEIGHT, 2 * WIDTH, 3)[:, ::2], 'bgr8'),
    ],
)
def test_encode_image(array: np.ndarray, encoding: str) -> None:
    header = Header(frame_id='camera')
    message = encode_image(array, encoding, header)
    assert message.header is header
    assert (message.height, message.width, message.encoding) == (HEIGHT, WIDTH, encoding)
    assert message.step * HEIGHT == len(message.data) == array.nbytes
    assert message.is_bigendian == (sys.byteorder == 'big')
    np.testing.assert_array_equal(np.frombuffer(message.data, array.dtype), array.ravel())
    if array.dtype == np.uint8 and array.ndim == 3:
        np.testing.assert_array_equal(view_image(message).bgr, array)


def broken(**changes: object) -> Image:
    message = message_of(as_bytes(random_array(HEIGHT, WIDTH, 3)), 'bgr8')
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (broken(width=0), "image is 0 x 6 'bgr8': width and height must be at least 1"),
        (broken(height=0), "image is 8 x 0 'bgr8'"),
        (broken(width=1 << 31, height=1 << 31), 'at most 268435456 pixels are accepted'),
        (broken(step=23), 'step 23 is smaller than width 8 x 3 channels x 1 byte = 24 bytes'),
        (broken(step=0), 'step 0 is smaller than'),
        (broken(data=b'short'), "truncated: 5 bytes, but 8 x 6 'bgr8' with step 24 needs 144"),
        (broken(height=7), 'truncated: 144 bytes'),
        (broken(encoding='nv12', step=8, data=bytes(71)), 'truncated: 71 bytes'),
        (broken(encoding='nv24', step=8, data=bytes(143)), 'with step 8 needs 144'),
        (broken(encoding='nv24', step=8, data=bytes(72)), 'truncated: 72 bytes'),
        (broken(encoding='bgr9'), "encoding 'bgr9' is not one of"),
        (broken(encoding=''), "encoding '' is not one of"),
        (broken(encoding='nv12', width=7), 'has an odd side'),
        (broken(encoding='uyvy', width=5), 'could not be converted to bgr8'),
        (broken(encoding='yuv422', width=5), "image 5 x 6 'yuv422' could not be converted"),
        (broken(encoding='uyvy', width=5), 'has an odd width: chroma is shared by 2 pixels'),
        (broken(encoding='bayer_rggb8', width=2), 'a mosaic needs at least 3x3'),
        (broken(encoding='nv21', step=7), 'step 7 is smaller than width 8'),
    ],
)
def test_broken_image(message: Image, text: str) -> None:
    with pytest.raises(ImageError) as error:
        view_image(message)
    assert text in str(error.value)


def test_one_pixel() -> None:
    for encoding in PACKED:
        message = Image(encoding=encoding, height=1, width=1, step=16, data=bytes(16))
        try:
            assert view_image(message).bgr.shape == (1, 1, 3)
        except ImageError:  # colours come from neighbours
            assert 'bayer' in encoding


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_compressed(suffix: str) -> None:
    array = cv2.resize(random_array(4, 4, 3), (32, 24))
    _, data = cv2.imencode(suffix, array)
    message = CompressedImage(format=f'bgr8; {suffix[1:]} compressed bgr8', data=data.tobytes())
    np.testing.assert_array_equal(decode_compressed(message), cv2.imdecode(data, cv2.IMREAD_COLOR))


def test_gray_compressed_becomes_bgr() -> None:
    array = random_array(4, 4)
    _, data = cv2.imencode('.png', array)
    found = decode_compressed(CompressedImage(format='png', data=data.tobytes()))
    np.testing.assert_array_equal(found, np.dstack([array] * 3))


def jpeg() -> bytes:
    return cv2.imencode('.jpg', random_array(64, 64, 3))[1].tobytes()


@pytest.mark.parametrize(
    ('form', 'data', 'text'),
    [
        ('jpeg', b'', '(0 bytes'),
        ('jpeg', b'no picture at all', "(17 bytes, format 'jpeg') could not be decoded"),
        ('jpeg', jpeg()[:-1000], 'its end marker is missing'),
        ('jpeg', jpeg()[:20] + b'\xff\xd9', 'could not be decoded'),
        ('16UC1; compressedDepth png', b'', "'16UC1; compressedDepth png' is depth"),
        ('bayer_rggb8; png compressed', b'', 'is a Bayer mosaic'),
    ],
)
def test_broken_compressed(form: str, data: bytes, text: str) -> None:
    with pytest.raises(ImageError) as error:
        decode_compressed(CompressedImage(format=form, data=data))
    assert text in str(error.value)


def test_exotic_encoding_goes_through_cv_bridge() -> None:
    pytest.importorskip('cv_bridge', reason='cv_bridge comes with a ROS installation')
    message = message_of(as_bytes(random_array(HEIGHT, WIDTH, 3)), '8SC3')
    assert view_image(message).bgr.shape == (HEIGHT, WIDTH, 3)


def test_full_chroma_plane_with_padding() -> None:
    luma, chroma = random_array(HEIGHT, WIDTH), random_array(HEIGHT, 2 * WIDTH)
    padded = Image(height=HEIGHT, width=WIDTH, encoding='nv24', step=WIDTH + 4)
    rows = np.pad(luma, ((0, 0), (0, 4))).tobytes() + np.pad(chroma, ((0, 0), (0, 8))).tobytes()
    padded.data = rows
    plain = message_of(np.vstack((luma, chroma.reshape(-1, WIDTH))), 'nv24')
    np.testing.assert_array_equal(view_image(padded).bgr, view_image(plain).bgr)


def test_jpeg_in_a_buffer_that_is_too_long() -> None:
    data = cv2.imencode('.jpg', random_array(HEIGHT, WIDTH, 3))[1].tobytes()
    padded = CompressedImage(format='jpeg', data=data + bytes(5000))
    plain = CompressedImage(format='jpeg', data=data)
    np.testing.assert_array_equal(decode_compressed(padded), decode_compressed(plain))
