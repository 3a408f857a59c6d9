# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Files that are decoded whole, and what is kept of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from making import ids, picture, write

from uhr_seg_ros.data.errors import DataError
from uhr_seg_ros.data.rasters import ArrayCache, read_ids, read_image

WINDOW = (5, 7, 20, 30)


def test_a_window_is_a_crop(tmp_path: Path) -> None:
    image, labels = picture(0, 40, 60), ids(0, 40, 60, 5)
    write(tmp_path / 'a.png', image)
    write(tmp_path / 'b.png', labels)
    assert np.array_equal(read_image(tmp_path / 'a.png', WINDOW), image[5:25, 7:37])
    assert np.array_equal(read_ids(tmp_path / 'b.png', WINDOW), labels[5:25, 7:37])


def test_grey_becomes_three_channels(tmp_path: Path) -> None:
    write(tmp_path / 'a.png', ids(0, 40, 60, 200))
    assert read_image(tmp_path / 'a.png', WINDOW).shape == (20, 30, 3)


def test_exif_rotation_is_ignored(tmp_path: Path) -> None:
    data = cv2.imencode('.jpg', picture(0, 40, 60))[1].tobytes()
    tag = b'\x01\x12\0\x03\0\0\0\x01\0\x06\0\0'
    exif = b'Exif\0\0MM\0*\0\0\0\x08\0\x01' + tag + b'\0\0\0\0'
    segment = b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
    path = tmp_path / 'a.jpg'
    path.write_bytes(data[:2] + segment + data[2:])
    assert cv2.imread(str(path)).shape == (60, 40, 3)
    assert read_image(path, (0, 0, 40, 60)).shape == (40, 60, 3)


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    for value in (1, 222):
        write(path, np.full((40, 60 + value), value, np.uint8))
        assert read_ids(path, WINDOW)[0, 0] == value


@pytest.mark.parametrize(('suffix', 'keep'), [('.jpg', 0.5), ('.png', 0.5), ('.jpg', 0.97)])
def test_incomplete(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f'a{suffix}'
    write(path, picture(0, 200, 300))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=rf'a\{suffix} .* damaged or incomplete'):
        read_image(path, WINDOW)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'a\.png cannot be read: No such file'):
        read_image(tmp_path / 'a.png', WINDOW)


def test_16_bits_are_refused(tmp_path: Path) -> None:
    write(tmp_path / 'a.png', np.full((40, 60), 300, np.uint16))
    for read in (read_image, read_ids):
        with pytest.raises(DataError, match=r'a\.png is uint16, expected 8 bits'):
            read(tmp_path / 'a.png', WINDOW)


def test_colours_are_no_ids(tmp_path: Path) -> None:
    write(tmp_path / 'a.png', picture(0, 40, 60))
    with pytest.raises(DataError, match=r'a\.png has 3 channels, expected one channel of class'):
        read_ids(tmp_path / 'a.png', WINDOW)


def _array(value: int) -> np.ndarray:
    return np.full(100, value, np.uint8)


def test_the_cache_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    cache, made = ArrayCache(250), []

    def use(key: int) -> None:
        cache.get(key, lambda: made.append(key) or _array(key))

    for key in (1, 2, 1, 3, 1, 2):
        use(key)
    assert made == [1, 2, 3, 2]
    assert cache.bytes == 200
    cache.set_limit(100)
    assert cache.bytes == 100
    use(2)
    assert made == [1, 2, 3, 2]


def test_an_array_above_the_limit_is_given_but_not_kept() -> None:
    cache = ArrayCache(50)
    assert cache.get(1, lambda: _array(1)).sum() == 100
    assert cache.bytes == 0


def test_what_is_kept_cannot_be_changed() -> None:
    kept = ArrayCache(250).get(1, lambda: _array(1))
    with pytest.raises(ValueError, match='read-only'):
        kept[0] = 9


def test_what_two_threads_make_at_once_is_kept_once() -> None:
    cache = ArrayCache(1000)
    cache.get(1, lambda: cache.get(1, lambda: _array(1)).copy())
    assert cache.bytes == 100


def test_threads_share_the_cache() -> None:
    cache = ArrayCache(1000)

    def use(key: int) -> int:
        return cache.get(key, lambda: _array(key))[0]

    keys = [index % 17 for index in range(3000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, keys)) == keys
    assert cache.bytes == 1000
