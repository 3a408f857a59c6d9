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

"""JPEGs that are whole, in whatever buffer they lie, and those that only look so."""

from __future__ import annotations

from collections.abc import Iterator
import re
import sys

import cv2
import numpy as np
import pytest

from uhr_seg_ros.image_io import jpeg
from uhr_seg_ros.image_io.jpeg import damage_is_told, decode_jpeg
from uhr_seg_ros.image_io.jpeg_scans import find_end
from uhr_seg_ros.image_io.jpeg_structure import (
    JpegError,
    PROGRESSIVE,
    read_header,
    segments,
    SOS,
)

told = pytest.mark.skipif(not damage_is_told(), reason='simplejpeg is not installed')

HEIGHT, WIDTH = 61, 83
SAMPLINGS = {'444': 0x111111, '422': 0x211111, '420': 0x221111, '411': 0x411111, '440': 0x121111}


def picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    small = np.random.default_rng(3).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def encode(image: np.ndarray, **options: int) -> bytes:
    flags = [
        part
        for name, value in options.items()
        for part in (getattr(cv2, f'IMWRITE_JPEG_{name}'), value)
    ]
    return cv2.imencode('.jpg', image, flags)[1].tobytes()


def expected(data: bytes) -> np.ndarray:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def before(data: bytes, marker: int, added: bytes) -> bytes:
    """Return a JPEG with bytes before the first segment of a kind."""
    at = data.index(bytes([0xFF, marker]))
    return data[:at] + added + data[at:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, 'big') + body


def without(data: bytes, marker: int) -> bytes:
    parts = [data[each.at : each.end] for each in segments(data) if each.marker != marker]
    return data[:2] + b''.join(parts)


PLAIN = encode(picture())
RESTARTS = encode(picture(), RST_INTERVAL=1)
PROGRESSIVES = encode(picture(), PROGRESSIVE=1)
NOISE = encode(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8))


@pytest.fixture
def without_simplejpeg(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, 'simplejpeg', None)
    jpeg._simplejpeg.cache_clear()
    yield
    jpeg._simplejpeg.cache_clear()


@pytest.mark.parametrize('restarts', [0, 3])
@pytest.mark.parametrize('progressive', [0, 1])
@pytest.mark.parametrize('sampling', SAMPLINGS)
def test_the_pixels_are_those_of_opencv(sampling: str, progressive: int, restarts: int) -> None:
    data = encode(
        picture(),
        SAMPLING_FACTOR=SAMPLINGS[sampling],
        PROGRESSIVE=progressive,
        RST_INTERVAL=restarts,
    )
    assert find_end(data) == len(data)
    np.testing.assert_array_equal(decode_jpeg(data), expected(data))


@pytest.mark.parametrize('more', [bytes(70_000), b'\1\2\3' * 700, b'\xff\xd9', b'\xff', NOISE])
@pytest.mark.parametrize('data', [PLAIN, RESTARTS, PROGRESSIVES], ids=['', 'rst', 'progressive'])
def test_what_follows_is_ignored(data: bytes, more: bytes) -> None:
    assert find_end(data + more) == len(data)
    np.testing.assert_array_equal(decode_jpeg(data + more), expected(data))


@pytest.mark.usefixtures('without_simplejpeg')
def test_without_simplejpeg_the_bounds_are_the_same() -> None:
    assert not damage_is_told()
    np.testing.assert_array_equal(decode_jpeg(PLAIN + bytes(70_000)), expected(PLAIN))
    for cut in (PLAIN[:-2], PLAIN[:-2] + bytes(3000), PROGRESSIVES[:-2]):
        with pytest.raises(JpegError, match='end marker is missing'):
            decode_jpeg(cut)


@pytest.mark.parametrize('filler', [b'\0', b'\xff'])
def test_one_that_is_padded_is_not_called_truncated_alone(filler: bytes) -> None:
    cut = len(PLAIN) - 2
    with pytest.raises(JpegError) as error:
        decode_jpeg(PLAIN[:-2] + 3000 * filler)
    assert f'JPEG of {cut} bytes is padded to {cut + 3000}' in str(error.value)
    for data in (PLAIN[:-2], PLAIN[:-300]):
        with pytest.raises(JpegError, match=f'JPEG of {len(data)} bytes is truncated'):
            decode_jpeg(data)


@told
def test_padding_before_the_end_marker_is_named() -> None:
    with pytest.raises(JpegError, match='that no pixels take: padding belongs behind the marker'):
        decode_jpeg(PLAIN[:-2] + bytes(500) + PLAIN[-2:])
    with pytest.raises(JpegError, match='is damaged: '):
        decode_jpeg(PLAIN[:-300] + PLAIN[-2:])


def test_an_end_marker_in_a_thumbnail_is_none() -> None:
    data = PLAIN[:2] + segment(0xE1, b'Exif\0\0' + encode(picture(8, 8))) + PLAIN[2:]
    assert find_end(data) == len(data)
    np.testing.assert_array_equal(decode_jpeg(data), expected(data))
    for cut in (data[:-2], data[: len(data) // 2], data[:-2] + bytes(100)):
        with pytest.raises(JpegError, match='end marker is missing'):
            decode_jpeg(cut)


def test_every_cut_is_found() -> None:
    for data in (encode(picture(16, 16)), encode(picture(16, 16), PROGRESSIVE=1)):
        for size in range(len(data)):
            with pytest.raises(JpegError):
                decode_jpeg(data[:size])


@pytest.mark.parametrize('missing', [2, 300])
def test_the_beginning_of_the_next_picture_is_no_end(missing: int) -> None:
    with pytest.raises(JpegError, match='end marker'):
        decode_jpeg(PLAIN[:-missing] + PLAIN)


@told
@pytest.mark.parametrize('fill', [b'', bytes(1400), b'\xff' * 1400, b'\xff\xd8' * 10])
@pytest.mark.parametrize('data', [NOISE, encode(picture(480, 640), RST_INTERVAL=7)])
def test_a_hole_with_an_end_marker_behind_it(data: bytes, fill: bytes) -> None:
    middle = len(data) // 2
    with pytest.raises(JpegError):
        decode_jpeg(data[:middle] + fill + data[middle + 1400 :])


@told
@pytest.mark.parametrize('size', [0.3, 0.95])
def test_an_end_marker_after_half_a_picture(size: float) -> None:
    with pytest.raises(JpegError, match='premature end'):
        decode_jpeg(NOISE[: int(size * len(NOISE))] + b'\xff\xd9')


def test_missing_scans_are_found() -> None:
    scans = [each for each in segments(PROGRESSIVES) if each.marker == SOS]
    assert len(scans) > 5
    for scan in scans[1:]:
        with pytest.raises(JpegError, match='scans of component'):
            decode_jpeg(PROGRESSIVES[: scan.at] + b'\xff\xd9')


@pytest.mark.parametrize(
    'data',
    [
        before(PLAIN, 0xDB, b'\0\0\0'),
        before(PLAIN, SOS, b'\x11\x22'),
        before(PLAIN, SOS, b'\xff\xff\xff'),
        PLAIN[:-2] + bytes(13) + PLAIN[-2:],
        PLAIN[:-2] + b'\xff' * 13 + PLAIN[-2:],
        PLAIN[:-2] + b'\x5a' * 13 + PLAIN[-2:],
        PLAIN[:2] + PLAIN,
        PLAIN.replace(b'JFIF\0\1', b'JFIF\0\7'),
        PLAIN.replace(b'\0\x3f\0', b'\0\0\0', 1),
        PLAIN[:2] + segment(0xEE, b'Adobe\0\x64\0\0\0\0\7') + without(PLAIN, 0xE0)[2:],
        PLAIN[:2] + segment(0xFE, b'a comment \xff\xd9') + PLAIN[2:],
        before(PLAIN, 0xDB, b'\0\0')[:-2] + bytes(9) + PLAIN[-2:],
    ],
    ids=[
        'junk before a table',
        'junk before the scan',
        'fill bytes',
        'aligned',
        'filled',
        'left over',
        'two beginnings',
        'version',
        'scan parameters',
        'adobe',
        'comment',
        'two things',
    ],
)
def test_what_costs_no_pixel_costs_no_frame(data: bytes) -> None:
    assert data != PLAIN
    np.testing.assert_array_equal(decode_jpeg(data), expected(PLAIN))


@told
@pytest.mark.parametrize('added', [bytes(400), b'\x5a' * 40])
def test_bytes_that_were_left_over_are_damage(added: bytes) -> None:
    with pytest.raises(JpegError, match='extraneous'):
        decode_jpeg(PLAIN[:-2] + added + PLAIN[-2:])


def with_left_over(data: bytes, left: bytes) -> bytes:
    """Return a JPEG with bytes before every restart marker, as Logitech's webcams send them."""
    scan = next(each for each in segments(data) if each.marker == SOS)
    entropy = data[scan.entropy : scan.end]
    entropy = re.sub(b'(\xff[\xd0-\xd7])', lambda found: left + found[1], entropy)
    return data[: scan.entropy] + entropy + data[scan.end :]


@pytest.mark.parametrize('left', [b'\x5a', b'\0\0', b'\x12\x34\x56\x78\x9a'])
def test_webcams_that_leave_bytes_before_restarts(left: bytes) -> None:
    data, notes = with_left_over(RESTARTS, left), []
    np.testing.assert_array_equal(decode_jpeg(data, note=notes.append), expected(RESTARTS))
    assert len(notes) == damage_is_told()
    if damage_is_told():
        places = [found.start() for found in re.finditer(b'\xff[\xd0-\xd7]', data)]
        one, eight = (data[: places[3]] + data[places[3 + count] :] for count in (1, 8))
        for bad in (one, eight, with_left_over(RESTARTS, 20 * left)):
            with pytest.raises(JpegError, match='damaged'):
                decode_jpeg(bad)


def test_motion_jpeg_without_its_tables() -> None:
    bare = without(PLAIN, 0xC4)
    assert len(bare) < len(PLAIN)
    np.testing.assert_array_equal(decode_jpeg(bare), expected(PLAIN))


def test_grey() -> None:
    data = encode(picture()[..., 0])
    assert len(read_header(data).components) == 1
    np.testing.assert_array_equal(decode_jpeg(data), expected(data))


def test_header() -> None:
    header = read_header(PROGRESSIVES)
    assert header[:4] == (HEIGHT, WIDTH, 8, PROGRESSIVE)
    assert [tuple(each) for each in header.components] == [(1, 2, 2), (2, 1, 1), (3, 1, 1)]


def changed(marker: int | None = None, precision: int = 8, height: int = HEIGHT) -> bytes:
    """Return the picture with another frame header."""
    data = bytearray(PLAIN)
    at = data.index(b'\xff\xc0')
    data[at + 1] = marker or data[at + 1]
    data[at + 4 : at + 7] = bytes([precision]) + height.to_bytes(2, 'big')
    return bytes(data)


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (changed(0xC3), 'is lossless'),
        (changed(0xC9), 'is arithmetically coded'),
        (changed(0xC5), 'is hierarchical'),
        (changed(precision=12), 'has 12 bits per sample'),
        (changed(height=0), '83x0 px: both sides must be at least 1'),
        (PLAIN[:2] + b'\xff\xd9', 'no frame header'),
        (b'\xff\xd8\xff\xc0\0\3\x08\xff\xd9', 'frame header is damaged'),
        (b'\xff\xd8\xff\xe0\0\0\xff\xd9', 'length 0'),
        (b'\xff\xd8', 'truncated'),
        (b'', 'does not begin as a JPEG'),
    ],
)
def test_what_is_not_read_is_named(data: bytes, text: str) -> None:
    with pytest.raises(JpegError, match=text):
        decode_jpeg(data)


@pytest.mark.parametrize('progressive', [0, 1])
@pytest.mark.parametrize('gray', [0, 1])
def test_a_small_file_with_a_huge_picture(progressive: int, gray: int) -> None:
    image = np.zeros((16, 16), np.uint8) if gray else np.zeros((16, 16, 3), np.uint8)
    data = bytearray(encode(image, PROGRESSIVE=progressive))
    at = data.index(b'\xff\xc2' if progressive else b'\xff\xc0')
    data[at + 5 : at + 9] = b'\x3f\xff' * 2
    with pytest.raises(JpegError, match='16383x16383 px, which takes at least'):
        decode_jpeg(bytes(data) + bytes(15_000))
    data[at + 5 : at + 9] = b'\x40\x01' * 2
    with pytest.raises(JpegError, match='at most 268435456 pixels'):
        decode_jpeg(bytes(data))
    with pytest.raises(JpegError, match='at most 100 pixels'):
        decode_jpeg(PLAIN, max_pixels=100)


@pytest.mark.parametrize('progressive', [0, 1])
def test_the_smallest_file_of_a_picture_is_read(progressive: int) -> None:
    flat = np.full((512, 512, 3), 128, np.uint8)
    data = encode(flat, OPTIMIZE=1, PROGRESSIVE=progressive, QUALITY=1)
    header = read_header(data)
    assert header.least_bytes > len(data) // 10
    np.testing.assert_array_equal(decode_jpeg(data), flat)
