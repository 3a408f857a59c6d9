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

"""Files that are decoded whole."""

from __future__ import annotations

from pathlib import Path

import cv2
from making import ids, picture, write
import numpy as np
import pytest

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.files import read_ids, read_image

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
    (tmp_path / 'plain.jpg').write_bytes(data)
    plain = read_image(tmp_path / 'plain.jpg', (0, 0, 40, 60))
    assert plain.shape == (40, 60, 3)
    np.testing.assert_array_equal(read_image(path, (0, 0, 40, 60)), plain)


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
    text = rf'a\{suffix} cannot be read: .* (cut short|truncated|missing)'
    with pytest.raises(ImageError, match=text):
        read_image(path, WINDOW)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r'a\.png cannot be read: No such file'):
        read_image(tmp_path / 'a.png', WINDOW)


def test_16_bits_are_refused(tmp_path: Path) -> None:
    write(tmp_path / 'a.png', np.full((40, 60), 300, np.uint16))
    for read in (read_image, read_ids):
        with pytest.raises(ImageError, match=r'a\.png cannot be read: it is uint16.* 300'):
            read(tmp_path / 'a.png', WINDOW)


def test_colours_are_no_ids(tmp_path: Path) -> None:
    write(tmp_path / 'a.png', picture(0, 40, 60))
    text = r'a\.png cannot be read: it has 3 channels, expected one channel of class'
    with pytest.raises(ImageError, match=text):
        read_ids(tmp_path / 'a.png', WINDOW)
