# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Class names and colours of the known data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from uhr_seg_ros.errors import UhrSegError

if TYPE_CHECKING:
    from uhr_seg_ros.fields import Fields

#: Mask id of a pixel without a class, as in vision_msgs/LabelInfo and in label images.
UNLABELLED = 255

#: The largest number of classes that a uint8 mask with `UNLABELLED` can hold.
MAX_UINT8_CLASSES = 255

#: The largest number of classes that a uint16 mask can hold.
MAX_CLASSES = 65535


class ClassSetError(UhrSegError):
    """Class names and colours that do not fit together."""


@dataclass(frozen=True)
class ClassSet:
    """
    Class names and colours; the position is the id in the mask.

    Attributes:
        names: one name per class, unique.
        colors: one RGB colour per class, components 0..255.

    Raises:
        ClassSetError: no class, too many classes, a repeated name or a colour that is none.

    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_CLASSES:
            msg = f'a class set has 1 to {MAX_CLASSES} classes, not {len(self.names)}'
            raise ClassSetError(msg)
        if len(self.names) != len(self.colors):
            msg = f'{len(self.names)} class names but {len(self.colors)} colours'
            raise ClassSetError(msg)
        if repeated := sorted({name for name in self.names if self.names.count(name) > 1}):
            msg = f'class names appear more than once: {", ".join(repeated)}'
            raise ClassSetError(msg)
        for name, color in zip(self.names, self.colors, strict=True):
            if len(color) != 3 or not all(0 <= part <= 255 for part in color):
                msg = f'class {name!r}: colour {color} is not three numbers from 0 to 255'
                raise ClassSetError(msg)

    def __len__(self) -> int:
        return len(self.names)

    def palette_bgr(self) -> np.ndarray:
        """
        Give the colour of every mask id.

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
    entries = fields.get('classes', list)
    try:
        names = tuple(str(entry['name']) for entry in entries)
        colors = tuple(tuple(int(part) for part in entry['color']) for entry in entries)
        return ClassSet(names, colors)
    except (TypeError, KeyError, ValueError) as err:
        text = 'field classes needs entries such as {name: road, color: [110, 84, 160]}'
        raise fields.error(text) from err
    except ClassSetError as err:
        raise fields.error(str(err)) from err


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
