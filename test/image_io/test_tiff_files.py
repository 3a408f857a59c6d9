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

"""Windows of TIFF files: equal to crops of the whole, and no more is read than they touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
from making import picture
import numpy as np
import pytest

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.files import cache, read_ids, read_image
from uhr_seg_ros.image_io.headers import image_size, is_read_by_window

HEIGHT, WIDTH = 150, 203
BGR = picture(0, HEIGHT, WIDTH)
KINDS: dict[str, dict[str, Any]] = {
    'one strip': {},
    'strips': {'rowsperstrip': 7},
    'tiles': {'tile': (32, 48)},
    'deflated tiles': {'tile': (32, 48), 'compression': 'zlib'},
    'deflated strips': {'rowsperstrip': 7, 'compression': 'zlib', 'predictor': True},
    'deflated planes': {'rowsperstrip': 7, 'compression': 'zlib', 'planarconfig': 'separate'},
    'planes': {'planarconfig': 'separate'},
    'one deflated strip': {'rowsperstrip': HEIGHT, 'compression': 'zlib'},
    'big': {'bigtiff': True, 'tile': (32, 48), 'byteorder': '>'},
}
WINDOWS = [
    (0, 0, HEIGHT, WIDTH),
    (31, 47, 2, 2),
    (32, 48, 32, 48),
    (149, 202, 1, 1),
    (5, 3, 90, 9),
]


@pytest.fixture
def tifffile() -> Any:
    return pytest.importorskip('tifffile', reason='TIFF files are written with tifffile')


def _write(tifffile: Any, path: Path, kind: str) -> None:
    options = KINDS[kind]
    rgb = BGR[..., ::-1]
    if options.get('planarconfig'):
        rgb = np.moveaxis(rgb, 2, 0)
    tifffile.imwrite(path, rgb, photometric='rgb', **options)


@pytest.mark.parametrize('kind', KINDS)
def test_windows_equal_crops_of_the_whole(tifffile: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'a.tif'
    _write(tifffile, path, kind)
    assert image_size(path) == (HEIGHT, WIDTH)
    for top, left, height, width in WINDOWS:
        expected = BGR[top : top + height, left : left + width]
        assert np.array_equal(read_image(path, (top, left, height, width)), expected)


def test_other_tiles_are_not_read(tifffile: Any, tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    _write(tifffile, path, 'deflated tiles')
    with tifffile.TiffFile(path) as file:
        offsets, counts = file.pages[0].dataoffsets, file.pages[0].databytecounts
    data = bytearray(path.read_bytes())
    # Rows 32 to 63, columns 48 to 95: the second tile of the second row of five.
    for index in set(range(len(offsets))) - {6}:
        data[offsets[index] : offsets[index] + counts[index]] = bytes(counts[index])
    path.write_bytes(data)
    assert np.array_equal(read_image(path, (32, 48, 32, 48)), BGR[32:64, 48:96])
    with pytest.raises(ImageError, match=r'a\.tif cannot be read: .* damaged: strip or tile 1'):
        read_image(path, (31, 48, 32, 48))


def test_holes_of_a_sparse_file_are_zero(tifffile: Any, tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    tiles = iter([BGR[:32, :48, ::-1], None, None, BGR[32:64, 48:96, ::-1]])
    tifffile.imwrite(
        path,
        tiles,
        shape=(64, 96, 3),
        dtype=np.uint8,
        photometric='rgb',
        tile=(32, 48),
        compression='zlib',
    )
    image = read_image(path, (16, 24, 48, 72))
    assert np.array_equal(image[:16, :24], BGR[16:32, 24:48])
    assert np.array_equal(image[16:, 24:], BGR[32:64, 48:96])
    assert not image[:16, 24:].any() and not image[16:, :24].any()


@pytest.mark.parametrize('kind', ['one strip', 'deflated strips'])
def test_windows_are_not_kept(tifffile: Any, tmp_path: Path, kind: str) -> None:
    _write(tifffile, tmp_path / 'a.tif', kind)
    before = cache.bytes
    read_image(tmp_path / 'a.tif', (5, 5, 20, 20))
    assert cache.bytes == before
    assert is_read_by_window(tmp_path / 'a.tif')


def test_one_compressed_strip_is_decoded_once(tifffile: Any, tmp_path: Path) -> None:
    _write(tifffile, tmp_path / 'a.tif', 'one deflated strip')
    before = cache.bytes
    read_image(tmp_path / 'a.tif', (5, 5, 20, 20))
    assert cache.bytes == before + BGR.nbytes
    assert not is_read_by_window(tmp_path / 'a.tif')


@pytest.mark.parametrize('end', [50, 3000, -10])
def test_a_file_that_ends_early(tifffile: Any, tmp_path: Path, end: int) -> None:
    path = tmp_path / 'a.tif'
    for kind in ('one strip', 'tiles', 'deflated strips', 'one deflated strip'):
        _write(tifffile, path, kind)
        path.write_bytes(path.read_bytes()[:end])
        with pytest.raises(ImageError, match=r'a\.tif'):
            read_image(path, (HEIGHT - 20, WIDTH - 20, 20, 20))


def test_what_needs_imagecodecs_goes_through_opencv(tifffile: Any, tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    # OpenCV writes LZW, in strips.
    assert cv2.imwrite(str(path), np.concatenate([BGR] * 9))
    assert np.array_equal(read_image(path, (31, 47, 40, 50)), BGR[31:71, 47:97])


def test_grey_alpha_and_ids(tifffile: Any, tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    gray = BGR[..., 0]
    tifffile.imwrite(path, gray, photometric='minisblack', rowsperstrip=7, compression='zlib')
    assert np.array_equal(read_image(path, (9, 9, 30, 30)), np.stack([gray[9:39, 9:39]] * 3, 2))
    assert np.array_equal(read_ids(path, (9, 9, 30, 30)), gray[9:39, 9:39])
    rgba = np.dstack([BGR[..., ::-1], gray])
    tifffile.imwrite(path, rgba, photometric='rgb', extrasamples=['unassalpha'], tile=(32, 32))
    assert np.array_equal(read_image(path, (9, 9, 30, 30)), BGR[9:39, 9:39])


def test_a_palette_is_colours(tifffile: Any, tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    colors = np.zeros((3, 256), np.uint16)
    colors[0] = 257 * np.arange(255, -1, -1)
    gray = BGR[..., 0]
    tifffile.imwrite(path, gray, photometric='palette', colormap=colors)
    assert np.array_equal(read_image(path, (9, 9, 30, 30))[..., 2], 255 - gray[9:39, 9:39])
    assert np.array_equal(read_ids(path, (9, 9, 30, 30)), gray[9:39, 9:39])


def test_16_bits_are_refused(tifffile: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / 'a.tif', BGR.astype(np.uint16), photometric='rgb')
    with pytest.raises(ImageError, match=r'a\.tif cannot be read: it is uint16, .* is 180'):
        read_image(tmp_path / 'a.tif', (0, 0, 9, 9))
