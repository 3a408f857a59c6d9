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

"""Blocks of rasters out of overlapping tiles that are blended; what tiles share waits in files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.image_io.rasters import RasterWindow
from uhr_seg_ros.pipelines.raster_blocks import Block, BlockResult, masked, nothing, Reader
from uhr_seg_ros.pipelines.raster_tokens import save
from uhr_seg_ros.pipelines.tiling import BlendAxis, padded_size, Span, tile_spans

#: Smallest tile, px: a block then needs no more than the four tiles that meet in its corner.
MIN_TILE = 512


class MapAxes(NamedTuple):
    """What a map over a tile looks like: px per row and column, and the axis of its rows."""

    stride: int
    axis: int


class BlendedBlocks(ABC):
    """
    Segment the blocks between the overlaps of tiles, whose maps are blended linearly.

    Block (r, c) ends where the tiles (r + 1, c) and (r, c + 1) begin, less the halo: so it needs
    the tiles (r - 1 and r, c - 1 and c), of which one is new.

    Args:
        bundle: the model.
        size: height and width of the raster, px.
        tile: largest side of a tile, px; below `MIN_TILE` that is taken.
        folder: of the work.
        read: reads from the raster.
        confidence: whether it is wanted too.
        forms: name of a map -> its axes.
        halo: around a block so much is computed and thrown away, px.

    """

    def __init__(
        self,
        bundle: Bundle,
        size: tuple[int, int],
        tile: int,
        folder: Path,
        read: Reader,
        confidence: bool,
        forms: Mapping[str, MapAxes],
        halo: int,
    ) -> None:
        self._folder, self._read, self._forms, self._halo = folder, read, forms, halo
        self._size, self._classes, self._confidence = size, len(bundle.classes), confidence
        self._padded = padded_size(size, bundle.multiple)
        self._rows, self._columns = (
            tile_spans(length, max(tile, MIN_TILE), bundle.multiple) for length in self._padded
        )
        self._blends = {
            name: (BlendAxis(self._rows, each.stride), BlendAxis(self._columns, each.stride))
            for name, each in forms.items()
        }
        self._regions = [
            _fused_spans(spans, length, halo)
            for spans, length in zip((self._rows, self._columns), self._padded, strict=True)
        ]
        places = [
            (rows, columns)
            for rows in _owned(self._rows, size[0], halo)
            for columns in _owned(self._columns, size[1], halo)
        ]
        self.blocks = [Block(index, *place) for index, place in enumerate(places)]
        self.form: dict[str, object] = {'tiles': [self._rows, self._columns]}

    @abstractmethod
    def maps_of(self, image: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
        """
        Compute the maps of a tile.

        Args:
            image: (h, w, 3) uint8 BGR; smaller than the tile at the end of the raster.
            size: height and width of the tile, px.

        """

    @abstractmethod
    def results_of(
        self, maps: dict[str, np.ndarray], region: tuple[Span, ...], size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """
        Turn blended maps into `mask` and `confidence`, if that is wanted.

        Args:
            maps: of a region.
            region: rows and columns of the padded raster, px.
            size: height and width of the region without padding, px.

        """

    def run(self, block: Block) -> BlockResult:
        """Segment a block; the tiles before it left what it needs."""
        row, column = self._place(block)
        read, own = self._new_tile(block)
        if own is None:
            return nothing(read.image, self._classes, self._confidence)
        results = self._fused(row, column, own)
        return masked(results['mask'], read.image, read.valid, results.get('confidence'))

    def _new_tile(self, block: Block) -> tuple[RasterWindow, dict[str, np.ndarray] | None]:
        """Read a block and compute the maps of its new tile; None where there is no data."""
        row, column = self._place(block)
        reach = [
            (min(span[index][0], place[0]), min(span[index][1], length))
            for span, index, place, length in zip(
                (self._rows, self._columns),
                (row, column),
                (block.rows, block.columns),
                self._size,
                strict=True,
            )
        ]
        read = self._read(*reach)
        core = _within((block.rows, block.columns), reach)
        window = RasterWindow(read.image[core], read.valid[core])
        if not read.valid.any():
            for edge in ('below', 'right'):
                save(self._file(row, column, edge), *(np.empty(0, np.float32),) * len(self._forms))
            return window, None
        first = self._rows[row][0] - reach[0][0], self._columns[column][0] - reach[1][0]
        return window, self._tile(row, column, read.image[first[0] :, first[1] :])

    def done(self, block: Block) -> None:
        """Remove what no later block needs."""
        row, column = self._place(block)
        self._file(row, column - 1, 'right').unlink(missing_ok=True)
        self._file(row - 1, column - 1, 'below').unlink(missing_ok=True)
        if column + 1 == len(self._columns):
            self._file(row - 1, column, 'below').unlink(missing_ok=True)

    def _place(self, block: Block) -> tuple[int, int]:
        return divmod(block.index, len(self._columns))

    def _tile(self, row: int, column: int, image: np.ndarray) -> dict[str, np.ndarray]:
        """Run the detail branch on a tile, weigh its maps and keep their ends for neighbors."""
        rows, columns = self._rows[row], self._columns[column]
        maps = self.maps_of(image, (rows[1] - rows[0], columns[1] - columns[0]))
        for name, values in maps.items():
            along, across = self._blends[name]
            _weigh(values, self._forms[name].axis, along.weights[row], across.weights[column])
        for edge in ('below', 'right'):
            rest = self._edge(row, column, edge)
            if rest is not None:
                ends = [
                    _part(self._forms[name], maps[name], rest, (rows, columns))
                    for name in self._forms
                ]
                save(self._file(row, column, edge), *ends)
        return maps

    def _edge(self, row: int, column: int, edge: str) -> tuple[Span, Span] | None:
        """Return what of a tile the tiles below, or to the right, need: rows and columns, px."""
        rows, columns = self._rows[row], self._columns[column]
        if edge == 'below':
            if row + 1 == len(self._rows):
                return None
            return (max(self._rows[row + 1][0] - 2 * self._halo, rows[0]), rows[1]), columns
        if column + 1 == len(self._columns):
            return None
        return rows, (max(self._columns[column + 1][0] - 2 * self._halo, columns[0]), columns[1])

    def _fused(self, row: int, column: int, own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Blend the maps of a block and what lies around it, and fuse them."""
        region = self._regions[0][row], self._regions[1][column]
        blended = {}
        for name, values in own.items():
            shape, axis = list(values.shape), self._forms[name].axis
            shape[axis : axis + 2] = [
                (stop - start) // self._forms[name].stride for start, stop in region
            ]
            blended[name] = np.zeros(shape, np.float32)
        # In the order of the tiles of a whole frame, since sums of floats depend on it.
        for place, maps in self._contributions(row, column, own):
            for name, values in maps.items():
                _add(self._forms[name], blended[name], region, values, place)
        height, width = (
            min(stop, length) - start
            for (start, stop), length in zip(region, self._size, strict=True)
        )
        results = self.results_of(blended, region, (height, width))
        block = self.blocks[row * len(self._columns) + column]
        core = _within((block.rows, block.columns), region)
        return {name: values[core] for name, values in results.items()}

    def _contributions(
        self, row: int, column: int, own: dict[str, np.ndarray]
    ) -> Iterator[tuple[tuple[Span, Span], dict[str, np.ndarray]]]:
        for above, before, edge in ((1, 1, 'below'), (1, 0, 'below'), (0, 1, 'right')):
            if row < above or column < before:
                continue
            place = row - above, column - before
            rest = self._edge(*place, edge)
            assert rest is not None  # it has a neighbor there
            yield rest, self._kept(*place, edge)
        yield (self._rows[row], self._columns[column]), own

    def _kept(self, row: int, column: int, edge: str) -> dict[str, np.ndarray]:
        """Load the end of a tile; make it where no block has, or a loss of power has taken it."""
        path = self._file(row, column, edge)
        try:
            with np.load(path) as file:
                values = [file[f'arr_{index}'] for index in range(len(self._forms))]
        except (OSError, ValueError, EOFError, KeyError):
            self._new_tile(self.blocks[row * len(self._columns) + column])
            return self._kept(row, column, edge)
        found = dict(zip(self._forms, values, strict=True))
        return {name: each for name, each in found.items() if each.size}

    def _file(self, row: int, column: int, edge: str) -> Path:
        return self._folder / f'{edge}_{row}_{column}.npz'


def _owned(spans: list[Span], length: int, halo: int) -> list[Span]:
    """Return where blocks begin and end along an axis, px."""
    edges = [0, *(start - halo for start, _ in spans[1:]), length]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _fused_spans(spans: list[Span], length: int, halo: int) -> list[Span]:
    """
    Return what is fused for the blocks along an axis, px: with the halo on both sides.

    All but the last one get the same length, by some px that are thrown away, since a graph that
    knows its size is faster.
    """
    starts = [max(start - 2 * halo, 0) for start, _ in spans]
    longest = max(
        (stop[0] - start for start, stop in zip(starts, spans[1:], strict=False)), default=0
    )
    return [*((start, start + longest) for start in starts[:-1]), (starts[-1], length)]


def _within(part: Iterable[Span], whole: Iterable[Span]) -> tuple[slice, ...]:
    return tuple(
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(part, whole, strict=True)
    )


def _part(
    form: MapAxes, values: np.ndarray, part: tuple[Span, Span], whole: tuple[Span, Span]
) -> np.ndarray:
    """Cut out of a map of a tile what belongs to a part of it, px."""
    place = _within(_cells(form, part), _cells(form, whole))
    return values[(*(slice(None),) * form.axis, *place)]


def _weigh(values: np.ndarray, axis: int, along: np.ndarray, across: np.ndarray) -> None:
    """
    Multiply a map by the weights of its rows and columns, where they are not one.

    Args:
        values: of a tile; changed.
        axis: of the rows.
        along: weight of each row.
        across: weight of each column.

    """
    before, after = (slice(None),) * axis, (1,) * (values.ndim - axis - 2)
    (top, bottom), (left, right) = _plain(along), _plain(across)
    for rows, columns in (
        ((0, top), (0, len(across))),
        ((bottom, len(along)), (0, len(across))),
        ((top, bottom), (0, left)),
        ((top, bottom), (right, len(across))),
    ):
        weight = along[slice(*rows), None] * across[slice(*columns)]
        values[(*before, slice(*rows), slice(*columns))] *= weight.reshape(*weight.shape, *after)


def _plain(weights: np.ndarray) -> Span:
    """Return where the weights between the ramps at both ends begin and stop to be one."""
    ones = np.flatnonzero(weights == 1)
    if not len(ones) or ones[-1] - ones[0] + 1 != len(ones):
        return 0, 0
    return int(ones[0]), int(ones[-1]) + 1


def _add(
    form: MapAxes,
    total: np.ndarray,
    region: tuple[Span, ...],
    values: np.ndarray,
    place: tuple[Span, Span],
) -> None:
    """Add to the map of a region what another part of the raster shares with it."""
    shared = [
        (max(first[0], second[0]), min(first[1], second[1]))
        for first, second in zip(region, place, strict=True)
    ]
    if any(start >= stop for start, stop in shared):
        return
    before = (slice(None),) * form.axis
    cells = _cells(form, shared)
    target = (*before, *_within(cells, _cells(form, region)))
    total[target] += values[(*before, *_within(cells, _cells(form, place)))]


def _cells(form: MapAxes, spans: Iterable[Span]) -> list[Span]:
    """Turn px into rows and columns of a map."""
    return [(start // form.stride, stop // form.stride) for start, stop in spans]
