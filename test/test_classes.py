# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Class sets: ids, colours, and what is refused."""

from __future__ import annotations

import pytest

from uhr_seg_ros.classes import CLASS_SETS, ClassSet, ClassSetError, UNLABELLED


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
    assert not palette[UNLABELLED].any()


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
    with pytest.raises(ClassSetError, match=text):
        ClassSet(names, colors)
