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

"""What publishers write into `format`, and what is in the data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io import jpeg
from uhr_seg_ros.image_io.jpeg import damage_is_told
from uhr_seg_ros.ros.messages.compressed import decode_compressed
from uhr_seg_ros.ros.messages.images import view_image

HEIGHT, WIDTH = 20, 28
CHANNELS = {'bgr': 3, 'rgb': 3, 'bgra': 4, 'rgba': 4, 'mono': 1}
#: What image_transport converts to before a codec; TIFF is given the bytes as they are.
CONVERSIONS = {
    'bgr': None,
    'rgb': cv2.COLOR_RGB2BGR,
    'bgra': cv2.COLOR_BGRA2BGR,
    'rgba': cv2.COLOR_RGBA2BGR,
    'mono': None,
}


def noise(name: str, depth: int) -> np.ndarray:
    """Return the pixels of a raw image."""
    dtype = np.uint8 if depth == 8 else np.uint16
    shape = (HEIGHT, WIDTH, CHANNELS[name]) if CHANNELS[name] > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(2).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def raw(array: np.ndarray, encoding: str) -> np.ndarray:
    """Return what the same image is read as when it is not compressed."""
    message = Image(encoding=encoding, height=HEIGHT, width=WIDTH, data=array.tobytes())
    message.step = array.nbytes // HEIGHT
    return view_image(message).bgr


def encode(suffix: str, array: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, array, list(options))[1].tobytes()


def decode(form: str, data: bytes) -> tuple[np.ndarray, list[str]]:
    remarks: list[str] = []
    image = decode_compressed(CompressedImage(format=form, data=data), remarks.append)
    if not damage_is_told():
        remarks = [text for text in remarks if 'simplejpeg' not in text]
    return image, remarks


def publish(encoding: str, codec: str) -> tuple[str, bytes]:
    """Return format and data as image_transport publishes a raw image of noise."""
    name, depth = (encoding[:-1], 8) if encoding.endswith('8') else (encoding[:-2], 16)
    array, target = noise(name, depth), ''
    if codec != 'tiff' and name != 'mono':
        target = f'bgr{depth}'
        if (code := CONVERSIONS[name]) is not None:
            array = cv2.cvtColor(array, code)
    return f'{encoding}; {codec} compressed {target}', encode(f'.{codec}', array)


@pytest.mark.parametrize('depth', [8, 16])
@pytest.mark.parametrize('name', CHANNELS)
@pytest.mark.parametrize('codec', ['png', 'tiff'])
def test_the_same_pixels_as_uncompressed(codec: str, name: str, depth: int) -> None:
    encoding = f'{name}{depth}'
    expected = raw(noise(name, depth), encoding)
    form, data = publish(encoding, codec)
    for text in (form, form.strip(), form.upper()):
        image, remarks = decode(text, data)
        np.testing.assert_array_equal(image, expected)
        assert remarks == []


@pytest.mark.parametrize('name', ['bgr', 'rgb', 'bgra', 'rgba'])
def test_jpeg_of_colors(name: str) -> None:
    smooth = cv2.resize(noise(name, 8)[:3, :3], (WIDTH, HEIGHT))
    code = CONVERSIONS[name]
    bgr = smooth if code is None else cv2.cvtColor(smooth, code)
    data = encode('.jpg', bgr)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    # Scripts and telephones name the order they had before; a JPEG has none.
    forms = [f'{name}8; jpeg compressed {target}' for target in ('bgr8', 'rgb8', '')]
    for form in (*forms, 'jpeg', 'jpg', 'mjpeg', '', 'png', name):
        image, remarks = decode(form, data)
        np.testing.assert_array_equal(image, expected, err_msg=form)
        assert remarks == []


@pytest.mark.parametrize(
    'form',
    [
        'rgb8; png compressed bgr8',
        'rgb8; png compressed ',
        'rgb8; tiff compressed bgr8',
        'bgr8; tiff compressed ',
        '8UC3; tiff compressed ',
        'tiff',
        '',
        'rgb8',
    ],
)
def test_red_and_blue_stay_where_they_are(form: str) -> None:
    bgr = noise('bgr', 8)
    for suffix in ('.png', '.tiff', '.bmp'):
        if 'tiff' in form or suffix != '.tiff':
            np.testing.assert_array_equal(decode(form, encode(suffix, bgr))[0], bgr)


def test_a_name_that_is_not_the_content_swaps_nothing() -> None:
    bgr = noise('bgr', 8)
    form = 'rgb8; tiff compressed '
    np.testing.assert_array_equal(decode(form, encode('.png', bgr))[0], bgr)
    np.testing.assert_array_equal(decode(form, encode('.tiff', bgr))[0], bgr[..., ::-1])


@pytest.mark.parametrize('suffix', ['.png', '.tiff', '.webp'])
def test_alpha_multiplies_no_color(suffix: str) -> None:
    image = noise('bgra', 8)
    image[: HEIGHT // 2, :, 3] = 0
    if suffix == '.webp':
        image[..., 3] = np.maximum(image[..., 3], 1)  # its encoder drops what nobody sees
    lossless = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == '.webp' else ()
    found, _ = decode('png', encode(suffix, image, *lossless))
    np.testing.assert_array_equal(found, image[..., :3])


@pytest.mark.parametrize(
    'form',
    [
        'rgb8; jpeg compressed mono8',
        'yuv422_yuy2; jpeg compressed mono8',
        'bayer_rggb8; jpeg compressed mono8',
        'bgr8; jpeg compressed bgr8',
    ],
)
def test_a_grey_picture_of_a_color_camera_is_told(form: str) -> None:
    gray = cv2.resize(noise('mono', 8)[:3, :3], (WIDTH, HEIGHT))
    data = encode('.jpg', gray)
    image, remarks = decode(form, data)
    assert (image == image[..., :1]).all()
    assert len(remarks) == 1
    assert f'{form!r} holds a gray picture of a color camera' in remarks[0]
    for other in ('mono8; jpeg compressed mono8', 'mono16; jpeg compressed mono8', 'jpeg', ''):
        assert decode(other, data)[1] == []


def test_that_damage_cannot_be_told_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'simplejpeg', None)
    jpeg._simplejpeg.cache_clear()
    try:
        data, remarks = encode('.jpg', noise('bgr', 8)), []
        image = decode_compressed(CompressedImage(format='jpeg', data=data), remarks.append)
        decode_compressed(CompressedImage(data=encode('.png', image)), remarks.append)
    finally:
        jpeg._simplejpeg.cache_clear()
    assert len(remarks) == 1
    assert 'pip install simplejpeg' in remarks[0]


@pytest.mark.parametrize(
    ('form', 'text'),
    [
        ('16UC1; compressedDepth png', 'is depth'),
        ('16UC1; compressedDepth', 'is depth'),
        ('32FC1; tiff compressed ', 'is depth'),
        ('bayer_rggb8; jpeg compressed ', 'is a Bayer mosaic'),
        ('bayer_gbrg16; png compressed ', 'is a Bayer mosaic'),
        ('bayer_rggb8; tiff compressed ', 'is a Bayer mosaic'),
    ],
)
def test_what_is_no_picture_is_refused(form: str, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        decode(form, encode('.png', noise('mono', 8)))


@pytest.mark.parametrize(
    'data',
    [b'\0\0\0\1\x67h264', b'P6 1 1 255 abc', b'GIF89a', b'qoif', b'\xff\x4f\xff\x51'],
)
def test_a_format_whose_header_nobody_reads_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match='like no format that is read .JPEG, PNG, TIFF, BMP'):
        decode('h264', data + bytes(100))


def test_cmyk_is_refused() -> None:
    components = b''.join(bytes([number, 0x11, 0]) for number in range(1, 5))
    frame = b'\xff\xc0\0\x14\x08\0\x10\0\x10\4' + components
    with pytest.raises(ImageError, match='JPEG has CMYK colours'):
        decode('jpeg', b'\xff\xd8' + frame + bytes(100) + b'\xff\xd9')


@pytest.mark.parametrize('is_strict', [True, False])
def test_an_orientation_turns_nothing(monkeypatch: pytest.MonkeyPatch, is_strict: bool) -> None:
    if not is_strict:  # OpenCV would turn it
        monkeypatch.setattr(jpeg, '_simplejpeg', lambda: None)
    data = encode('.jpg', noise('bgr', 8))
    exif = b'Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0'
    turned = data[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + data[2:]
    shown = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (WIDTH, HEIGHT, 3)
    found = decode('jpeg', turned)[0]
    np.testing.assert_array_equal(found, decode('jpeg', data)[0])
    np.testing.assert_array_equal(found, cv2.rotate(shown, cv2.ROTATE_90_COUNTERCLOCKWISE))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))


def huge_png(side: int) -> bytes:
    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        (chunk(b'IHDR', header), chunk(b'IDAT', zlib.compress(bytes(10_000))), chunk(b'IEND', b''))
    )


def huge_tiff(side: int, bits: int = 8) -> bytes:
    array = np.zeros((16, 16), np.uint8 if bits == 8 else np.uint16)
    data = bytearray(encode('.tiff', array))
    for tag in (256, 257, 278):
        entry = struct.pack('<H', tag)
        at = next(at for at in range(8, len(data)) if data[at : at + 2] == entry)
        struct.pack_into('<HI', data, at + 2, 4, 1)
        struct.pack_into('<I', data, at + 8, side)
    return bytes(data)


def huge_bmp(side: int) -> bytes:
    data = bytearray(encode('.bmp', np.zeros((16, 16, 3), np.uint8)))
    struct.pack_into('<ii', data, 18, side, side)
    return bytes(data)


def huge_webp(side: int) -> bytes:
    black = np.zeros((16, 16, 3), np.uint8)
    body = bytearray(encode('.webp', black, cv2.IMWRITE_WEBP_QUALITY, 80))
    at = body.index(b'\x9d\x01\x2a')
    struct.pack_into('<HH', body, at + 3, side & 0x3FFF, side & 0x3FFF)
    return bytes(body)


@pytest.mark.parametrize(
    ('make', 'side'),
    [
        *product(
            (huge_png, huge_tiff, lambda side: huge_tiff(side, 16), huge_bmp), (16_383, 17_000)
        ),
        (huge_webp, 16_383),
    ],
)
def test_a_small_file_with_a_huge_picture(make: Callable[[int], bytes], side: int) -> None:
    data = make(side)
    assert len(data) < 2000
    with pytest.raises(ImageError, match='at most 268435456 pixels' if side > 1 << 14 else None):
        decode('png', data)


@pytest.mark.parametrize(
    ('suffix', 'depth'),
    [*product(('.png', '.tiff'), (8, 16)), ('.bmp', 8), ('.webp', 8), ('.jpg', 8)],
)
def test_cut_short(suffix: str, depth: int) -> None:
    data = encode(suffix, noise('bgr', depth))
    for size in (0, 1, 5, 30, len(data) // 2, len(data) - len(data) // 8):
        with pytest.raises(ImageError):
            decode('rgb8; tiff compressed ', data[:size])
