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

"""The parameters that say which part of a camera's frames is looked at."""

from __future__ import annotations

from dataclasses import dataclass

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.resources import expand_home
from uhr_seg_ros.image_io.files import read_ids
from uhr_seg_ros.pipelines.region_of_interest import RegionOfInterest
from uhr_seg_ros.ros.parameters.spec import ParameterSpec, row, specs_of

_WHOLE = [0, 0, 0, 0]


def _check_rectangles(values: list[int]) -> str:
    try:
        RegionOfInterest(_in_fours(values))
    except ConfigError as err:
        return f'roi.rectangles: {err}'
    return ''


def _in_fours(values: list[int] | tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tuple(values[index : index + 4]) for index in range(0, len(values), 4)]


@dataclass(frozen=True)
class Region:
    """
    What is looked at of one camera; its parameters are called `roi.<camera>.<name>`.

    Attributes:
        rectangles: left, top, width and height, px, of each, one after the other.
        mask: picture in the size of the frames; empty: none.

    """

    rectangles: tuple[int, ...] = row(
        _WHOLE,
        'Pixels that are looked at: x, y, width and height of a rectangle, px, or of several, one '
        'after the other; a width or height of 0 reaches to the border. Others are unlabeled.',
        validator=_check_rectangles,
    )
    mask: str = row(
        '',
        'Picture (PNG) in the size of the frames: where it is 0, pixels are unlabeled; empty: '
        'no picture.',
    )

    @property
    def is_part(self) -> bool:
        """Whether anything is left out."""
        return list(self.rectangles) != _WHOLE or bool(self.mask)

    def open(self) -> RegionOfInterest:
        """
        Return the region.

        Raises:
            UhrSegError: the picture cannot be read, or has nothing to look at.

        """
        mask = read_ids(expand_home(self.mask)) if self.mask else None
        return RegionOfInterest(_in_fours(self.rectangles), mask)


def region_specs(camera: str) -> tuple[ParameterSpec, ...]:
    """Return the parameters of the region of one camera; it may have no name."""
    return specs_of(Region, f'roi.{camera}.' if camera else 'roi.')
