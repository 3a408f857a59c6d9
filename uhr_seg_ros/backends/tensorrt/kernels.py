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

"""Launches of our kernels; what they compute stands in kernels.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Stream

#: Threads of a block along x and y: a warp works on neighboring pixels of a row.
BLOCK = (32, 8, 1)

#: Columns of threads that look through a map at most: some for every multiprocessor there is.
MAX_CHECK_COLUMNS = 1 << 16

_SUFFIXES = {np.dtype(np.float32): 'f32', np.dtype(np.float16): 'f16'}


class DeviceFrame(NamedTuple):
    """A frame in device memory; `format` is the index of its name in `raw_frame.FORMATS`."""

    address: int
    step: int
    height: int
    width: int
    format: int

    def arguments(self) -> tuple[np.generic, ...]:
        """Return the arguments that kernels take for a frame."""
        return np.uint64(self.address), *_ints(self.step, self.height, self.width, self.format)


class DeviceMap(NamedTuple):
    """A map in device memory; strides in elements, of channels, rows and columns."""

    address: int
    channels: int
    rows: int
    columns: int
    strides: tuple[int, int, int]

    @classmethod
    def over(cls, address: int, shape: Sequence[int], row_axis: int) -> DeviceMap:
        """Describe a map of shape (1, C, h, w) or, with row axis 1, (1, h, w, C)."""
        if row_axis == 1:
            _, rows, columns, channels = shape
            return cls(address, channels, rows, columns, (1, columns * channels, channels))
        _, channels, rows, columns = shape
        return cls(address, channels, rows, columns, (rows * columns, columns, 1))


class Kernels:
    """
    The functions of a loaded module.

    Args:
        cuda: the context.
        module: kernels.cu, as `Cuda.load` gives it.
        dtype: of the tensors between kernels and engines, float32 or float16.

    """

    def __init__(self, cuda: Cuda, module: Any, dtype: np.dtype) -> None:
        suffix = _SUFFIXES[np.dtype(dtype)]
        self._cuda = cuda
        self._prepare = cuda.function(module, f'prepare_{suffix}')
        self._accumulate = cuda.function(module, f'accumulate_{suffix}')
        self._check = cuda.function(module, f'check_{suffix}')
        self._finish = cuda.function(module, f'finish_{suffix}')
        self._paint = cuda.function(module, 'paint')

    def prepare(
        self,
        frame: DeviceFrame,
        window: tuple[int, int, int, int],
        scale_bias: Sequence[float],
        image: int,
        low_res: int,
        stream: Stream,
        *,
        interleaved: bool = False,
    ) -> None:
        """
        Make the inputs of the branches.

        Args:
            frame: the camera's bytes.
            window: top, left, rows, columns of the padded frame, px, multiples of 4.
            scale_bias: of red, green, blue: three factors and three summands.
            image: address of (3, rows, columns), or 0; (rows, columns, 4) where interleaved.
            low_res: address of (3, rows / 4, columns / 4), or 0.
            stream: to run on.
            interleaved: whether red, green, blue and a zero of a pixel lie side by side.

        """
        arguments: list[np.generic] = [
            *frame.arguments(),
            *_ints(*window),
            *map(np.float32, scale_bias),
            np.uint64(image),
            np.uint64(low_res),
            *_ints(interleaved),
        ]
        _, _, rows, columns = window
        self._launch(self._prepare, columns // 4, rows // 4, arguments, stream)

    def accumulate(
        self,
        tile: DeviceMap,
        total: DeviceMap,
        place: tuple[int, int],
        weights: tuple[int, int],
        stream: Stream,
    ) -> None:
        """
        Add a weighted tile to a map.

        Args:
            tile: what to add.
            total: where to.
            place: first row and column in `total`.
            weights: addresses of the float32 weights of the rows and of the columns.
            stream: to run on.

        """
        offset = place[0] * total.strides[1] + place[1] * total.strides[2]
        arguments: list[np.generic] = [
            np.uint64(tile.address),
            np.uint64(total.address),
            *_ints(tile.channels, tile.rows, tile.columns, *tile.strides),
            np.int64(offset),
            *_ints(*total.strides),
            *map(np.uint64, weights),
        ]
        self._launch(self._accumulate, tile.columns, tile.rows, arguments, stream, tile.channels)

    def check(self, address: int, count: int, flag: int, stream: Stream) -> None:
        """
        Set a flag where a map has NaN or infinity.

        Args:
            address: of the map, a multiple of 16.
            count: elements of it.
            flag: address of a uint32, which becomes 1 then, and else stays as it is.
            stream: to run on.

        """
        columns = min(-(-count // (4 * BLOCK[1])), MAX_CHECK_COLUMNS)
        arguments: list[np.generic] = [np.uint64(address), np.int64(count), np.uint64(flag)]
        self._launch(self._check, columns, BLOCK[1], arguments, stream)

    def finish(
        self,
        quarter: DeviceMap,
        size: tuple[int, int],
        mask: tuple[int, int],
        confidence: int,
        logits: int,
        stream: Stream,
        flag: int = 0,
    ) -> None:
        """
        Upsample by four and take the arg max.

        Args:
            quarter: logits at a quarter of the padded size.
            size: height and width of the frame, px.
            mask: address of (H, W) and bytes per id, 1 or 2.
            confidence: address of (H, W) uint8, or 0.
            logits: address of (C, H, W) float32, or 0.
            stream: to run on.
            flag: address of a uint32, or 0; see `check`.

        """
        arguments: list[np.generic] = [
            np.uint64(quarter.address),
            *_ints(quarter.channels, quarter.rows, quarter.columns, *size),
            np.uint64(mask[0]),
            *_ints(mask[1]),
            np.uint64(confidence),
            np.uint64(logits),
            np.uint64(flag),
        ]
        self._launch(self._finish, quarter.columns, quarter.rows, arguments, stream)

    def paint(
        self,
        frame: DeviceFrame,
        mask: tuple[int, int],
        palette: tuple[int, int],
        size: tuple[int, int],
        alpha: float,
        overlay: int,
        color_mask: int,
        stream: Stream,
    ) -> None:
        """
        Render the overlay and the color mask.

        Args:
            frame: the camera's bytes.
            mask: address and bytes per id.
            palette: address of (n, 3) uint8 BGR, and the number of classes.
            size: height and width of the pictures, px.
            alpha: weight of the colors.
            overlay: address of (h, w, 3), or 0.
            color_mask: address of (h, w, 3), or 0.
            stream: to run on.

        """
        arguments: list[np.generic] = [
            *frame.arguments(),
            np.uint64(mask[0]),
            *_ints(mask[1]),
            np.uint64(palette[0]),
            *_ints(palette[1], *size),
            np.float32(alpha),
            np.uint64(overlay),
            np.uint64(color_mask),
        ]
        self._launch(self._paint, size[1], size[0], arguments, stream)

    def _launch(
        self,
        function: Any,
        columns: int,
        rows: int,
        arguments: Sequence[np.generic],
        stream: Stream,
        layers: int = 1,
    ) -> None:
        """Run one thread per column, row and layer."""
        grid = -(-columns // BLOCK[0]), -(-rows // BLOCK[1]), layers
        self._cuda.launch(function, grid, BLOCK, arguments, stream)


def _ints(*values: int) -> list[np.int32]:
    return [np.int32(value) for value in values]
