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

"""Images that a format can hold, and those that it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from uhr_seg_ros.core.errors import WriteError
from uhr_seg_ros.core.image_writing import check_format, encode_image, fits, MAX_SIDES, write_image


@pytest.mark.parametrize(('suffix', 'limit'), MAX_SIDES.items())
def test_limits_are_those_of_the_encoders(suffix: str, limit: int) -> None:
    for shape in ((1, limit, 3), (limit, 1, 3)):
        assert fits(suffix, shape) and fits(suffix.upper(), shape)
        assert encode_image(suffix, np.zeros(shape, np.uint8))
    done, _ = _without_words(suffix, np.zeros((1, limit + 1, 3), np.uint8))
    assert not done
    assert not fits(suffix, (limit + 1, 1))


def _without_words(suffix: str, image: np.ndarray) -> tuple[bool, object]:
    try:
        return cv2.imencode(suffix, image)
    except cv2.error:  # of some versions
        return False, None


@pytest.mark.parametrize(
    ('name', 'image', 'text'),
    [
        ('a.jpg', np.zeros((2, 65_501, 3), np.uint8), '65501x2 px does not fit into JPG'),
        ('a.JPG', np.zeros((65_501, 2), np.uint8), 'whose sides end at 65,500 px'),
        ('a.webp', np.zeros((16_384, 1, 3), np.uint8), 'whose sides end at 16,383 px'),
        ('a.doc', np.zeros((2, 2, 3), np.uint8), 'cannot be made DOC'),
        ('a', np.zeros((2, 2, 3), np.uint8), 'cannot be made a file without a suffix'),
        ('a.png', np.zeros((0, 2, 3), np.uint8), 'cannot be made PNG'),
        ('a.png', np.zeros((2, 2, 7), np.uint8), 'cannot be made PNG'),
        ('a.png', np.zeros((2, 2), np.int64), 'int64, cannot be made PNG'),
        ('a.jpg', np.zeros((2, 2), np.uint16), 'uint16, cannot be made JPG'),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, image: np.ndarray, text: str) -> None:
    path = tmp_path / name
    with pytest.raises(WriteError) as caught:
        write_image(path, image)
    assert str(caught.value).startswith(f'{path} cannot be written: ')
    assert text in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_masks_of_many_classes(tmp_path: Path) -> None:
    mask = np.array([[0, 255, 256, 65_534]], np.uint16)
    write_image(tmp_path / 'mask.png', mask)
    found = cv2.imread(str(tmp_path / 'mask.png'), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16
    assert (found == mask).all()


@pytest.mark.parametrize('name', ['a.doc', 'a', '.png', 'png'])
def test_formats_are_known_before_the_work(name: str) -> None:
    check_format(Path('a.png'))
    with pytest.raises(WriteError, match='cannot be written: give a .jpg or .png file'):
        check_format(Path(name))
