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

"""What a network of one branch sees of a frame: all of it, tiles, or a picture of a fixed size."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.tiling import padded_size, Span, spans_of_side, tile_spans, TileLimit

#: Height and width, px.
Size = tuple[int, int]


class View(Protocol):
    """How frames become inputs of a network."""

    def extent(self, size: Size) -> Size:
        """Return the height and width that the logits of a frame cover, px: at least its own."""
        ...

    def spans(self, size: Size) -> tuple[list[Span], list[Span]]:
        """Return the tiles of a frame along rows and columns, px; one of each: no tiles."""
        ...

    def input_size(self, size: Size) -> Size:
        """Return height and width of what the network sees of a frame, or of each tile, px."""
        ...

    def planes(self, image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
        """Return a tile of (H, W, 3) uint8 BGR as (1, 3, h, w) float32 RGB, normalized."""
        ...

    def forget(self) -> None:
        """Free the memory of the last call."""
        ...


class AnySize:
    """
    A network that takes every size: the frame reduced by `low_res_factor`, padded, or its tiles.

    Args:
        bundle: of kind `single`.
        limits: how large a piece of a frame the network gets.

    Raises:
        ConfigError: a limit is too small.

    """

    def __init__(self, bundle: Bundle, limits: TilingOptions) -> None:
        self._multiple, self._factor = bundle.multiple, bundle.low_res_factor
        memory = limits.memory_limit_mb or None
        self._limit = TileLimit(bundle, memory, limits.tile, limits.bytes_per_pixel)
        self._preprocessor = Preprocessor(bundle)

    def extent(self, size: Size) -> Size:
        """Return the padded size."""
        return padded_size(size, self._multiple)

    def spans(self, size: Size) -> tuple[list[Span], list[Span]]:
        """Return the whole frame, or the tiles that the limits need; see `View`."""
        height, width = self.extent(size)
        tile = self._limit.side_for(height, width) or max(height, width)
        rows, columns = (tile_spans(side, tile, self._multiple) for side in (height, width))
        return rows, columns

    def input_size(self, size: Size) -> Size:
        """Return what the network sees; see `View`."""
        height, width = (spans[0][1] // self._factor for spans in self.spans(size))
        return height, width

    def planes(self, image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
        """Return a tile, reduced; see `View`."""
        return self._preprocessor.low_res(image[slice(*rows), slice(*columns)])

    def forget(self) -> None:
        """Free the memory of the last call."""
        self._preprocessor.forget()


class FixedSize:
    """
    A network that takes one size: the frame resized to it, or tiles of just this size.

    Args:
        bundle: tells the normalization.
        size: height and width of the network's input, px.
        tile: largest side of a tile, px; None for the frame resized.

    Raises:
        ConfigError: tiles are smaller than what the network takes.

    """

    def __init__(self, bundle: Bundle, size: Size, tile: int | None = None) -> None:
        self._size, self._multiple = size, bundle.multiple
        self._is_tiled = tile is not None
        if tile is not None and tile < max(size):
            msg = (
                f'a tile of {tile} px: {bundle.name} takes pictures of {size[1]}x{size[0]} px: '
                f'give {max(size)} or more, or no tile for frames that are resized to that'
            )
            raise ConfigError(msg)
        self._preprocessor = Preprocessor(bundle)

    def extent(self, size: Size) -> Size:
        """Return the frame, where it is resized; else padded so that a tile fits."""
        if not self._is_tiled:
            return size
        height, width = map(max, padded_size(size, self._multiple), self._size)
        return height, width

    def spans(self, size: Size) -> tuple[list[Span], list[Span]]:
        """Return the whole frame, or tiles of the size of the network; see `View`."""
        height, width = self.extent(size)
        if not self._is_tiled:
            return [(0, height)], [(0, width)]
        rows, columns = (
            spans_of_side(length, side, self._multiple)
            for length, side in zip((height, width), self._size, strict=True)
        )
        return rows, columns

    def input_size(self, size: Size) -> Size:
        """Return what the network takes."""
        return self._size

    def planes(self, image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
        """Return a tile, or the frame resized; see `View`."""
        if not self._is_tiled:
            image = _resized(image, self._size)
            rows, columns = (0, self._size[0]), (0, self._size[1])
        return self._preprocessor.window(image, rows, columns)

    def forget(self) -> None:
        """Free the memory of the last call."""
        self._preprocessor.forget()


def view_of(bundle: Bundle, limits: TilingOptions) -> View:
    """
    Return what the network of a bundle of kind `single` sees of frames.

    Raises:
        ConfigError: a limit is too small.

    """
    if bundle.input_size is not None:
        return FixedSize(bundle, bundle.input_size, limits.tile)
    return AnySize(bundle, limits)


def _resized(image: np.ndarray, size: Size) -> np.ndarray:
    """Resize (H, W, 3) uint8: the mean of what falls together, or bilinearly where it grows."""
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=how)
