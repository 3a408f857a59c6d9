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

"""Classes that are merged, hidden, recolored, and what is refused."""

from __future__ import annotations

import pytest

from uhr_seg_ros.core.class_edits import ClassEdits, syntax_fault
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import ConfigError

STREET = CLASS_SETS['street']  # sky building pole road pavement tree sign fence car ...


def test_a_merged_class_has_the_smallest_id_and_its_color() -> None:
    edits = ClassEdits(
        merge=('ground = pavement + road', 'plant=tree', ''),
        hide=('sky',),
        colors=('ground=#010203', 'car=#FFffFF'),
    )
    classes, became = edits.apply(STREET)
    assert became == [None, 1, 2, 3, 3, 5, 6, 7, 8, 9, 10]
    assert len(classes) == len(STREET)
    assert classes.ids == {
        'building': 1,
        'pole': 2,
        'ground': 3,
        'plant': 5,
        'sign': 6,
        'fence': 7,
        'car': 8,
        'pedestrian': 9,
        'bicyclist': 10,
    }
    assert classes.colors[3] == (1, 2, 3)
    assert classes.colors[8] == (255, 255, 255)
    assert classes.colors[5] == STREET.colors[5]


def test_a_merged_class_may_be_called_as_one_of_them() -> None:
    classes, became = ClassEdits(merge=('car=road+car+sky',), hide=('car',)).apply(STREET)
    assert [number for number, target in enumerate(became) if target is None] == [0, 3, 8]
    assert 'car' not in classes.ids
    assert len(classes.ids) == 8


def test_nothing_wanted_changes_nothing() -> None:
    assert ClassEdits(('',), ('',), ('',)).apply(STREET) == (STREET, list(range(11)))


@pytest.mark.parametrize(
    ('edits', 'text'),
    [
        ({'merge': ('cars',)}, "has 'cars': expected new=a[+]b, such as vehicle=car[+]truck"),
        ({'merge': ('a=car+',)}, 'expected new=a'),
        (
            {'merge': ('a=car+raod',)},
            "classes.merge has 'raod' .is it road..: the bundle has sky,",
        ),
        ({'merge': ('a=car+tree', 'b=tree')}, "has 'tree' twice"),
        ({'merge': ('sky=car+tree',)}, "makes a second 'sky'"),
        ({'hide': ('skye',)}, "classes.hide has 'skye' .is it sky"),
        ({'hide': ('sky', 'sky')}, 'twice'),
        ({'hide': STREET.names}, 'leaves no class'),
        ({'merge': ('a=car+tree',), 'hide': ('tree',)}, "makes 'a': name that"),
        ({'colors': ('road=red',)}, "has 'road=red': expected name=#rrggbb"),
        ({'colors': ('raod=#ff0000',)}, 'is it road'),
        ({'colors': ('road=#ff0000', 'road=#00ff00')}, 'twice'),
    ],
)
def test_refused(edits: dict[str, tuple[str, ...]], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ClassEdits(**edits).apply(STREET)


def test_what_cannot_be_read_is_refused_before_there_are_classes() -> None:
    assert syntax_fault('merge')(['', 'vehicle=car+truck']) == ''
    assert 'expected new=a+b' in syntax_fault('merge')(['vehicle'])
    assert 'expected name=#rrggbb' in syntax_fault('colors')(['road'])
    assert 'twice' in syntax_fault('hide')(['road', 'road'])
