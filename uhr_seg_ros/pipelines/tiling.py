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

"""Tiles over a frame: where they lie, how they blend, how large they may be."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isqrt

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import ConfigError

#: Start and stop of a tile along one axis.
Span = tuple[int, int]

#: Neighboring tiles share an eighth of their side, but at least and at most so many px.
OVERLAP_PART = 8
MIN_OVERLAP, MAX_OVERLAP = 64, 256

#: Below this side the overlaps cost more than the tile.
MIN_TILE = 128
#: The smallest tile that a memory limit is answered with.
MIN_LIMITED_TILE = 256


#: Peak memory of the detail branch per pixel when the bundle does not tell, bytes.
DEFAULT_BYTES_PER_PIXEL = 400.0


class TileLimit:
    """
    Tells how large a tile of a frame may be.

    Args:
        bundle: tells what a pixel costs.
        memory_limit_mb: limit for the detail branch in MB; None for no limit.
        tile: largest side of a tile in px; None for the whole frame where memory allows.
        bytes_per_pixel: what a pixel costs where that is known better than the bundle tells.

    Raises:
        ConfigError: `tile` or `memory_limit_mb` is too small, or there is nothing to tile.

    """

    def __init__(
        self,
        bundle: Bundle,
        memory_limit_mb: int | None,
        tile: int | None,
        bytes_per_pixel: float | None = None,
    ) -> None:
        fixed = bundle.kind.is_fixed_size
        if fixed and tile is not None:
            msg = f'a tile of {tile} px: {bundle.name} sees every frame as a whole, in small'
            raise ConfigError(msg)
        self._multiple = bundle.multiple
        self._most_pixels = None
        if memory_limit_mb is not None and not fixed:
            per_pixel = bytes_per_pixel or bundle.detail_bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL
            self._most_pixels = pixels_for_memory(per_pixel, memory_limit_mb)
        self._tile = None if tile is None else checked_tile(tile, bundle.multiple)

    def side_for(self, height: int, width: int) -> int | None:
        """Return the side of the tiles for a padded frame, px, or None for the whole frame."""
        sides = [] if self._tile is None or max(height, width) <= self._tile else [self._tile]
        if self._most_pixels is not None:
            side = tile_for_pixels(height, width, self._most_pixels, self._multiple)
            sides += [] if side is None else [side]
        return min(sides, default=None)


def padded_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Return height and width of a frame of (height, width), px, rounded up to a multiple."""
    height, width = size
    return _round_up(height, multiple), _round_up(width, multiple)


def tile_spans(size: int, tile: int, multiple: int) -> list[Span]:
    """
    Cover an axis with tiles of one size, evenly spread, the last one flush with the end.

    Args:
        size: length of the axis, px, a multiple of `multiple`.
        tile: largest side of a tile, px; the tiles are made smaller where as many do.
        multiple: starts and stops are multiples of this.

    Returns:
        Spans in rising order; neighbors share at least `overlap_of(tile, multiple)` px.

    """
    overlap = overlap_of(tile, multiple)
    if size <= tile:
        return [(0, size)]
    count = -(-(size - overlap) // (tile - overlap))
    side = _round_up(-(-(size + (count - 1) * overlap) // count), multiple)
    starts = [
        index * (size - side) // (count - 1) // multiple * multiple for index in range(count)
    ]
    return [(start, start + side) for start in starts]


def spans_of_side(size: int, side: int, multiple: int) -> list[Span]:
    """
    Cover an axis with tiles of one given side, evenly spread, the last one flush with the end.

    Args:
        size: length of the axis, px, a multiple of `multiple`, at least `side`.
        side: of every tile, px, a multiple of `multiple`.
        multiple: starts and stops are multiples of this.

    Returns:
        Spans in rising order; neighbors share what `overlap_of` says, or half of a small tile.

    """
    step = max(side - min(overlap_of(side, multiple), side // 2), multiple)
    count = 1 + -(-(size - side) // step)
    last = max(count - 1, 1)
    starts = [index * (size - side) // last // multiple * multiple for index in range(count)]
    return [(start, start + side) for start in starts]


def blend_weights(spans: Sequence[Span], size: int) -> list[np.ndarray]:
    """
    Weigh tiles so that they fade linearly into each other.

    Args:
        spans: tiles along one axis.
        size: length of the axis.

    Returns:
        One float32 array per span, as long as the span; at every place of the axis the
        weights of all spans add up to one.

    """
    ramps = [_ramp(spans, index) for index in range(len(spans))]
    total = np.zeros(size, np.float32)
    for (start, stop), ramp in zip(spans, ramps, strict=True):
        total[start:stop] += ramp
    return [ramp / total[start:stop] for (start, stop), ramp in zip(spans, ramps, strict=True)]


def strip_spans(size: int, strip: int) -> list[Span]:
    """Cut an axis into strips of at most `strip`, as equal as whole numbers allow."""
    count = -(-size // strip)
    edges = [index * size // count for index in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def overlap_of(tile: int, multiple: int) -> int:
    """Return how many px two neighboring tiles share at least."""
    part = tile // OVERLAP_PART
    return _round_up(min(max(part, MIN_OVERLAP), MAX_OVERLAP), multiple)


def checked_tile(tile: int, multiple: int) -> int:
    """
    Round a wanted tile side down to a multiple.

    Raises:
        ConfigError: the side is below `MIN_TILE`.

    """
    if tile < MIN_TILE:
        msg = f'a tile of {tile} px is too small, the smallest one is {MIN_TILE} px'
        raise ConfigError(msg)
    return tile // multiple * multiple


def pixels_for_memory(bytes_per_pixel: float, limit_mb: int) -> int:
    """
    Return how many pixels fit into a memory limit.

    Args:
        bytes_per_pixel: memory per input pixel.
        limit_mb: limit in MB (10^6 bytes).

    Raises:
        ConfigError: not even a square tile of `MIN_LIMITED_TILE` px fits.

    """
    pixels = int(limit_mb * 1e6 / bytes_per_pixel)
    if pixels < MIN_LIMITED_TILE**2:
        needed = ceil(MIN_LIMITED_TILE**2 * bytes_per_pixel / 1e6)
        msg = (
            f'a memory limit of {limit_mb} MB is too small: a tile of {MIN_LIMITED_TILE} px '
            f'at {bytes_per_pixel:g} bytes per pixel needs {needed} MB'
        )
        raise ConfigError(msg)
    return pixels


def tile_for_pixels(height: int, width: int, pixels: int, multiple: int) -> int | None:
    """
    Return the side of the largest square tile of at most `pixels`, or None if the frame fits.

    Args:
        height: height of the padded frame, px.
        width: width of the padded frame, px.
        pixels: most pixels at a time.
        multiple: the side is a multiple of this, px.

    """
    if height * width <= pixels:
        return None
    return isqrt(pixels) // multiple * multiple


def _ramp(spans: Sequence[Span], index: int) -> np.ndarray:
    """Rise over the overlap with the tile before, fall over the one with the tile after."""
    start, stop = spans[index]
    place = np.arange(start, stop, dtype=np.float32) + 0.5
    ramp = np.ones(stop - start, np.float32)
    if index > 0:
        shared = spans[index - 1][1] - start
        ramp = np.minimum(ramp, (place - start) / shared)
    if index + 1 < len(spans):
        shared = stop - spans[index + 1][0]
        ramp = np.minimum(ramp, (stop - place) / shared)
    return ramp


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


class BlendAxis:
    """
    Where tiles lie along one axis of a map, and how much each counts.

    Args:
        spans: spans of the tiles along that axis of the frame, px.
        step: px of the frame per row or column of the map.

    Attributes:
        spans: the same along the map.
        size: length of the axis of the map.
        weights: one float32 array per tile; where tiles overlap, they add up to one.

    """

    def __init__(self, spans: Sequence[Span], step: int) -> None:
        self.spans = [(start // step, stop // step) for start, stop in spans]
        self.size = self.spans[-1][1]
        self.weights: list[np.ndarray] = blend_weights(self.spans, self.size)


class TileBlender:
    """
    Add up the weighted tiles of one map.

    Args:
        rows: spans of the tiles along the height of the frame, px.
        columns: spans along the width, px.
        step: px of the frame per row or column of the map.
        axis: axis of the rows in the map; the columns are the next one.

    """

    def __init__(
        self, rows: Sequence[Span], columns: Sequence[Span], step: int, axis: int = 2
    ) -> None:
        self._axis = axis
        self._rows, self._columns = BlendAxis(rows, step), BlendAxis(columns, step)
        self.total = np.empty(0, np.float32)

    def add(self, tile: np.ndarray, row: int, column: int) -> None:
        """Add the tile at a place of the grid; the values of `tile` are used up."""
        before, after = tile.shape[: self._axis], tile.shape[self._axis + 2 :]
        if not self.total.size:
            size = self._rows.size, self._columns.size
            self.total = np.zeros((*before, *size, *after), np.float32)
        weight = self._rows.weights[row][:, None] * self._columns.weights[column]
        tile *= weight.reshape(*weight.shape, *(1,) * len(after))
        place = slice(*self._rows.spans[row]), slice(*self._columns.spans[column])
        self.total[(*(slice(None),) * self._axis, *place)] += tile
