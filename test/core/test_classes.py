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

"""Class sets: ids, colours, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.core.classes import CLASS_SETS, ClassSet, UNLABELED
from uhr_seg_ros.core.errors import BundleError


def test_known_sets() -> None:
    sizes = {name: len(classes) for name, classes in CLASS_SETS.items()}
    expected = {'cityscapes': 19, 'inria': 2, 'deepglobe': 7, 'aerial': 5, 'street': 11}
    assert sizes == expected
    assert CLASS_SETS['aerial'].names == ('building', 'land', 'road', 'vegetation', 'water')
    assert CLASS_SETS['cityscapes'].names[6] == 'traffic light'
    assert CLASS_SETS['street'].names[3:5] == ('road', 'pavement')


def test_palette_is_bgr_and_black_without_class() -> None:
    palette = ClassSet(('a', 'b'), ((1, 2, 3), (4, 5, 6))).palette_bgr()
    assert palette.shape == (256, 3)
    assert palette[1].tolist() == [6, 5, 4]
    assert not palette[2:].any()
    assert not palette[UNLABELED].any()


def test_palette_of_many_classes() -> None:
    count = 300
    classes = ClassSet(tuple(map(str, range(count))), ((9, 9, 9),) * count)
    assert classes.palette_bgr().shape == (65536, 3)


@pytest.mark.parametrize(
    ('names', 'colors', 'text'),
    [
        ((), (), 'not 0'),
        (('a',), (), '1 class names but 0 colours'),
        (('a', 'a'), ((0, 0, 0),) * 2, 'more than once: a'),
        (('a',), ((0, 0, 256),), "class 'a': colour"),
        (('a',), ((0, 0),), "class 'a': colour"),
    ],
)
def test_refused(names: tuple, colors: tuple, text: str) -> None:
    with pytest.raises(BundleError, match=text):
        ClassSet(names, colors)


def test_what_is_no_name_or_colour() -> None:
    for name, text in (
        (False, 'False is no text: put yes, no'),
        ('', 'not empty'),
        (' ', 'not empty'),
        ('a\x1b[31m', 'without control characters'),
        ('x' * 201, 'at most 200 characters'),
    ):
        with pytest.raises(BundleError, match=text):
            ClassSet((name,), ((0, 0, 0),))
    for color in ((12.7, 0, 0), (True, 0, 0), ('1', 0, 0), (float('nan'), 0, 0), 7, 'abc'):
        with pytest.raises(BundleError, match='is not three whole numbers from 0 to 255'):
            ClassSet(('a',), (color,))
    assert ClassSet(('a',), (tuple(np.uint8([1, 2, 3])),)).palette_bgr()[0].tolist() == [3, 2, 1]


def test_names_are_compared_a_few_times_each() -> None:
    comparisons = 0

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return str.__eq__(self, other)

    count = 2000
    ClassSet(tuple(Name(f'class {index}') for index in range(count)), ((0, 0, 0),) * count)
    assert comparisons < 10 * count
