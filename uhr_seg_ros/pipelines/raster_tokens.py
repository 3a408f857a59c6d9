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

"""The semantic branch of a raster: all of it in small, or large windows, blended."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import isqrt
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.atomic_io import atomic_write
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.mapped_files import new_mapped
from uhr_seg_ros.pipelines.raster_blocks import Reader
from uhr_seg_ros.pipelines.tiling import (
    BlendAxis,
    DEFAULT_BYTES_PER_PIXEL,
    padded_size,
    Span,
    tile_spans,
)
from uhr_seg_ros.pipelines.two_branch import TwoBranch
from uhr_seg_ros.pipelines.two_branch_maps import TOKEN_STRIDE

#: Memory of the semantic branch per px of its input over that of the detail branch per px of its
#: own, 5.4 as measured at hlrc_s.
SEMANTIC_RATIO = 6.0
#: Rows that are read at a time for the semantic branch.
_BAND = 1024
_TOKENS = 'tokens.npy'


class RasterTokens:
    """
    The semantic branch of a raster, in a file.

    Args:
        pipeline: with the branch.
        bundle: of it.
        size: height and width of the raster, px.
        folder: of the work.
        memory_mb: for the branch, MB.
        read: reads from the raster.

    Attributes:
        windows: rows and columns that the branch sees at a time, px; one where all fits.

    """

    def __init__(
        self,
        pipeline: TwoBranch,
        bundle: Bundle,
        size: tuple[int, int],
        folder: Path,
        memory_mb: float,
        read: Reader,
    ) -> None:
        self._pipeline, self._size, self._folder, self._read = pipeline, size, folder, read
        self._multiple, self._factor = bundle.multiple, bundle.low_res_factor
        self._padded = padded_size(size, bundle.multiple)
        per_pixel = SEMANTIC_RATIO * (bundle.detail_bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL)
        pixels = int(memory_mb * 1e6 / per_pixel * bundle.low_res_factor**2)
        step = bundle.multiple
        side = max(2 * _BAND, isqrt(pixels) // step * step)
        whole = self._padded[0] * self._padded[1] <= pixels
        self._rows, self._columns = (
            [(0, length)] if whole else tile_spans(length, side, step) for length in self._padded
        )
        self.windows = [(rows, columns) for rows in self._rows for columns in self._columns]

    def compute(self, step: Callable[[], object]) -> None:
        """Run the branch where no earlier run has; `step` is called after every window."""
        if self._path.is_file():
            return
        try:
            for index in range(len(self.windows)):
                self._compute(index)
                step()
        finally:
            self._pipeline.leave_semantic()
        self._join([axis.spans for axis in self._axes()])

    def compute_window(self, index: int) -> None:
        """Run the branch on one of the windows, in any order, where no earlier run has."""
        try:
            self._compute(index)
        finally:
            self._pipeline.leave_semantic()

    def _compute(self, index: int) -> None:
        part = self._folder / f'tokens_{index}.npy'
        if part.is_file():
            return
        tokens = self._pipeline.tokens_of(self._low_res(*self.windows[index]))
        if len(self.windows) > 1:
            row, column = divmod(index, len(self._columns))
            along, across = self._axes()
            tokens *= along.weights[row][:, None] * across.weights[column]
        save(part, tokens[0])

    def of(self, rows: Span, columns: Span) -> np.ndarray:
        """Return tokens (1, C, h, w) of a part of the padded raster, px."""
        place = tuple(
            slice(start // TOKEN_STRIDE, stop // TOKEN_STRIDE) for start, stop in (rows, columns)
        )
        whole = np.load(self._path, mmap_mode='r')  # anew, so that pages do not stay
        return np.array(whole[(slice(None), *place)])[None]

    @property
    def _path(self) -> Path:
        return self._folder / _TOKENS

    def _axes(self) -> tuple[BlendAxis, BlendAxis]:
        return BlendAxis(self._rows, TOKEN_STRIDE), BlendAxis(self._columns, TOKEN_STRIDE)

    def _low_res(self, rows: Span, columns: Span) -> np.ndarray:
        """Reduce a part of the padded raster, band by band."""
        sides = [(stop - start) // self._factor for start, stop in (rows, columns)]
        small = np.empty((1, 3, *sides), np.float32)
        height, width = self._size
        # From one multiple to the next, which blocks of files end at: each is decoded once.
        inner = range(rows[0] // _BAND * _BAND + _BAND, rows[1], _BAND)
        for top, bottom in pairwise((rows[0], *inner, rows[1])):
            read = self._read((top, min(bottom, height)), (columns[0], min(columns[1], width)))
            place = slice((top - rows[0]) // self._factor, (bottom - rows[0]) // self._factor)
            small[:, :, place] = self._pipeline.low_res(read.image)
        return small

    def _join(self, spans: list[list[Span]]) -> None:
        """Add the weighted windows up."""
        parts = [self._folder / f'tokens_{index}.npy' for index in range(len(self.windows))]
        if len(parts) == 1:
            parts[0].replace(self._path)
            return
        sides = [length // TOKEN_STRIDE for length in self._padded]
        with atomic_write(self._path, durable=False) as unfinished:
            for index, part in enumerate(parts):
                tokens = np.load(part)
                if index:
                    whole = np.lib.format.open_memmap(unfinished, 'r+')
                else:
                    shape = len(tokens), *sides
                    whole = new_mapped(unfinished, np.float32, shape)
                row, column = divmod(index, len(self._columns))
                whole[:, slice(*spans[0][row]), slice(*spans[1][column])] += tokens
                whole.flush()
                del whole
        for part in parts:
            part.unlink()


def save(path: Path, *values: np.ndarray) -> None:
    """Write arrays into a file, `.npy` for one of them or `.npz`; it is there whole or not."""
    with atomic_write(path, durable=False) as unfinished, unfinished.open('wb') as file:
        if path.suffix == '.npy':
            np.save(file, values[0])
        else:
            np.savez(file, *values)
