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

"""Regions drawn in other programs become the labels that were meant."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.annotations import draw_labels, read_annotations
from uhr_seg_ros.data.datasets import open_dataset

CLASSES = ClassSet(('ground', 'roof', 'pond'), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
SIZE = (12, 16)
SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9]]


def expected() -> np.ndarray:
    """Paint a roof of 6x6 px, and over it a pond of 4x2 px."""
    labels = np.full(SIZE, 255, np.uint8)
    labels[3:9, 2:8] = 1
    labels[5:7, 6:10] = 2
    return labels


def labelme() -> dict[str, Any]:
    mask = cv2.imencode('.png', np.full((2, 4), 1, np.uint8))[1].tobytes()
    return {
        'imagePath': '..\\shots\\a.jpg',
        'shapes': [
            {'label': 'roof', 'points': SQUARE, 'shape_type': 'polygon'},
            {
                'label': 'pond',
                'points': [[6, 5], [9, 6]],
                'shape_type': 'mask',
                'mask': base64.b64encode(mask).decode(),
            },
        ],
    }


def cvat() -> str:
    points = ';'.join(f'{x}.0,{y}.0' for x, y in SQUARE)
    return (
        '<?xml version="1.0"?><annotations><version>1.1</version>'
        '<image id="0" name="shots/a.jpg" width="16" height="12">'
        '<mask label="pond" rle="0, 8" left="6" top="5" width="4" height="2" z_order="1"/>'
        f'<polygon label="roof" points="{points}" z_order="0"/></image></annotations>'
    )


def label_studio() -> list[dict[str, Any]]:
    size = {'original_width': 16, 'original_height': 12}
    points = [[x / 16 * 100, y / 12 * 100] for x, y in SQUARE]
    box = {'x': 37.5, 'y': 5 / 12 * 100, 'width': 25, 'height': 2 / 12 * 100}
    roof = {'points': points, 'polygonlabels': ['roof']}
    pond = {**box, 'rotation': 0, 'rectanglelabels': ['pond']}
    results = [
        {'type': 'polygonlabels', 'value': roof, **size},
        {'type': 'rectanglelabels', 'value': pond, **size},
    ]
    data = {'image': '/data/upload/1/0a1b2c3d-a.jpg'}
    return [{'data': data, 'annotations': [{'result': results}]}]


def coco() -> dict[str, Any]:
    pond = np.zeros(SIZE, int)
    pond[5:7, 6:10] = 1
    column = pond.T.ravel()
    edges = np.flatnonzero(np.diff(column)) + 1
    runs = np.diff([0, *edges, column.size]).tolist()
    flat = [value for corner in SQUARE for value in corner]
    return {
        'images': [{'id': 7, 'file_name': 'images/a.jpg'}],
        'categories': [{'id': 1, 'name': 'roof'}, {'id': 2, 'name': 'pond'}],
        'annotations': [
            {'image_id': 7, 'category_id': 1, 'segmentation': [flat]},
            {'image_id': 7, 'category_id': 2, 'segmentation': {'size': SIZE, 'counts': runs}},
        ],
    }


@pytest.mark.parametrize('export', [labelme, cvat, label_studio, coco])
def test_every_program_gives_the_same_labels(tmp_path: Path, export: Any) -> None:
    content = export()
    path = tmp_path / ('export.xml' if export is cvat else 'export.json')
    path.write_text(content if export is cvat else json.dumps(content))
    shapes = read_annotations(path)
    assert list(shapes) == ['a']
    assert np.array_equal(draw_labels(shapes['a'], CLASSES, SIZE), expected())


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        ('{"a": 1}', 'not a Labelme file'),
        ('<annotations><image name="a"><polyline label="x"/></image></annotations>', 'polyline'),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', 'entities'),
        ('{"shapes": [{"label": "roof"}]}', 'is damaged'),
        ('[{"data"', 'is damaged'),
        ('<annotations>', 'not XML'),
    ],
)
def test_what_is_no_export_is_named(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / 'export.json'
    path.write_text(content)
    with pytest.raises(DataError, match=told) as error:
        read_annotations(path)
    assert str(path) in str(error.value)


def test_a_label_that_is_no_class(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(labelme()).replace('pond', 'lake'))
    with pytest.raises(DataError, match="'lake' is none of the classes ground, roof, pond"):
        draw_labels(read_annotations(path)['a'], CLASSES, SIZE)


def test_from_an_export_to_a_folder_set(tmp_path: Path) -> None:
    """Every fifth image is kept for validation; what nobody drew becomes the background."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'drawn').mkdir()
    for name in 'abcde':
        cv2.imwrite(str(tmp_path / f'images/{name}.png'), np.zeros((*SIZE, 3), np.uint8))
        content = json.dumps(labelme()).replace('a.jpg', f'{name}.jpg')
        (tmp_path / f'drawn/{name}.json').write_text(content)
    (tmp_path / 'my.yaml').write_text(
        'classes:\n' + ''.join(f'- {{name: {name}, color: [1, 2, 3]}}\n' for name in CLASSES.names)
    )
    words = ['--root', tmp_path, '--classes', tmp_path / 'my.yaml', '--background', 'ground']
    assert main(['labels', *map(str, (tmp_path / 'drawn', *words))]) == 0
    dataset = open_dataset('folder', tmp_path)
    assert [len(dataset.files(split)) for split in ('train', 'validation')] == [4, 1]
    labels = cv2.imread(str(dataset.files('validation')[0].label), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, np.where(expected() == 255, 0, expected()))
    (tmp_path / 'classes.yaml').unlink()
    assert open_dataset('folder', tmp_path, tmp_path / 'my.yaml').classes.names == CLASSES.names
    with pytest.raises(DataError, match='data set aerial, which has its own'):
        open_dataset('aerial', tmp_path, tmp_path / 'my.yaml')
