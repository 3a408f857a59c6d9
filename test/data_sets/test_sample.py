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

"""Labelled images: windows, parts, values, sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from written import ids, picture, write

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.label_map import LabelMap
from uhr_seg_ros.data.sample import ArraySample, Crop, FileSample, Sample

IMAGE, LABELS = picture(0, 60, 90), ids(0, 60, 90, 5)
LABELS[3, 4] = 255
FIVE = LabelMap.of_classes(5)


@pytest.fixture(params=['memory', 'disk', 'part'])
def labeled(request: pytest.FixtureRequest, tmp_path: Path) -> Sample:
    if request.param == 'memory':
        return ArraySample('m', IMAGE, LABELS)
    if request.param == 'part':
        around = ((11, 5), (7, 3))
        image, labels = np.pad(IMAGE, (*around, (0, 0))), np.pad(LABELS, around)
        return Crop(ArraySample('m', image, labels), (11, 7, 60, 90))
    write(tmp_path / 'm.png', IMAGE)
    write(tmp_path / 'm_labels.png', LABELS)
    return FileSample('m', tmp_path / 'm.png', tmp_path / 'm_labels.png', FIVE)


def test_whole_and_by_window(labeled: Sample) -> None:
    assert labeled.name == labeled.ground == 'm'
    assert labeled.size == (60, 90)
    image, labels = labeled.read()
    assert np.array_equal(image, IMAGE)
    assert np.array_equal(labels, LABELS)
    assert image.dtype == labels.dtype == np.uint8
    image, labels = labeled.read((2, 3, 20, 40))
    assert np.array_equal(image, IMAGE[2:22, 3:43])
    assert np.array_equal(labels, LABELS[2:22, 3:43])
    assert np.array_equal(labeled.read_image((59, 89, 1, 1)), IMAGE[59:, 89:])
    assert np.array_equal(labeled.read_labels((59, 89, 1, 1)), LABELS[59:, 89:])


@pytest.mark.parametrize(
    'window', [(-1, 0, 5, 5), (0, -1, 5, 5), (56, 0, 5, 5), (0, 86, 5, 5), (0, 0, 0, 5)]
)
def test_a_window_lies_inside(labeled: Sample, window: tuple) -> None:
    with pytest.raises(DataError, match='m: window .* is not inside the image of 60x90 px'):
        labeled.read(window)


def _files(folder: Path, labels: np.ndarray, encoding: LabelMap = FIVE) -> FileSample:
    write(folder / 'm.jpg', IMAGE)
    write(folder / 'm.png', labels)
    return FileSample('m', folder / 'm.jpg', folder / 'm.png', encoding)


def test_size_mismatch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'm\.png is 60x89 px, its image .*m\.jpg 60x90'):
        _files(tmp_path, LABELS[:, :-1])


@pytest.mark.parametrize('value', [5, 254])
def test_value_out_of_range(tmp_path: Path, value: int) -> None:
    labels = LABELS.copy()
    labels[40, 50] = value
    image = _files(tmp_path, labels)
    image.read_labels((0, 0, 40, 50))
    text = rf'm\.png holds the value {value}, expected 0 to 4 or 255'
    with pytest.raises(DataError, match=text):
        image.read_labels((40, 50, 1, 1))


def test_encodings_map_values_and_give_hints(tmp_path: Path) -> None:
    labels = np.where(LABELS == 255, 7, LABELS).astype(np.uint8)
    image = _files(tmp_path, labels, LabelMap({0: 3, 1: 2, 2: 1, 3: 0, 4: 4, 7: 255}))
    expected = np.select([LABELS < 4], [3 - LABELS], LABELS)
    assert np.array_equal(image.read_labels(), expected)
    image = _files(tmp_path, labels, LabelMap({0: 0, 1: 1}, {7: ', ask the author'}))
    with pytest.raises(DataError, match='holds the value 2, expected 0 to 1, ask the author'):
        image.read_labels()
