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
Patches of a frame and the contexts around them, as FCtL cuts them.

A context has several times the field of view of its patch, the same centre and, once it is
reduced, the same size; outside of the frame it is black. All patches are cut from one reduced
frame per context, so nothing is reduced twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm

import numpy as np

from uhr_seg_ros.core.errors import ConfigError

#: The factor of a context that is the whole frame, fitted into a patch.
WHOLE = 'whole'
#: Neighbouring patches share at least so many px, as published ...
MIN_OVERLAP = 50
#: ... but no more than this part of small patches.
MAX_OVERLAP_PART = Fraction(1, 4)
#: Rows of a reduced frame that are made at a time.
BAND_ROWS = 64
#: The range of the factors of contexts.
FACTORS = (1, 8)


@dataclass(frozen=True)
class Reduction:
    """
    How one axis is reduced: every new value is a weighed sum of old ones.

    Attributes:
        places: (new, taps) int, places along the old axis.
        weights: (new, taps) float32, zero outside of it.

    """

    places: np.ndarray
    weights: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Reduce the first axis: (old, ...) -> (new, ...) float32."""
        total = np.zeros((len(self.places), *values.shape[1:]), np.float32)
        shape = (-1, *(1,) * (values.ndim - 1))
        for places, weights in zip(self.places.T, self.weights.T, strict=True):
            total += weights.reshape(shape) * values[places]
        return total


def reduced(image: np.ndarray, rows: Reduction, columns: Reduction) -> np.ndarray:
    """
    Reduce an image, a band of rows at a time.

    Args:
        image: (H, W, 3) uint8.
        rows: how its rows are reduced.
        columns: how its columns are.

    Returns:
        (h, w, 3) uint8, rounded once; Pillow rounds after each axis and differs by up to 1.

    """
    height, width = len(rows.places), len(columns.places)
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, BAND_ROWS):
        part = slice(top, min(top + BAND_ROWS, height))
        band = Reduction(rows.places[part], rows.weights[part]).apply(image)
        narrow = columns.apply(band.swapaxes(0, 1)).swapaxes(0, 1)
        result[part] = narrow + np.float32(0.5)
    return result


def reduction(
    size: int, count: int, ratio: float, first: float = 0.0, *, black: bool = False
) -> Reduction:
    """
    Reduce by a triangle as wide as two new px, which is how Pillow's BILINEAR does.

    Args:
        size: length of the old axis.
        count: length of the new one.
        ratio: old px per new px; below 1 it enlarges.
        first: where the new axis begins along the old one, px.
        black: what lies outside of the old axis counts as 0; otherwise it does not count.

    """
    centers = first + (np.arange(count) + 0.5) * ratio
    reach = max(ratio, 1.0)
    starts = np.floor(centers - reach + 0.5)
    places = starts[:, None] + np.arange(ceil(2 * reach) + 1)
    weights = np.maximum(1 - np.abs((places + 0.5 - centers[:, None]) / reach), 0)
    inside = (places >= 0) & (places < size)
    if black:
        weights /= weights.sum(1, keepdims=True)
    weights *= inside
    if not black:
        weights /= weights.sum(1, keepdims=True)
    return Reduction(np.clip(places, 0, size - 1).astype(np.intp), weights.astype(np.float32))


@dataclass(frozen=True)
class Context:
    """
    A context of all patches.

    Attributes:
        factor: its field of view over that of the patch, or `WHOLE`.
        side: of a patch and of the reduced context, px.

    Raises:
        ConfigError: the factor is out of range, or does not fit the side.

    """

    factor: float | str
    side: int

    def __post_init__(self) -> None:
        if self.factor == WHOLE:
            return
        usable = isinstance(self.factor, (int, float)) and FACTORS[0] <= self.factor <= FACTORS[1]
        if not usable or self._border.denominator != 1 or self.ratio.denominator > FACTORS[1]:
            msg = (
                f'a context of factor {self.factor!r} around patches of {self.side} px cannot be '
                f'cut: the factor is {WHOLE!r} or a number from {FACTORS[0]} to {FACTORS[1]} of '
                f'few digits, such as 2 or 1.5, and (factor - 1) / 2 sides are whole px'
            )
            raise ConfigError(msg)

    @property
    def is_whole(self) -> bool:
        """Whether it is the same for all patches."""
        return self.factor == WHOLE

    @property
    def ratio(self) -> Fraction:
        """The factor."""
        return Fraction(self.factor)

    @property
    def border(self) -> int:
        """How far it looks beyond its patch, px of the frame."""
        return int(self._border)

    def start(self, place: Sequence[int]) -> tuple[int, int]:
        """Return where the context of the patch at (top, left) starts in the reduced frame."""
        top, left = (int(start / self.ratio) for start in place)
        return top, left

    def of_frame(
        self, frame: tuple[int, int], padded: tuple[int, int]
    ) -> tuple[Reduction, Reduction]:
        """
        Return how a frame is reduced, so that the contexts of all patches are windows of it.

        Args:
            frame: height and width of the frame, px.
            padded: the same of `Cutting.size`, where the last patches end.

        Returns:
            Reductions of rows and columns.

        """
        ends = frame if self.is_whole else padded
        rows, columns = (
            self.reduction(size, 0, end - self.side) for size, end in zip(frame, ends, strict=True)
        )
        return rows, columns

    def reduction(self, size: int, first: int, last: int | None = None) -> Reduction:
        """
        Return how one axis of a frame is reduced.

        Args:
            size: length of the axis, px.
            first: where the first patch starts, px.
            last: where the last one starts; by default there is no other.

        """
        if self.is_whole:
            return reduction(size, self.side, size / self.side)
        beyond = int(((first if last is None else last) - first) / self.ratio)
        begin = first - self.border
        return reduction(size, beyond + self.side, float(self.ratio), begin, black=True)

    @property
    def _border(self) -> Fraction:
        return (self.ratio - 1) / 2 * self.side


def patch_starts(size: int, side: int, alignment: int = 1) -> list[int]:
    """
    Cover an axis with evenly spread patches, as few as overlap enough.

    Args:
        size: length of the axis, px, at least `side`.
        side: of a patch, px.
        alignment: all starts but the last are moved to multiples of this, px; 1 is as
            published.

    Returns:
        Starts in rising order, the last one flush with the end.

    """
    if size <= side:
        return [0]
    overlap = min(MIN_OVERLAP, int(MAX_OVERLAP_PART * side))
    count = -(-size // side)
    while side - (size - side) / (count - 1) < overlap:
        count += 1
    step = (size - side) / (count - 1)
    inner = [round(index * step) // alignment * alignment for index in range(count - 1)]
    return [*inner, size - side]


@dataclass(frozen=True)
class PatchGrid:
    """
    Where the patches of a frame lie.

    Attributes:
        rows: first rows of the patches, px.
        columns: first columns, px.
        size: height and width that the frame is padded to with black on the right and below, px.

    """

    rows: list[int]
    columns: list[int]
    size: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], side: int, contexts: Mapping[str, Context]) -> PatchGrid:
        """
        Cut a frame.

        Patches start at multiples of whatever makes their contexts start at whole px of the
        reduced frames, so the frame is padded a little.

        Args:
            size: height and width of the frame, px.
            side: of a patch, px.
            contexts: name -> context.

        """
        numbers = [context for context in contexts.values() if not context.is_whole]
        alignment = lcm(*(context.ratio.numerator for context in numbers))
        height, width = (
            max(side, side + -(-(length - side) // alignment) * alignment) for length in size
        )
        rows, columns = (patch_starts(length, side, alignment) for length in (height, width))
        return cls(rows, columns, (height, width))


def place_in(place: Sequence[int], side: int, size: Sequence[int]) -> tuple[float, ...]:
    """
    Return where a patch lies in its frame.

    Args:
        place: top and left, px.
        side: of the patch, px.
        size: height and width of the frame, px.

    Returns:
        Top, left, height and width as shares of the frame; beyond 1 outside of it.

    """
    starts = (start / length for start, length in zip(place, size, strict=True))
    return (*starts, *(side / length for length in size))
