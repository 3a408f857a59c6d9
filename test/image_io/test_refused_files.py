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

"""What is not read is refused in the same words by every command, with a way out."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import struct
import zlib

import cv2
from making import bmp, canvas, chunk, jpeg, page, picture, png, tiff, webp
import numpy as np
import pytest

from uhr_seg_ros.core.errors import DataError, ImageError, RecordingError
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.sample import FileSample
from uhr_seg_ros.image_io.headers import image_size
from uhr_seg_ros.replay.image_source import read_image

HEIGHT, WIDTH = 20, 30
RGB = picture(0, HEIGHT, WIDTH)
GRAY = RGB[..., :1]
MANY = np.repeat(GRAY, 6, axis=2)
DEEP = RGB.astype(np.uint16) * 16
SCALE = 'gdal_translate -ot Byte -scale'
DEFLATE = 'gdal_translate -co COMPRESS=DEFLATE'
CHOOSE = 'gdal_translate -b 3 -b 2 -b 1'


def extra(*kinds: int) -> dict[int, tuple[int, list[int]]]:
    return {338: (3, list(kinds))}


def stored(_: np.ndarray) -> bytes:
    return bytes(100)


REFUSED: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    'png 16 bit': (lambda: png(DEEP, 2, 16), ('uint16', f'value is {DEEP.max()}', SCALE)),
    'png grey 16 bit': (lambda: png(DEEP[..., :1], 0, 16), ('uint16', SCALE)),
    'tiff 16 bit': (lambda: tiff(page(DEEP, 2)), ('uint16', f'value is {DEEP.max()}', SCALE)),
    'tiff 16 bit deflate': (
        lambda: tiff(page(DEEP, 2, order='>', compression=8, predictor=2, rows=7), order='>'),
        ('uint16', f'value is {DEEP.max()}', SCALE),
    ),
    'tiff 16 bit lzw': (lambda: tiff(page(DEEP, 1, compression=5)), (f'value is {DEEP.max()}',)),
    'tiff 12 bit': (
        lambda: tiff(page(DEEP[..., :1], 1, bits=12, compress=stored)),
        ('uint12', SCALE),
    ),
    'tiff signed': (
        lambda: tiff(page(GRAY.astype(np.int8), 1, tags={339: (3, [2])})),
        ('int8', SCALE),
    ),
    'tiff float': (
        lambda: tiff(page(GRAY.astype(np.float32), 1, tags={339: (3, [3])})),
        ('float32', SCALE),
    ),
    'tiff complex': (
        lambda: tiff(page(GRAY.astype(np.complex64), 1, tags={339: (3, [6])})),
        ('complex64',),
    ),
    'tiff cmyk': (lambda: tiff(page(MANY[..., :4], 5)), ('CMYK', 'RGB')),
    'tiff lab': (lambda: tiff(page(RGB, 8)), ('CIELab', 'RGB')),
    'tiff ycbcr': (lambda: tiff(page(RGB, 6)), ('YCbCr', 'RGB')),
    'tiff ycbcr planes': (
        lambda: tiff(page(RGB, 6, compression=7, planar=True, compress=jpeg)),
        ('YCbCr', 'RGB'),
    ),
    'tiff predictor of bits': (
        lambda: tiff(page(GRAY, 1, bits=1, compression=8, tags={317: (3, [2])})),
        ('predictor 2',),
    ),
    'tiff predictor of floats': (
        lambda: tiff(page(RGB, 2, compression=8, tags={317: (3, [3])})),
        ('predictor 3', DEFLATE),
    ),
    'tiff of two bands': (
        lambda: tiff(page(MANY[..., :2], 1, tags=extra(0))),
        ('2 bands', 'gdal_translate -b 1 '),
    ),
    'tiff of six bands': (lambda: tiff(page(MANY, 1, planar=True)), ('6 bands', CHOOSE)),
    'tiff of two colours': (lambda: tiff(page(MANY[..., :2], 2)), ('2 bands',)),
    'tiff of depths': (
        lambda: tiff(page(RGB, 2, tags={258: (3, [8, 8, 16])})),
        ('different depths',),
    ),
    'tiff zstandard': (
        lambda: tiff(page(RGB, 2, compression=50000, compress=stored)),
        ('Zstandard', DEFLATE),
    ),
    'tiff lerc': (
        lambda: tiff(page(RGB, 2, compression=34887, compress=stored)),
        ('LERC', DEFLATE),
    ),
    'tiff fax': (
        lambda: tiff(page(GRAY, 1, bits=1, compression=4, compress=stored)),
        ('CCITT', DEFLATE),
    ),
    'tiff jpeg of four bands': (
        lambda: tiff(page(MANY[..., :4], 2, compression=7, compress=lambda _: _cmyk_jpeg())),
        ('JPEG of 4 bands', DEFLATE),
    ),
    'tiff of overviews': (
        lambda: tiff(page(RGB, 2, tags={254: (4, [1])})),
        ('no picture of full size',),
    ),
    'jpeg cmyk': (lambda: _cmyk_jpeg(), ('CMYK', 'RGB')),
    'jpeg 12 bit': (lambda: _with(jpeg(RGB), b'\xff\xc0\0\x11\x08', 4, 12), ('12 bits',)),
    'webp animated': (
        lambda: webp(canvas(HEIGHT, WIDTH, 2), (b'ANIM', bytes(6)), (b'ANMF', bytes(40))),
        ('animated', 'PNG'),
    ),
    'png animated': (
        lambda: png(RGB, 2, before=chunk(b'acTL', struct.pack('>II', 2, 0))),
        ('animated',),
    ),
    'bmp run lengths': (
        lambda: bmp(bytes(600), HEIGHT, WIDTH, 8, palette=bytes(1024), compression=1),
        ('PNG',),
    ),
    'gif': (lambda: b'GIF89a' + bytes(60), ('no format that is read', 'gdal_translate')),
    'text': (lambda: b'no picture at all', ('no format that is read',)),
    'empty': (lambda: b'', ('empty',)),
}

DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    'png check sum': (lambda: _with(png(RGB, 2), b'IDAT', 30, 0x55), 'check sum of b.IDAT'),
    'png header check sum': (lambda: _with(png(RGB, 2), b'IHDR', 16, 0x55), 'check sum of b.IHDR'),
    'png cut pixels': (
        lambda: png(RGB, 2, pixels=lambda raw: zlib.compress(raw)[:-40]),
        'damaged or incomplete',
    ),
    'png few rows': (
        lambda: png(RGB, 2, pixels=lambda raw: zlib.compress(raw[:-1])),
        'damaged or incomplete',
    ),
    'png without pixels': (lambda: png(RGB, 2, pixels=lambda _: b''), 'cut short'),
    'png noise': (lambda: png(RGB, 2, pixels=lambda _: bytes(range(200))), 'damaged or inc'),
    'png without end': (lambda: png(RGB, 2)[:-12], 'before its end mark'),
    'png half': (lambda: png(RGB, 2)[:900], 'before its end mark'),
    'png without palette': (lambda: png(GRAY, 3), 'palette'),
    'png index beyond the palette': (
        lambda: png(GRAY, 3, before=chunk(b'PLTE', bytes(30))),
        'index .* of 10 colours',
    ),
    'png of nothing': (lambda: png(RGB[:0], 2), '30 x 0 px'),
    'png bomb': (
        lambda: _png_of(60000, 60000, bytes(5000)),
        '5000 compressed bytes cannot hold 10800060000',
    ),
    'bmp half': (lambda: cv2.imencode('.bmp', RGB)[1].tobytes()[:900], 'cut short: 900 of 1892'),
    'bmp bomb': (lambda: bmp(b'', 60000, 60000, 24), 'cut short'),
    'bmp index beyond the palette': (
        lambda: bmp(b'\xff' * 640, HEIGHT, WIDTH, 8, palette=bytes(40)),
        'index 255 of 10 colours',
    ),
    'webp half': (lambda: cv2.imencode('.webp', RGB)[1].tobytes()[:300], 'cut short: 300 of '),
    'webp half with an honest length': (
        lambda: webp((b'VP8L', _lossless()[20:250])),
        'cannot be decoded',
    ),
    'webp of two sizes': (
        lambda: webp(canvas(9, 9, 0), (b'VP8L', _lossless()[20:])),
        'declares two sizes',
    ),
    'jpeg half': (lambda: jpeg(RGB)[:-200], 'truncated|missing'),
    'jpeg header': (lambda: jpeg(RGB)[:100], 'damaged header'),
    'jpeg bomb': (
        lambda: _with(jpeg(RGB), b'\xff\xc0\0\x11\x08', 5, 0xFF, 0xFF, 0xFF, 0xFF),
        'truncated or forged',
    ),
    'tiff half': (lambda: tiff(page(RGB, 2))[:900], 'directory'),
    'tiff half before its pixels': (lambda: _directory_first()[:900], 'cut short'),
    'tiff deflate cut': (
        lambda: tiff(page(RGB, 2, compression=8, compress=lambda part: zlib.compress(part)[:-40])),
        'holds at most .* of 1800 bytes',
    ),
    'tiff lzw cut': (lambda: _cut(5), 'cannot be decoded'),
    'tiff lzw of odd bytes cut': (lambda: _cut(5, GRAY[:19, :29]), 'cannot be decoded'),
    'tiff packbits cut': (lambda: _cut(32773), 'holds at most .* of 1800'),
    'tiff short strip': (
        lambda: tiff(page(RGB, 2, tags={279: (4, [1000])})),
        'holds at most 1000 of 1800 bytes',
    ),
    'tiff strip outside': (
        lambda: tiff(page(RGB, 2, tags={273: (4, [5000])})),
        'ends at byte 6800 of ',
    ),
    'tiff few strips': (
        lambda: tiff(page(RGB, 2, rows=5, tags={273: (4, [8, 8]), 279: (4, [450, 450])})),
        'need 4 strips or tiles, 2 are listed',
    ),
    'tiff bomb': (lambda: tiff(page(RGB, 2, compression=8, tags=_sides(65000))), 'holds at most'),
    'tiff bomb of tiles': (
        lambda: tiff(
            page(
                RGB,
                2,
                tile=(32, 32),
                compression=8,
                tags=_sides(65000) | {322: (4, [65000]), 323: (4, [65000])},
            )
        ),
        'holds at most',
    ),
    'tiff bomb of lzw': (
        lambda: tiff(page(RGB, 2, compression=5, tags=_sides(65000))),
        'holds at most',
    ),
    'tiff too large': (
        lambda: tiff(page(RGB, 2, tags=_sides(70000))),
        'at most 4294967296 pixels',
    ),
    'tiff of nothing': (lambda: tiff(page(RGB, 2, tags=_sides(0))), '0 x 0 px'),
    'tiff tile of nothing': (
        lambda: tiff(page(RGB, 2, tile=(16, 16), tags={322: (4, [0])})),
        'tiles of 0 x 16',
    ),
    'tiff without sizes': (lambda: tiff(({}, [])), 'tag 257 is missing'),
    'tiff in a circle': (lambda: _circle(), 'circle'),
    'tiff jpeg of another size': (
        lambda: tiff(page(RGB, 6, compression=7, compress=lambda _: jpeg(RGB[:8]))),
        'a picture of 30 x 8 px, expected 30 x 20',
    ),
    'tiff jpeg cut': (
        lambda: tiff(page(RGB, 6, compression=7, compress=lambda part: jpeg(part)[:-100])),
        'JPEG',
    ),
    'tiff values outside': (
        lambda: tiff(page(RGB, 2, tags={258: (3, [8] * 99)}))[:-4].replace(
            struct.pack('<HHI', 258, 3, 99), struct.pack('<HHI', 258, 3, 1 << 31)
        ),
        'tag 258 lies outside',
    ),
}


def _with(data: bytes, mark: bytes, after: int, *values: int) -> bytes:
    """Change bytes after a mark."""
    at = data.index(mark) + after
    return data[:at] + bytes(values) + data[at + len(values) :]


def _png_of(height: int, width: int, pixels: bytes) -> bytes:
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', pixels) + chunk(b'IEND', b'')


def _cmyk_jpeg() -> bytes:
    """Make a header of four components; nothing after it is looked at."""
    frame = struct.pack('>HBHHB', 20, 8, HEIGHT, WIDTH, 4)
    frame += b''.join(bytes((number, 0x11, 0)) for number in (1, 2, 3, 4))
    return b'\xff\xd8\xff\xc0' + frame + jpeg(RGB)[2:]


def _lossless() -> bytes:
    return cv2.imencode('.webp', RGB, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()


def _sides(side: int) -> dict[int, tuple[int, list[int]]]:
    return {256: (4, [side]), 257: (4, [side]), 278: (4, [side])}


def _cut(compression: int, samples: np.ndarray = RGB) -> bytes:
    tags, (piece,) = page(samples, 2 if samples.shape[2] == 3 else 1, compression=compression)
    return tiff((tags, [piece[: len(piece) * 2 // 3]]))


def _directory_first() -> bytes:
    """Move the pixels of a TIFF to its end."""
    data = tiff(page(RGB, 2, tags={273: (4, [500])}))
    directory = int.from_bytes(data[4:8], 'little')
    return (data[:4] + struct.pack('<I', 8) + data[directory:]).ljust(500, b'\0') + data[8:1808]


def _circle() -> bytes:
    reduced = page(RGB, 2, tags={254: (4, [1])})
    data = tiff(reduced)
    return data[:-4] + data[4:8]


def texts(path: Path) -> set[str]:
    """Return what every command says about a file, whole and by window."""
    found = set()
    labels = path.with_name('labels.png')
    labels.write_bytes(png(0 * GRAY, 0))
    with pytest.raises(RecordingError) as error:
        read_image(path)
    found.add(str(error.value))
    for window in (None, (HEIGHT - 5, 5, 5, 5)):
        with pytest.raises(DataError) as error:
            FileSample('a', path, labels, LabelMap.of_classes(2)).read_image(window)
        found.add(str(error.value))
    return found


@pytest.mark.parametrize('name', REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    make, words = REFUSED[name]
    path = tmp_path / 'a.png'
    path.write_bytes(make())
    (text,) = texts(path)
    assert text.startswith(f'{path} cannot be read: ')
    for word in words:
        assert word in text


@pytest.mark.parametrize('name', DAMAGED)
def test_damaged(tmp_path: Path, name: str) -> None:
    make, text = DAMAGED[name]
    path = tmp_path / 'a.png'
    path.write_bytes(make())
    with pytest.raises(RecordingError, match=rf'a\.png cannot be read: .*({text})'):
        read_image(path)


@pytest.mark.parametrize('name', [each for each in DAMAGED if 'bomb' in each])
def test_of_a_file_that_lies_memory_is_not_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    told = tmp_path / 'meminfo'
    told.write_text('MemTotal: 9 kB\nMemAvailable:    2048 kB\n')
    monkeypatch.setattr('uhr_seg_ros.image_io.limits._MEMORY', told)
    test_damaged(tmp_path, name)


@pytest.mark.parametrize('make', [os.mkfifo, Path.mkdir, id], ids=['pipe', 'folder', 'nothing'])
def test_what_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / 'a.png'
    make(path)
    for read in (read_image, image_size):
        text = r'a\.png cannot be read: (it is a named pipe|it is a folder|No such)'
        with pytest.raises((RecordingError, ImageError), match=text):
            read(path)


def test_what_does_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / 'meminfo'
    told.write_text('MemTotal: 9 kB\nMemAvailable:    2048 kB\n')
    monkeypatch.setattr('uhr_seg_ros.image_io.limits._MEMORY', told)
    side = 1024
    black = np.zeros((side, side, 3), np.uint8)
    path = tmp_path / 'a.png'
    for data in (
        png(black, 2),
        tiff(page(black, 2, compression=8, rows=64)),
        jpeg(black),
        cv2.imencode('.bmp', black)[1].tobytes(),
        cv2.imencode('.webp', black)[1].tobytes(),
    ):
        path.write_bytes(data)
        with pytest.raises(
            RecordingError, match=r'1024 x 1024 px needs [34] MiB .* 2 MiB of memory'
        ):
            read_image(path)


def test_cut_anywhere_it_is_never_another_picture(tmp_path: Path) -> None:
    from test_same_pixels import FILES

    path = tmp_path / 'a.png'
    for name in FILES:
        data, right = FILES[name]()
        for share in (0.2, 0.6, 0.9, 0.99):
            path.write_bytes(data[: int(len(data) * share)])
            try:
                found = read_image(path)
            except RecordingError:
                continue
            assert np.array_equal(found, right), (name, share)
