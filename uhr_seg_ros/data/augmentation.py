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

"""What is random about a crop: fields with ranges, published presets, reading from YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
import math
from typing import Any

from uhr_seg_ros.core.config_reader import is_number
from uhr_seg_ros.core.errors import DataError

Range = tuple[float, float]


def _is_whole(value: Any, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _is_pair(value: Any, is_one: Callable[[Any], bool]) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(is_one, value))


def _is_range(value: Any) -> bool:
    return _is_pair(value, is_number) and -math.inf < value[0] <= value[1] < math.inf


def _is_side(value: Any) -> bool:
    return _is_whole(value, 1)


#: Names of fields, what is right for them, and how that is said.
_RULES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (
        ('scale', 'gamma', 'contrast', 'saturation'),
        lambda value: _is_range(value) and value[0] > 0,
        'two numbers above 0, the smaller one first',
    ),
    (('angle',), _is_range, 'two numbers, the smaller one first'),
    (
        ('max_share', 'balanced', 'flip', 'rotation', 'shade', 'white_balance', 'haze'),
        lambda value: is_number(value) and 0 <= value <= 1,
        'a number from 0 to 1',
    ),
    (
        ('brightness', 'blur', 'noise'),
        lambda value: is_number(value) and 0 <= value <= 255,
        'a number from 0 to 255',
    ),
    (('hue',), lambda value: _is_whole(value, 0) and value <= 90, 'a whole number from 0 to 90'),
    (
        ('fit',),
        lambda value: value is None or _is_pair(value, _is_side),
        'two whole numbers of px: long side, short side',
    ),
    (
        (
            'scale_uniform',
            'antialias',
            'keep_image',
            'shuffled',
            'symmetries',
            'fill_corners',
            'published_order',
        ),
        lambda value: isinstance(value, bool),
        'true or false',
    ),
)


@dataclass(frozen=True)
class Augmentation:
    """
    Random changes of a crop, in the order in which they are made.

    The defaults are those of the shipped aerial model; `AUGMENTATIONS` has the published ones.
    Of shade to noise, each is made to one half of the crops; a range without width, or 0, is off.

    Attributes:
        fit: Long and short side in px that the whole image is first fitted into; None: its own.
        scale: Range of the factor of the size.
        scale_uniform: Draw the factor uniformly, as published; otherwise log-uniformly.
        antialias: Shrink by averaging; otherwise bilinearly, as published.
        max_share: A crop shows at most this share of one class, unless 10 tries do not find one.
        keep_image: Further tries stay in the same image, as published.
        shuffled: Every image is shown once before any is again, as published; otherwise images
            are drawn in proportion to their area.
        balanced: Probability that the best of 10 places for one class is taken, all classes
            alike, in place of `max_share`.
        symmetries: Take one of the 8 symmetries of the square: from above, no direction is
            special.
        flip: Probability of a mirror image, left to right.
        rotation: Probability of a rotation about the centre.
        angle: Its range in degrees, clockwise.
        fill_corners: Read so much around a crop that a rotation shows no empty corners;
            otherwise they are black and ignored, as published.
        shade: Largest share of the light that patches of shade take away.
        gamma: Range of the exponent of all values, log-uniform.
        brightness: Largest amount added to all values.
        contrast: Range of the factor of all values.
        saturation: Range of the factor of the saturation.
        hue: Largest turn of the hue in units of 2 degrees.
        white_balance: Largest share by which the gain of each channel changes.
        haze: Largest share of a pale veil over the image.
        published_order: Change the contrast before or after the colours, by chance, each step
            rounded down to 8 bits, and never turn the hue up by all of `hue`; otherwise all at
            once, which takes half of the time.
        blur: Largest standard deviation in px.
        noise: Largest standard deviation in grey levels.

    Raises:
        DataError: A field is out of its range; the text names it and its value.
    """

    fit: tuple[int, int] | None = None
    scale: Range = (0.5, 1.5)
    scale_uniform: bool = False
    antialias: bool = True
    max_share: float = 0.75
    keep_image: bool = False
    shuffled: bool = False
    balanced: float = 0.0
    symmetries: bool = True
    flip: float = 0.0
    rotation: float = 0.0
    angle: Range = (90.0, 270.0)
    fill_corners: bool = False
    shade: float = 0.0
    gamma: Range = (1.0, 1.0)
    brightness: float = 32.0
    contrast: Range = (0.5, 1.5)
    saturation: Range = (0.5, 1.5)
    hue: int = 18
    white_balance: float = 0.0
    haze: float = 0.0
    published_order: bool = False
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for names, is_right, expected in _RULES:
            for name in names:
                value = getattr(self, name)
                if not is_right(value):
                    shown = list(value) if isinstance(value, tuple) else value
                    msg = f'augmentation field {name} is {shown!r}, expected {expected}'
                    raise DataError(msg)


_PUBLISHED = Augmentation(
    scale=(1.0, 1.0),
    scale_uniform=True,
    antialias=False,
    keep_image=True,
    shuffled=True,
    symmetries=False,
    flip=0.5,
    published_order=True,
)

_STRONG = Augmentation(
    balanced=0.3,
    rotation=0.5,
    angle=(-45.0, 45.0),
    fill_corners=True,
    shade=0.4,
    gamma=(0.7, 1.4),
    blur=1.0,
    noise=6.0,
)

#: Neither sizes nor colors change.
_GEOMETRIC = Augmentation(
    scale=(1.0, 1.0),
    max_share=1.0,
    shuffled=True,
    brightness=0.0,
    contrast=(1.0, 1.0),
    saturation=(1.0, 1.0),
    hue=0,
)

#: Presets by name: three as HLRC was trained, one each as FCtL and learned downsampling were, and
#: two for views from above. ``aerial`` is what `Augmentation` gives by itself.
AUGMENTATIONS: dict[str, Augmentation] = {
    'cityscapes': replace(_PUBLISHED, fit=(2048, 1024), scale=(0.5, 2.0)),
    'inria': replace(_PUBLISHED, fit=(4000, 4000), rotation=0.5),
    'deepglobe': replace(_PUBLISHED, fit=(2448, 2448), rotation=0.5),
    'fctl': _GEOMETRIC,
    'deform': replace(_GEOMETRIC, symmetries=False, flip=0.5),
    'aerial': Augmentation(),
    'aerial_strong': _STRONG,
    'aerial_any_light': replace(_STRONG, white_balance=0.2, haze=0.5),
}


def read_augmentation(value: str | Mapping[str, Any]) -> Augmentation:
    """
    Read what a YAML file says about augmentation.

    Args:
        value: Name of a preset; or a mapping of fields, those that are left out as in the preset
            of its key ``preset``, or as in `Augmentation` without one.

    Raises:
        DataError: The preset or a field is unknown, or a value is out of its range.
    """
    content = {'preset': value} if isinstance(value, str) else value
    if not isinstance(content, Mapping):
        msg = f'augmentation is {value!r}, expected the name of a preset or a mapping of fields'
        raise DataError(msg)
    given = {str(name): _from_yaml(item) for name, item in content.items()}
    preset = given.pop('preset', 'aerial')
    if not isinstance(preset, str) or preset not in AUGMENTATIONS:
        msg = f'augmentation preset {preset!r} is unknown, known: {", ".join(AUGMENTATIONS)}'
        raise DataError(msg)
    known = [field.name for field in fields(Augmentation)]
    if unknown := [name for name in given if name not in known]:
        msg = f'augmentation field {unknown[0]!r} is unknown, known: preset, {", ".join(known)}'
        raise DataError(msg)
    return replace(AUGMENTATIONS[preset], **given)


def _from_yaml(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
