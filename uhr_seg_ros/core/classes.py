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

"""Class names and colours of the known data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from uhr_seg_ros.core.config_reader import Fields, name_fault, quoting_hint
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.text import listed, shown

#: Mask id of a pixel without a class, as in vision_msgs/LabelInfo and in label images.
UNLABELED = 255

#: The largest number of classes that a uint8 mask with `UNLABELLED` can hold.
MAX_UINT8_CLASSES = 255

#: The largest number of classes that a uint16 mask can hold.
MAX_CLASSES = 65535


def mask_dtype(classes: int) -> np.dtype:
    """Return the type of a mask of so many classes: uint8, or uint16 above 255."""
    return np.dtype(np.uint8 if classes <= MAX_UINT8_CLASSES else np.uint16)


@dataclass(frozen=True)
class ClassSet:
    """
    Class names and colours; the position is the id in the mask.

    Attributes:
        names: one name per class, unique.
        colors: one RGB colour per class, components 0..255.
        unused: ids that no mask has, as their classes were merged into others or hidden.

    Raises:
        BundleError: no class, too many classes, a name that is empty, repeated or no text, or a
            colour that is none.

    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    unused: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_CLASSES:
            msg = f'a class set has 1 to {MAX_CLASSES} classes, not {len(self.names)}'
            raise BundleError(msg)
        if len(self.names) != len(self.colors):
            msg = f'{len(self.names)} class names but {len(self.colors)} colours'
            raise BundleError(msg)
        for name, color in zip(self.names, self.colors, strict=True):
            if not isinstance(name, str):
                msg = f'class name {shown(name)} is no text{quoting_hint(name)}'
                raise BundleError(msg)
            if fault := name_fault(name):
                msg = f'class name {shown(name)}: expected {fault}'
                raise BundleError(msg)
            if not _is_color(color):
                msg = (
                    f'class {shown(name)}: colour {shown(color)} is not three whole numbers '
                    'from 0 to 255'
                )
                raise BundleError(msg)
        if len(set(self.names)) < len(self.names):
            counts = Counter(self.names)
            repeated = sorted(name for name, count in counts.items() if count > 1)
            msg = f'class names appear more than once: {listed(repeated)}'
            raise BundleError(msg)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def ids(self) -> dict[str, int]:
        """The ids that a mask may have, by the names of their classes."""
        return {
            name: number for number, name in enumerate(self.names) if number not in self.unused
        }

    def palette_bgr(self) -> np.ndarray:
        """
        Return the colour of every mask id.

        Returns:
            (256, 3) uint8 BGR, or (65536, 3) for more than 255 classes; ids without a class,
            `UNLABELLED` among them, are black.

        """
        size = 256 if len(self) <= MAX_UINT8_CLASSES else 65536
        palette = np.zeros((size, 3), np.uint8)
        palette[: len(self)] = np.array(self.colors, np.uint8)[:, ::-1]
        return palette


def read_classes(fields: Fields) -> ClassSet:
    """
    Read the field ``classes``: a list of entries such as ``{name: road, color: [110, 84, 160]}``.

    Raises:
        UhrSegError: of the class that `fields` raises; it is missing or wrong.

    """
    names, colors = [], []
    for index, entry in enumerate(fields.get('classes', list)):
        known = isinstance(entry, dict) and 'name' in entry and 'color' in entry
        if not known or not isinstance(entry['color'], (list, tuple)):
            text = (
                'field classes needs entries such as {name: road, color: [110, 84, 160]}, '
                f'entry {index} is {shown(entry)}'
            )
            raise fields.error(text)
        names.append(entry['name'])
        colors.append(tuple(entry['color']))
    try:
        return ClassSet(tuple(names), tuple(colors))
    except BundleError as err:
        raise fields.error(str(err)) from err


def _is_color(color: object) -> bool:
    return (
        isinstance(color, Sequence)
        and len(color) == 3
        and all(
            isinstance(part, Integral) and not isinstance(part, bool) and 0 <= int(part) <= 255
            for part in color
        )
    )


def _class_set(**colors: tuple[int, int, int]) -> ClassSet:
    names = tuple(name.replace('_', ' ') for name in colors)
    return ClassSet(names, tuple(colors.values()))


CLASS_SETS: dict[str, ClassSet] = {
    'cityscapes': _class_set(
        road=(128, 64, 128),
        sidewalk=(244, 35, 232),
        building=(70, 70, 70),
        wall=(102, 102, 156),
        fence=(190, 153, 153),
        pole=(153, 153, 153),
        traffic_light=(250, 170, 30),
        traffic_sign=(220, 220, 0),
        vegetation=(107, 142, 35),
        terrain=(152, 251, 152),
        sky=(70, 130, 180),
        person=(220, 20, 60),
        rider=(255, 0, 0),
        car=(0, 0, 142),
        truck=(0, 0, 70),
        bus=(0, 60, 100),
        train=(0, 80, 100),
        motorcycle=(0, 0, 230),
        bicycle=(119, 11, 32),
    ),
    'inria': _class_set(background=(0, 0, 0), building=(255, 255, 255)),
    'deepglobe': _class_set(
        unknown=(0, 0, 0),
        urban=(0, 255, 255),
        agriculture=(255, 255, 0),
        rangeland=(255, 0, 255),
        forest=(0, 255, 0),
        water=(0, 0, 255),
        barren=(255, 255, 255),
    ),
    'aerial': _class_set(
        building=(214, 60, 54),
        land=(222, 196, 148),
        road=(110, 84, 160),
        vegetation=(58, 150, 66),
        water=(46, 116, 214),
    ),
    'street': _class_set(
        sky=(128, 128, 128),
        building=(128, 0, 0),
        pole=(192, 192, 128),
        road=(128, 64, 128),
        pavement=(0, 0, 192),
        tree=(128, 128, 0),
        sign=(192, 128, 128),
        fence=(64, 64, 128),
        car=(64, 0, 128),
        pedestrian=(64, 64, 0),
        bicyclist=(0, 128, 192),
    ),
}
