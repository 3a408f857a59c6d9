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

"""Fields, presets and reading of augmentation."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.data.augmentation import Augmentation, AUGMENTATIONS, read_augmentation


def test_published_presets() -> None:
    city, inria, globe = (AUGMENTATIONS[name] for name in ('cityscapes', 'inria', 'deepglobe'))
    assert (city.fit, city.scale, city.rotation) == ((2048, 1024), (0.5, 2.0), 0.0)
    assert (inria.fit, inria.scale, inria.rotation) == ((4000, 4000), (1.0, 1.0), 0.5)
    assert (globe.fit, globe.scale, globe.rotation) == ((2448, 2448), (1.0, 1.0), 0.5)
    for preset in (city, inria, globe):
        assert preset.angle == (90.0, 270.0)
        assert (preset.flip, preset.max_share) == (0.5, 0.75)
        assert (preset.brightness, preset.contrast, preset.saturation, preset.hue) == (
            32.0,
            (0.5, 1.5),
            (0.5, 1.5),
            18,
        )
        assert preset.published_order and preset.keep_image and preset.scale_uniform
        assert not (preset.symmetries or preset.antialias or preset.fill_corners)
        assert not (preset.shade or preset.blur or preset.noise or preset.balanced)


def test_defaults_are_those_of_the_aerial_model() -> None:
    assert AUGMENTATIONS['aerial'] == Augmentation() == read_augmentation({})
    assert Augmentation().scale == (0.5, 1.5)


def test_reading() -> None:
    assert read_augmentation('cityscapes') is not None
    read = read_augmentation({'preset': 'inria', 'scale': [0.8, 1.25], 'flip': 0})
    assert read == replace(AUGMENTATIONS['inria'], scale=(0.8, 1.25), flip=0)
    assert read_augmentation({'fit': [4000, 3000]}).fit == (4000, 3000)


@pytest.mark.parametrize('name', [field.name for field in fields(Augmentation)])
@pytest.mark.parametrize('value', ['1.0', [1.0], [2.0, 1.0], -1, 1000, {}, float('nan')])
def test_every_field_is_checked(name: str, value: object) -> None:
    with pytest.raises(DataError, match=f'augmentation field {name} is .*, expected '):
        read_augmentation({name: value})


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        ('ade20k', "preset 'ade20k' is unknown, known: cityscapes, inria, deepglobe, fctl"),
        ({'preset': 3}, 'preset 3 is unknown'),
        ({'sheer': 1}, "field 'sheer' is unknown, known: preset, fit, scale"),
        ({1: 1}, "field '1' is unknown"),
        (['aerial'], 'expected the name of a preset or a mapping'),
        (None, 'augmentation is None, expected the name of a preset'),
        ({'scale': [0, 1]}, r'field scale is \[0, 1\], expected two numbers above 0'),
        ({'max_share': True}, 'field max_share is True, expected a number from 0 to 1'),
        ({'hue': 18.0}, 'field hue is 18.0, expected a whole number from 0 to 90'),
    ],
)
def test_wrong_texts(value: object, text: str) -> None:
    with pytest.raises(DataError, match=text):
        read_augmentation(value)
