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
Every form of picture that is read gives the pixels that it was made of, to every command.

`segment` reads by `frames.read_image`, `evaluate` and `train` by a data set's images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import struct
import zlib

import cv2
from making import (
    app,
    bmp,
    canvas,
    chunk,
    exif,
    jpeg,
    padded,
    page,
    picture,
    png,
    split_tables,
    tiff,
    webp,
)
import numpy as np
import pytest

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.sample import FileSample
from uhr_seg_ros.image_io import png as png_module
from uhr_seg_ros.replay.image_source import read_image

HEIGHT, WIDTH = 37, 45
BGR = picture(0, HEIGHT, WIDTH)
RGB = np.ascontiguousarray(BGR[..., ::-1])
FIVE = np.dstack((RGB, picture(1, HEIGHT, WIDTH, 2)))
FOUR = FIVE[..., :4]
GRAY = BGR[..., :1]
GRAY_ALPHA = BGR[..., :2]
WIDE_GRAY = np.repeat(GRAY, 3, axis=2)
BIT = (GRAY > 127).astype(np.uint8)
PALETTE = picture(2, 256, 1)[:, 0]
COLORED = PALETTE[GRAY[..., 0]]
WINDOWS = [(0, 0, HEIGHT, WIDTH), (3, 5, 20, 30), (16, 16, 16, 16), (36, 44, 1, 1), (15, 0, 2, 45)]


def spread(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return grey samples of a few bits, and the picture that they are."""
    values = GRAY >> (8 - bits)
    return values, np.repeat(values * np.uint8(255 // (2**bits - 1)), 3, axis=2)


def plte(count: int) -> bytes:
    return chunk(b'PLTE', PALETTE[:count, ::-1].tobytes())


def encoded(suffix: str, array: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, array, list(options))[1].tobytes()


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def colors_of_tiff(bits: int = 8, wide: bool = True) -> dict[int, tuple[int, list[int]]]:
    values = PALETTE[: 1 << bits, ::-1].T.astype(int).ravel()
    return {320: (3, (values * (257 if wide else 1)).tolist())}


def full_jpeg(array: np.ndarray) -> bytes:
    """Encode colours at full resolution, where OpenCV can."""
    factor = getattr(cv2, 'IMWRITE_JPEG_SAMPLING_FACTOR', None)
    return jpeg(array, factor, 0x111111) if factor else jpeg(array)


def extra(*kinds: int) -> dict[int, tuple[int, list[int]]]:
    return {338: (3, list(kinds))}


def in_tiles(of: int = 16) -> np.ndarray:
    """Return what the JPEG tiles of a picture decode to."""
    out = np.zeros((48, 48, 3), np.uint8)
    for top in range(0, 48, of):
        for left in range(0, 48, of):
            part = BGR[top : top + of, left : left + of]
            spare = (0, of - part.shape[0]), (0, of - part.shape[1]), (0, 0)
            tile = np.pad(part, spare, mode='edge')
            out[top : top + of, left : left + of] = decoded(jpeg(tile))
    return out[:HEIGHT, :WIDTH]


TABLES = split_tables(jpeg(BGR[:16, :16]))[0]
ADOBE_RGB = app(14, b'Adobe\0\x64\0\0\0\0\0')
ADOBE_FIRST = b'\xff\xd8' + ADOBE_RGB
PLAIN_WEBP = encoded('.webp', BGR, cv2.IMWRITE_WEBP_QUALITY, 101)
LOSSY_WEBP = encoded('.webp', BGR, cv2.IMWRITE_WEBP_QUALITY, 80)
ALPHA_WEBP = encoded('.webp', np.dstack((BGR, GRAY)), cv2.IMWRITE_WEBP_QUALITY, 101)
ZLIB_PNG = encoded('.png', BGR, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT)


def _bmp_rows(array: np.ndarray) -> bytes:
    return padded(array.reshape(HEIGHT, -1)[::-1])


FILES: dict[str, Callable[[], tuple[bytes, np.ndarray]]] = {
    # PNG
    'png rgb': lambda: (png(RGB, 2), BGR),
    'png by opencv': lambda: (ZLIB_PNG, BGR),
    'png grey': lambda: (png(GRAY, 0), WIDE_GRAY),
    'png grey 1 bit': lambda: (png(spread(1)[0], 0, 1), spread(1)[1]),
    'png grey 2 bit': lambda: (png(spread(2)[0], 0, 2), spread(2)[1]),
    'png grey 4 bit': lambda: (png(spread(4)[0], 0, 4), spread(4)[1]),
    'png grey alpha': lambda: (png(GRAY_ALPHA, 4), WIDE_GRAY),
    'png rgb alpha': lambda: (png(FOUR, 6), BGR),
    'png rgb alpha zero': lambda: (png(np.dstack((RGB, 0 * GRAY)), 6), BGR),
    'png palette': lambda: (png(GRAY, 3, before=plte(256)), COLORED),
    'png palette and transparency': lambda: (
        png(GRAY, 3, before=plte(256) + chunk(b'tRNS', bytes(200))),
        COLORED,
    ),
    'png palette 4 bit': lambda: (
        png(GRAY >> 4, 3, 4, before=plte(16)),
        PALETTE[GRAY[..., 0] >> 4],
    ),
    'png palette 1 bit': lambda: (png(BIT, 3, 1, before=plte(2)), PALETTE[BIT[..., 0]]),
    'png rgb with a transparent colour': lambda: (
        png(RGB, 2, before=chunk(b'tRNS', struct.pack('>3H', *RGB[0, 0].tolist()))),
        BGR,
    ),
    'png interlaced': lambda: (png(RGB, 2, interlaced=True), BGR),
    'png interlaced 1 bit': lambda: (png(BIT, 0, 1, interlaced=True), spread(1)[1]),
    'png turned': lambda: (png(RGB, 2, before=chunk(b'eXIf', exif(6))), BGR),
    'png with gamma': lambda: (png(RGB, 2, before=chunk(b'gAMA', struct.pack('>I', 100000))), BGR),
    'png with data after its end': lambda: (png(RGB, 2) + bytes(100), BGR),
    # JPEG
    'jpeg': lambda: (jpeg(BGR), decoded(jpeg(BGR))),
    'jpeg grey': lambda: (jpeg(GRAY), decoded(jpeg(GRAY))),
    'jpeg progressive': lambda: (
        jpeg(BGR, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        decoded(jpeg(BGR, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    ),
    'jpeg 4:4:4': lambda: (full_jpeg(BGR), decoded(full_jpeg(BGR))),
    'jpeg rgb': lambda: (jpeg(BGR, segment=ADOBE_RGB), decoded(jpeg(BGR, segment=ADOBE_RGB))),
    'jpeg turned': lambda: (jpeg(BGR, segment=app(1, b'Exif\0\0' + exif(3))), decoded(jpeg(BGR))),
    # BMP
    'bmp': lambda: (encoded('.bmp', BGR), BGR),
    'bmp top-down': lambda: (bmp(padded(BGR.reshape(HEIGHT, -1)), -HEIGHT, WIDTH, 24), BGR),
    'bmp grey': lambda: (encoded('.bmp', GRAY), WIDE_GRAY),
    'bmp alpha': lambda: (encoded('.bmp', np.dstack((BGR, 0 * GRAY))), BGR),
    'bmp 32 bit': lambda: (bmp(_bmp_rows(np.dstack((BGR, 0 * GRAY))), HEIGHT, WIDTH, 32), BGR),
    'bmp masks': lambda: (
        bmp(
            _bmp_rows(np.dstack((0 * GRAY, BGR))),
            HEIGHT,
            WIDTH,
            32,
            compression=3,
            masks=struct.pack('<3I', 0xFF000000, 0xFF0000, 0xFF00),
        ),
        BGR,
    ),
    'bmp 16 bit': lambda: (
        bmp(padded(_five_bits(BGR[::-1])), HEIGHT, WIDTH, 16),
        np.round((BGR >> 3) * 255.0 / 31).astype(np.uint8),
    ),
    'bmp palette 1 bit': lambda: (
        bmp(
            padded(np.packbits(BIT[::-1, :, 0], axis=1)),
            HEIGHT,
            WIDTH,
            1,
            palette=np.pad(PALETTE[:2], ((0, 0), (0, 1))).tobytes(),
        ),
        PALETTE[BIT[..., 0]],
    ),
    'bmp palette 4 bit': lambda: (
        bmp(
            padded(np.frombuffer(_nibbles(GRAY[::-1, :, 0] >> 4), np.uint8).reshape(HEIGHT, -1)),
            HEIGHT,
            WIDTH,
            4,
            palette=np.pad(PALETTE[:16], ((0, 0), (0, 1))).tobytes(),
        ),
        PALETTE[GRAY[..., 0] >> 4],
    ),
    'bmp of old': lambda: (bmp(_bmp_rows(BGR), HEIGHT, WIDTH, 24, core=True), BGR),
    # WebP
    'webp lossless': lambda: (PLAIN_WEBP, BGR),
    'webp lossy': lambda: (LOSSY_WEBP, decoded(LOSSY_WEBP)),
    'webp alpha': lambda: (ALPHA_WEBP, _colors_of_webp(ALPHA_WEBP)),
    'webp turned': lambda: (
        webp(canvas(HEIGHT, WIDTH, 8), (PLAIN_WEBP[12:16], PLAIN_WEBP[20:]), (b'EXIF', exif(8))),
        BGR,
    ),
    # TIFF
    'tiff': lambda: (tiff(page(RGB, 2)), BGR),
    'tiff strips': lambda: (tiff(page(RGB, 2, rows=7)), BGR),
    'tiff tiles': lambda: (tiff(page(RGB, 2, tile=(16, 16))), BGR),
    'tiff planes': lambda: (tiff(page(RGB, 2, planar=True, rows=7)), BGR),
    'tiff planes in tiles': lambda: (
        tiff(page(FOUR, 2, planar=True, tile=(16, 32), compression=8)),
        BGR,
    ),
    'tiff deflate': lambda: (tiff(page(RGB, 2, compression=8, predictor=2, rows=7)), BGR),
    'tiff old deflate': lambda: (tiff(page(RGB, 2, compression=32946, tile=(16, 16))), BGR),
    'tiff lzw': lambda: (tiff(page(RGB, 2, compression=5, rows=7)), BGR),
    'tiff lzw predictor': lambda: (
        tiff(page(RGB, 2, compression=5, predictor=2, tile=(16, 16))),
        BGR,
    ),
    'tiff lzw of odd bytes': lambda: (tiff(page(GRAY, 1, compression=5, rows=5)), WIDE_GRAY),
    'tiff lzw in one strip': lambda: (tiff(page(GRAY, 1, compression=5)), WIDE_GRAY),
    'tiff lzw by opencv': lambda: (encoded('.tif', BGR), BGR),
    'tiff packbits': lambda: (tiff(page(RGB, 2, compression=32773, rows=7)), BGR),
    'tiff packbits planes': lambda: (tiff(page(RGB, 2, compression=32773, planar=True)), BGR),
    'tiff big endian': lambda: (tiff(page(RGB, 2, order='>', rows=7), order='>'), BGR),
    'tiff big': lambda: (tiff(page(RGB, 2, tile=(16, 16)), big=True), BGR),
    'tiff big and big endian': lambda: (
        tiff(page(RGB, 2, compression=8), order='>', big=True),
        BGR,
    ),
    'tiff jpeg': lambda: (
        tiff(page(BGR, 6, compression=7, tile=(16, 16), compress=jpeg)),
        in_tiles(),
    ),
    'tiff jpeg with tables': lambda: (
        tiff(
            page(
                BGR,
                6,
                compression=7,
                tile=(16, 16),
                tags={347: (7, list(TABLES))},
                compress=lambda tile: split_tables(jpeg(tile))[1],
            )
        ),
        in_tiles(),
    ),
    'tiff jpeg in strips': lambda: (
        tiff(page(BGR, 6, compression=7, rows=16, compress=jpeg)),
        np.concatenate([decoded(jpeg(BGR[top : top + 16])) for top in (0, 16, 32)]),
    ),
    'tiff jpeg rgb': lambda: (
        tiff(
            page(
                BGR,
                2,
                compression=7,
                compress=lambda part: split_tables(full_jpeg(part))[1],
                tags={347: (7, list(split_tables(full_jpeg(BGR))[0]))},
            )
        ),
        decoded(ADOBE_FIRST + _without_jfif(full_jpeg(BGR))[2:]),
    ),
    'tiff jpeg rgb that says YCbCr': lambda: (
        tiff(page(BGR, 2, compression=7, compress=full_jpeg)),
        decoded(ADOBE_FIRST + _without_jfif(full_jpeg(BGR))[2:]),
    ),
    'tiff predictor that means nothing': lambda: (
        tiff(page(RGB, 2, compression=32773, tags={317: (3, [2])})),
        BGR,
    ),
    'tiff jpeg grey': lambda: (
        tiff(page(GRAY, 1, compression=7, compress=jpeg)),
        decoded(jpeg(GRAY)),
    ),
    'tiff webp': lambda: (
        tiff(
            page(
                BGR,
                2,
                compression=50001,
                tile=(16, 16),
                compress=lambda tile: encoded('.webp', tile, cv2.IMWRITE_WEBP_QUALITY, 101),
            )
        ),
        BGR,
    ),
    'tiff alpha': lambda: (tiff(page(FOUR, 2, tags=extra(2), tile=(16, 16), compression=8)), BGR),
    'tiff premultiplied alpha': lambda: (tiff(page(FOUR, 2, tags=extra(1))), BGR),
    'tiff near infrared': lambda: (tiff(page(FOUR, 2, tags=extra(0), compression=5)), BGR),
    'tiff near infrared that is not told': lambda: (tiff(page(FOUR, 2)), BGR),
    'tiff five bands': lambda: (tiff(page(FIVE, 2, tags=extra(0, 2))), BGR),
    'tiff four bands of grey': lambda: (tiff(page(FOUR, 1, tags=extra(0, 0, 0))), BGR),
    'tiff three bands of grey': lambda: (tiff(page(RGB, 1, planar=True, compression=8)), BGR),
    'tiff grey': lambda: (tiff(page(GRAY, 1, rows=7, compression=8)), WIDE_GRAY),
    'tiff grey alpha': lambda: (tiff(page(GRAY_ALPHA, 1, tags=extra(2))), WIDE_GRAY),
    'tiff white is zero': lambda: (tiff(page(~GRAY, 0)), WIDE_GRAY),
    'tiff 1 bit': lambda: (tiff(page(BIT, 1, bits=1)), spread(1)[1]),
    'tiff 1 bit white is zero': lambda: (tiff(page(1 - BIT, 0, bits=1, rows=7)), spread(1)[1]),
    'tiff 1 bit reversed': lambda: (
        tiff(page(BIT, 1, bits=1, reversed_bits=True, rows=7)),
        spread(1)[1],
    ),
    'tiff 4 bit packbits': lambda: (
        tiff(page(spread(4)[0], 1, bits=4, compression=32773, rows=7)),
        spread(4)[1],
    ),
    'tiff palette': lambda: (tiff(page(GRAY, 3, tags=colors_of_tiff())), COLORED),
    'tiff palette of 8 bit': lambda: (
        tiff(page(GRAY, 3, tags=colors_of_tiff(wide=False))),
        COLORED,
    ),
    'tiff palette 4 bit': lambda: (
        tiff(page(GRAY >> 4, 3, bits=4, tags=colors_of_tiff(4))),
        PALETTE[GRAY[..., 0] >> 4],
    ),
    'tiff turned': lambda: (tiff(page(RGB, 2, tags={274: (3, [6])})), BGR),
    'tiff sparse': lambda: (
        tiff(page(RGB, 2, tile=(16, 16), compression=8, left_out=[1, 4])),
        _with_holes(0),
    ),
    'tiff sparse with a value': lambda: (
        tiff(page(RGB, 2, tile=(16, 16), left_out=[1, 4], tags={42113: (2, list(b'255\0'))})),
        _with_holes(255),
    ),
    'tiff with an overview first': lambda: (
        tiff(
            page(RGB[::2, ::2], 2, tags={254: (4, [1])}),
            page(RGB, 2),
            page(BIT, 4, bits=1, tags={254: (4, [4])}),
        ),
        BGR,
    ),
    'tiff of pages': lambda: (tiff(page(RGB, 2), page(~RGB, 2)), BGR),
    'tiff without its number of bytes': lambda: (_without(tiff(page(RGB, 2)), 279), BGR),
}


def _five_bits(array: np.ndarray) -> np.ndarray:
    """Return colours of five bits in 16, as rows of bytes."""
    blue, green, red = (array[..., band].astype('<u2') >> 3 for band in range(3))
    return np.ascontiguousarray(blue | green << 5 | red << 10).view(np.uint8)


def _nibbles(values: np.ndarray) -> bytes:
    even = np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
    return (even[:, ::2] << 4 | even[:, 1::2]).astype(np.uint8).tobytes()


def _colors_of_webp(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., :3]


def _without_jfif(data: bytes) -> bytes:
    return data[:2] + data[20:] if data[2:4] == b'\xff\xe0' else data


def _with_holes(value: int) -> np.ndarray:
    out = BGR.copy()
    out[:16, 16:32] = value
    out[16:32, 16:32] = value
    return out


def _without(data: bytes, tag: int) -> bytes:
    """Return a tag of a TIFF a number that means nothing."""
    return data.replace(struct.pack('<HH', tag, 4), struct.pack('<HH', 65000, 4))


def test_there_are_many_forms() -> None:
    assert len(FILES) >= 80


@pytest.mark.parametrize('name', FILES)
def test_the_right_pixels(tmp_path: Path, name: str) -> None:
    data, right = FILES[name]()
    # The name's end says nothing: what the file holds does.
    path, labels = tmp_path / 'a.png', tmp_path / 'labels.png'
    path.write_bytes(data)
    assert len(data) < 20_000
    assert np.array_equal(read_image(path), right)
    turned = 'turned' in name
    if turned:
        assert right.shape == (HEIGHT, WIDTH, 3)
        return
    labels.write_bytes(png(0 * GRAY, 0))
    image = FileSample('a', path, labels, LabelMap.of_classes(2))
    assert image.size == (HEIGHT, WIDTH)
    assert np.array_equal(image.read_image(), right)
    for top, left, height, width in WINDOWS:
        part = image.read_image((top, left, height, width))
        assert np.array_equal(part, right[top : top + height, left : left + width])
        assert part.dtype == np.uint8


@pytest.mark.parametrize('name', [name for name in FILES if name.startswith('png')])
def test_strips_of_large_pngs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(png_module, 'AT_ONCE', 0)
    monkeypatch.setattr(png_module, 'STRIP', 3 * GRAY.shape[1])
    test_the_right_pixels(tmp_path, name)


@pytest.mark.parametrize(
    'color, bits',
    [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 4), (4, 16), (6, 8), (6, 16)],
)
@pytest.mark.parametrize('kind', [*range(5), None])
def test_strips_undo_the_filters_of_rows(
    monkeypatch: pytest.MonkeyPatch, color: int, bits: int, kind: int | None
) -> None:
    """Every row is told by the one above, also the first of a strip."""
    bands = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    samples = np.random.default_rng(bits).integers(0, 1 << bits, (23, 41, bands))
    each, row = max(bands * bits // 8, 1), (41 * bands * bits + 7) // 8

    def filtered(rows: bytes) -> bytes:
        """Apply one kind of filter (PNG, 9.2), or all of them in turn."""
        plain = np.frombuffer(rows, np.uint8).reshape(23, 1 + row)[:, 1:].astype(int)
        out = bytearray()
        for index, here in enumerate(plain):
            up = plain[index - 1] if index else 0 * here
            left = np.r_[np.zeros(each, int), here[:-each]]
            corner = np.r_[np.zeros(each, int), up[:-each]]
            guess = left + up - corner
            near = np.argmin([abs(guess - left), abs(guess - up), abs(guess - corner)], axis=0)
            paeth = np.choose(near, [left, up, corner])
            number = index % 5 if kind is None else kind
            told = (0, left, up, (left + up) // 2, paeth)[number]
            out += bytes([number]) + ((here - told) % 256).astype(np.uint8).tobytes()
        return zlib.compress(bytes(out))

    before = plte(16) if color == 3 else b''
    parsed = png_module.parse(png(samples, color, bits, before=before, pixels=filtered))
    whole = parsed.read()
    monkeypatch.setattr(png_module, 'AT_ONCE', 0)
    monkeypatch.setattr(png_module, 'STRIP', 4 * 41)
    assert np.array_equal(parsed.read(), whole)
    expected = samples[..., 0] if color in (0, 3, 4) else samples[..., 2::-1]
    assert np.array_equal(whole, expected)


def test_strips_of_damaged_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_module, 'AT_ONCE', 0)
    monkeypatch.setattr(png_module, 'STRIP', 3 * GRAY.shape[1])
    for pixels, reason in (
        (lambda rows: zlib.compress(rows[:-1]), 'pixels are missing'),
        (lambda rows: zlib.compress(rows)[:-40], 'pixels are missing'),
        (lambda rows: b'x' + zlib.compress(rows), 'PNG is damaged: Error -3'),
    ):
        with pytest.raises(ImageError, match=reason):
            png_module.parse(png(GRAY, 0, pixels=pixels)).read()
