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

"""Masks of a teacher become labels, and figures tell how far they can be trusted."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from uhr_seg_ros.cli.main import main


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), values.astype(np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images; people labeled the first one. The teacher's masks lie beside them."""
    for name in 'abc':
        write(tmp_path / f'images/{name}.png', np.zeros((8, 16, 3)))
    (tmp_path / 'classes.yaml').write_text(
        'classes: [{name: soil, color: [0, 0, 0]}, {name: crop, color: [9, 9, 9]}]'
    )
    write(tmp_path / 'labels/a.png', np.zeros((8, 16)))
    teacher = tmp_path / 'teacher'
    mostly = np.zeros((8, 16))
    mostly[:, :4] = 1
    write(teacher / 'a_mask.png', mostly)
    write(teacher / 'b.png', np.ones((8, 16)))
    sure = np.full((8, 16), 255)
    sure[:2] = 100
    write(teacher / 'b_confidence.png', sure)
    write(teacher / 'c_y0_x0.png', np.zeros((8, 10)))
    right = np.zeros((8, 10))
    right[:, :2] = 1
    write(teacher / 'c_y0_x6.png', right)
    return tmp_path


def distill(root: Path) -> dict:
    assert main(['distill', '--teacher-masks', str(root / 'teacher'), '--root', str(root)]) == 0
    return json.loads((root / 'distill.json').read_text())


def test_labels_and_figures(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = distill(root)
    assert (figures['written'], figures['compared']) == (['b', 'c'], ['a'])
    assert figures['agreement'] == 0.75
    assert figures['unsure_share'] == 2 / 24
    # Four columns overlap; in two of them the right tile says something else.
    assert figures['contradicted_share_of_overlap'] == 0.5
    assert 'the teacher contradicts itself on 50.0%' in capsys.readouterr().out
    b, c = (cv2.imread(str(root / f'labels/{name}.png'), -1) for name in 'bc')
    assert (b[:2] == 255).all() and (b[2:] == 1).all()
    assert (c[:, 6:8] == 255).all() and (c[:, :6] == 0).all() and (c[:, 8:] == 0).all()


def test_labels_of_people_stay_and_those_of_the_teacher_do_not(root: Path) -> None:
    distill(root)
    write(root / 'teacher/b.png', np.zeros((8, 16)))
    assert distill(root)['written'] == ['b', 'c']
    a, b = (cv2.imread(str(root / f'labels/{name}.png'), -1) for name in 'ab')
    assert (a == 0).all() and (b[2:] == 0).all()


@pytest.mark.parametrize(
    ('name', 'values', 'told'),
    [
        ('b.png', np.full((8, 16), 2), 'holds 2, expected 0 to 1'),
        ('c_y4_x6.png', np.zeros((8, 10)), 'reaches beyond its image of 16x8 px'),
        ('b_confidence.png', np.zeros((4, 4)), 'has 4x4 px, its mask 16x8'),
    ],
)
def test_masks_that_do_not_fit(
    root: Path, name: str, values: np.ndarray, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root / f'teacher/{name}', values)
    assert main(['distill', '--teacher-masks', str(root / 'teacher'), '--root', str(root)]) == 2
    assert told in ' '.join(capsys.readouterr().err.split())
