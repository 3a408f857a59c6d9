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

"""Class ids are the values that are stored, whatever a viewer makes of them."""

from __future__ import annotations

from collections.abc import Callable
import logging
from pathlib import Path

import cv2
from making import app, chunk, exif, ids, jpeg, page, picture, png, tiff, webp
import numpy as np
import pytest

from uhr_seg_ros.core.errors import DataError, ImageError
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.sample import FileSample
from uhr_seg_ros.image_io.files import read_ids, read_image
from uhr_seg_ros.image_io.headers import orientation

HEIGHT, WIDTH = 37, 45
IDS = ids(0, HEIGHT, WIDTH, 9)[..., np.newaxis]
RGB = picture(0, HEIGHT, WIDTH)
COLORS = picture(1, 256, 1)[:, 0]
GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)


def plte(colors: np.ndarray) -> bytes:
    return chunk(b'PLTE', colors.tobytes())


def colormap(colors: np.ndarray) -> dict[int, tuple[int, list[int]]]:
    return {320: (3, (colors.T.astype(int) * 257).ravel().tolist())}


READ: dict[str, tuple[Callable[[], bytes], int]] = {
    # How many different values there are: 2 of one bit.
    'png': (lambda: png(IDS, 0), 9),
    'png 1 bit': (lambda: png(IDS % 2, 0, 1), 2),
    'png 2 bit': (lambda: png(IDS % 4, 0, 2), 4),
    'png 4 bit interlaced': (lambda: png(IDS, 0, 4, interlaced=True), 9),
    'png 16 bit': (lambda: png(IDS.astype(np.uint16), 0, 16), 9),
    'png palette': (lambda: png(IDS, 3, before=plte(COLORS)), 9),
    'png palette 1 bit': (lambda: png(IDS % 2, 3, 1, before=plte(COLORS[:2])), 2),
    'png palette 4 bit': (
        lambda: png(IDS, 3, 4, before=plte(COLORS[:16]) + chunk(b'tRNS', bytes(9))),
        9,
    ),
    'png palette of plain greys': (lambda: png(IDS, 3, before=plte(GRAYS)), 9),
    'png with a transparent value': (lambda: png(IDS, 0, before=chunk(b'tRNS', bytes(2))), 9),
    'tiff': (lambda: tiff(page(IDS, 1, rows=7)), 9),
    'tiff 1 bit': (lambda: tiff(page(IDS % 2, 1, bits=1)), 2),
    'tiff 1 bit packbits': (lambda: tiff(page(IDS % 2, 1, bits=1, rows=7, compression=32773)), 2),
    'tiff 1 bit mask': (lambda: tiff(page(IDS % 2, 4, bits=1, compression=8)), 2),
    'tiff 2 bit': (lambda: tiff(page(IDS % 4, 1, bits=2, tile=(16, 16))), 4),
    'tiff 4 bit lzw': (lambda: tiff(page(IDS, 1, bits=4, compression=5)), 9),
    'tiff lzw': (lambda: tiff(page(IDS, 1, compression=5, predictor=2, tile=(16, 16))), 9),
    'tiff palette': (lambda: tiff(page(IDS, 3, tags=colormap(COLORS))), 9),
    'tiff 16 bit': (lambda: tiff(page(IDS.astype(np.uint16), 1, rows=7)), 9),
    'tiff int16 big endian': (
        lambda: tiff(
            page(
                IDS.astype(np.int16),
                1,
                order='>',
                compression=8,
                predictor=2,
                tags={339: (3, [2])},
            ),
            order='>',
        ),
        9,
    ),
    'tiff int32': (lambda: tiff(page(IDS.astype(np.int32), 1, tags={339: (3, [2])})), 9),
    'tiff int8': (lambda: tiff(page(IDS.astype(np.int8), 1, tags={339: (3, [2])})), 9),
    'tiff sparse': (
        lambda: tiff(
            page(_holed(), 1, tile=(16, 16), left_out=[4], tags={42113: (2, list(b'255\0'))})
        ),
        10,
    ),
}


def _holed() -> np.ndarray:
    holed = IDS.copy()
    holed[16:32, 16:32] = 255
    return holed


@pytest.mark.parametrize('name', READ)
def test_values_as_stored(tmp_path: Path, name: str) -> None:
    make, count = READ[name]
    path = tmp_path / 'a.png'
    path.write_bytes(make())
    right = (_holed() if 'sparse' in name else IDS if count == 9 else IDS % count)[..., 0]
    assert np.unique(right).size == count
    for window in ((0, 0, HEIGHT, WIDTH), (9, 14, 20, 30)):
        top, left, height, width = window
        found = read_ids(path, window)
        assert found.dtype == np.uint8
        assert np.array_equal(found, right[top : top + height, left : left + width])


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    'colours': (lambda: png(RGB, 2), 'has 3 channels'),
    'grey alpha': (lambda: png(RGB[..., :2], 4), 'has 2 channels'),
    'tiff colours': (lambda: tiff(page(RGB, 2)), 'has 3 channels'),
    'jpeg': (lambda: jpeg(RGB), 'is a JPEG file, which.* expected PNG or TIFF'),
    'webp': (lambda: cv2.imencode('.webp', RGB)[1].tobytes(), 'is a WebP file'),
    'tiff jpeg': (
        lambda: tiff(page(IDS, 1, compression=7, compress=jpeg)),
        'compression changes values',
    ),
    'white is zero': (
        lambda: tiff(page(IDS % 2, 0, bits=1)),
        'white as 0.*PHOTOMETRIC=MINISBLACK',
    ),
    'float': (
        lambda: tiff(page(IDS.astype(np.float32), 1, tags={339: (3, [3])})),
        'float32.*whole numbers',
    ),
    'png above 8 bit': (
        lambda: png(IDS.astype(np.uint16) + 250, 0, 16),
        'uint16 and holds the value 25[6-8],',
    ),
    'tiff above 8 bit': (
        lambda: tiff(page(np.full((9, 9, 1), 65535, np.uint16), 1)),
        'holds the value 65535,',
    ),
    'tiff negative': (
        lambda: tiff(page(IDS.astype(np.int8) - 3, 1, tags={339: (3, [2])})),
        'holds the value -',
    ),
    'palette of other greys': (
        lambda: png(IDS % 2, 3, 1, before=plte(np.array([[0] * 3, [255] * 3], np.uint8))),
        'palette gives the indices other values of grey',
    ),
    'tiff palette of other greys': (
        lambda: tiff(page(IDS, 3, tags=colormap(GRAYS[::-1]))),
        'other values of grey',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    make, text = REFUSED[name]
    path = tmp_path / 'a.png'
    path.write_bytes(make())
    with pytest.raises(ImageError, match=rf'a\.png cannot be read: .*{text}'):
        read_ids(path)


def profile(value: int) -> bytes:
    """Return EXIF data as ImageMagick wrote it into PNGs."""
    digits = (b'Exif\0\0' + exif(value)).hex()
    text = f'\nexif\n{len(digits) // 2:8}\n{digits}\n'.encode()
    return chunk(b'tEXt', b'Raw profile type exif\0' + text)


WEBP = cv2.imencode('.webp', RGB, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
TURNED: dict[str, Callable[[int], bytes]] = {
    'jpeg': lambda value: jpeg(RGB, segment=app(1, b'Exif\0\0' + exif(value))),
    'jpeg little endian': lambda value: jpeg(RGB, segment=app(1, b'Exif\0\0' + exif(value, '<'))),
    'png': lambda value: png(RGB, 2, before=chunk(b'eXIf', exif(value))),
    'png after its pixels': lambda value: png(RGB, 2, after=chunk(b'eXIf', exif(value))),
    'png of old after its pixels': lambda value: png(RGB, 2, after=profile(value)),
    'png of old': lambda value: png(RGB, 2, before=profile(value)),
    'webp': lambda value: webp((WEBP[12:16], WEBP[20:]), (b'EXIF', exif(value))),
    'tiff': lambda value: tiff(page(RGB, 2, tags={274: (3, [value])})),
}


@pytest.mark.parametrize('name', TURNED)
def test_orientation_where_labels_are(tmp_path: Path, name: str) -> None:
    image, labels = tmp_path / 'a.jpg', tmp_path / 'a.png'
    labels.write_bytes(png(IDS, 0))
    for value in (1, 3, 6, 9):
        image.write_bytes(TURNED[name](value))
        assert orientation(image) == (value if value < 9 else 1)
        if value in (1, 9):
            FileSample('a', image, labels, LabelMap.of_classes(9))
            continue
        text = rf'a\.jpg has the EXIF tag Orientation = {value} .*a\.png.*exiftool.*mogrify'
        with pytest.raises(DataError, match=text):
            FileSample('a', image, labels, LabelMap.of_classes(9))


def test_orientation_comes_before_the_size(tmp_path: Path) -> None:
    image, labels = tmp_path / 'a.jpg', tmp_path / 'a.png'
    image.write_bytes(TURNED['jpeg'](6))
    labels.write_bytes(png(IDS.swapaxes(0, 1), 0))
    with pytest.raises(DataError, match='Orientation = 6'):
        FileSample('a', image, labels, LabelMap.of_classes(9))


def test_turned_labels(tmp_path: Path) -> None:
    image, labels = tmp_path / 'a.tif', tmp_path / 'b.tif'
    image.write_bytes(tiff(page(RGB, 2)))
    labels.write_bytes(tiff(page(IDS, 1, tags={274: (3, [8])})))
    with pytest.raises(DataError, match=r'b\.tif has the EXIF tag Orientation = 8 .*a\.tif'):
        FileSample('a', image, labels, LabelMap.of_classes(9))


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (TURNED['jpeg'](3), 'EXIF orientation 3 (turned by 180 degrees) is not applied'),
        (png(np.dstack((RGB, RGB[..., :1])), 6), 'alpha left out'),
        (tiff(page(np.dstack((RGB, IDS)), 2, tags={338: (3, [2])})), '4 bands: alpha beyond'),
        (tiff(page(np.dstack((RGB, IDS)), 2, tags={338: (3, [0])})), 'near infrared'),
        (tiff(page(np.dstack((RGB, IDS)), 1)), '4 bands that are not named: the first three are'),
        (tiff(page(RGB, 2), page(RGB, 2)), '2 pages: the first is read'),
    ],
)
def test_what_is_chosen_is_told_once_for_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, text: str
) -> None:
    for name in ('a.png', 'b.png'):
        (tmp_path / name).write_bytes(data)
        for window in (None, (0, 0, 9, 9), (1, 1, 9, 9)):
            read_image(tmp_path / name, window)
    ((_, level, said),) = caplog.record_tuples
    assert level == logging.WARNING
    assert said.startswith(str(tmp_path / 'a.png')) and text in said
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/c.png').write_bytes(data)
    read_image(tmp_path / 'other/c.png')
    assert len(caplog.records) == 2


def test_nothing_is_told_of_plain_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for data in (png(RGB, 2), jpeg(RGB), WEBP, tiff(page(RGB, 2)), TURNED['tiff'](1)):
        (tmp_path / 'a.png').write_bytes(data)
        read_image(tmp_path / 'a.png')
    assert not caplog.records
