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

"""
Colors that classes have on other grounds, for `photometric.recolor` to choose from.

A network that meets one class in unusual colors and the others in their own learns that an unusual
color is that class. So every class gets colors, or none does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Tones(NamedTuple):
    """
    A family of colors, in OpenCV's units: hue 0 to 179, saturation and value 0 to 255.

    Attributes:
        hue: Range.
        saturation: Range.
        value: Range.
    """

    hue: tuple[int, int]
    saturation: tuple[int, int]
    value: tuple[int, int]

    def draw(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """Draw one color."""
        hue, saturation, value = (int(rng.integers(low, high + 1)) for low, high in self)
        return hue % 180, saturation, value


#: Any color, dark: what water alone was given before there were palettes.
ANY = (Tones((0, 179), (0, 159), (10, 119)),)

#: Class -> families, each as likely as the others.
PALETTES: dict[str, tuple[Tones, ...]] = {
    'building': (
        Tones((0, 179), (0, 25), (60, 250)),  # concrete, gravel, white paint
        Tones((0, 14), (60, 170), (80, 200)),  # tiles
        Tones((0, 179), (0, 40), (20, 70)),  # bitumen, slate, panels
        Tones((95, 125), (20, 130), (70, 210)),  # coated metal
        Tones((35, 85), (20, 90), (70, 180)),
    ),
    'land': (
        Tones((10, 25), (20, 90), (130, 245)),  # sand, stubble
        Tones((0, 18), (60, 150), (60, 180)),  # red and brown soil
        Tones((5, 30), (10, 80), (25, 90)),  # ploughed, wet, peat
        Tones((0, 179), (0, 25), (90, 235)),  # gravel, chalk, salt
    ),
    'road': (
        Tones((0, 179), (0, 20), (30, 110)),  # asphalt
        Tones((0, 179), (0, 25), (110, 215)),  # concrete
        Tones((8, 25), (20, 90), (90, 210)),  # unpaved
    ),
    'vegetation': (
        Tones((35, 50), (80, 200), (70, 190)),  # lawn, young crops
        Tones((35, 80), (40, 150), (25, 100)),  # wood
        Tones((22, 36), (60, 190), (90, 220)),  # ripe crops, dry grass
        Tones((10, 24), (50, 150), (60, 150)),  # autumn
    ),
    'water': (
        Tones((85, 125), (30, 160), (20, 140)),  # sea, lakes
        Tones((40, 85), (30, 130), (20, 110)),  # algae
        Tones((8, 28), (30, 120), (50, 160)),  # sediment
        Tones((0, 179), (0, 60), (5, 60)),  # deep
        Tones((90, 125), (5, 60), (120, 210)),  # sky in it
    ),
}

#: What a recipe may say of the colors.
COLORS = ('any', 'natural')


def palettes_of(names: tuple[str, ...], colors: str) -> dict[int, tuple[Tones, ...]]:
    """
    Return the colors of each class id.

    Args:
        names: Of the classes.
        colors: One of `COLORS`; ``natural``: of `PALETTES`, where it has the class.
    """
    if colors == 'any':
        return {}
    return {index: PALETTES[name] for index, name in enumerate(names) if name in PALETTES}
