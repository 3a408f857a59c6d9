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

"""What newcomers come with, and the pictures of the documents, at small sizes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tools import first_hour_inputs
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.image_io.files import read_ids
from uhr_seg_ros.synthetic.scenes import generate_scene

pytest.importorskip('PIL', reason='writes pictures of few colors')


@pytest.fixture(scope='module')
def researcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the researcher, with ten small images."""
    folder = tmp_path_factory.mktemp('researcher')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_hour_inputs, 'LABELED', (48, 64))
        first_hour_inputs.main(['labeled', str(folder / 'my_images')])
    return folder


def test_ten_labeled_images_of_three_classes(researcher: Path) -> None:
    dataset = open_dataset('folder', researcher / 'my_images')
    assert dataset.classes.names == ('ground', 'plants', 'house')
    counts = {split: len(dataset.files(split)) for split in ('train', 'validation', 'test')}
    assert counts == {'train': 6, 'validation': 2, 'test': 2}
    scene = generate_scene(200, 48, 64)[1]  # building, land, road, vegetation, water
    house, plants = scene == 0, scene == 3
    labels = read_ids(dataset.files('train')[0].label)
    np.testing.assert_array_equal(labels, np.select([house, plants], [2, 1]))


def test_picture_of_what_was_learned(researcher: Path, tmp_path: Path) -> None:
    from tools.first_hour_picture import main, WIDTH

    (researcher / 'masks').mkdir()
    for number in range(first_hour_inputs.LABELED_IMAGES):
        mask = np.full((48, 64), 2, np.uint8)
        cv2.imwrite(str(researcher / f'masks/{number:02}_mask.png'), mask)
    assert main([str(researcher), str(tmp_path / 'own.png')]) == 0
    picture = cv2.imread(str(tmp_path / 'own.png'))
    assert picture.shape == (24 + 2 * (300 + 6), 3 * (WIDTH + 6), 3)
    np.testing.assert_array_equal(picture[150, -50, ::-1], first_hour_inputs.CLASSES['house'])


def test_the_layout_of_rviz_is_what_is_drawn() -> None:
    pytest.importorskip('rclpy', reason='the images are messages')
    from tools.rviz_picture import compose, displays, HEIGHT, WIDTH

    assert [topic['Value'] for topic in displays().values()] == [
        'image_raw',
        'segmentation/overlay',
        'segmentation/color_mask',
        'segmentation/diagnostics_image',
    ]
    shades = dict(zip(displays(), (60, 120, 180, 240), strict=True))
    images = {name: np.full((90, 160, 3), shade, np.uint8) for name, shade in shades.items()}
    window = compose(images)
    assert window.shape == (HEIGHT, WIDTH, 3)
    centers = [window[y, x, 0] for y in (190, 550) for x in (467, 1007)]
    assert centers == list(shades.values())
