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
Two-branch bundles on rasters larger than memory, with the result of the frame in one piece.

The semantic branch sees all of the raster in small, where that fits the memory, else large
overlapping windows of it. The tiles of the detail branch are those of the whole frame; what
neighbors share of them waits in files, where a later run finds it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.pipelines.raster_blocks import Block, BlockResult, masked, nothing, Reader
from uhr_seg_ros.pipelines.raster_tokens import RasterTokens, save
from uhr_seg_ros.pipelines.tiling import (
    BlendAxis,
    padded_size,
    Span,
    tile_spans,
)
from uhr_seg_ros.pipelines.two_branch import HALO, TwoBranch
from uhr_seg_ros.pipelines.two_branch_maps import DETAIL_MAPS, ROW_AXES, STRIDES, TOKEN_STRIDE

#: Around what is fused this much is thrown away, px.
_HALO = HALO * TOKEN_STRIDE
#: Smallest tile, px: a block then needs no more than the four tiles that meet in its corner.
MIN_TILE = 512


class TwoBranchBlocks:
    """
    Segment the blocks between the overlaps of tiles.

    Block (r, c) ends where the tiles (r + 1, c) and (r, c + 1) begin, less what the fusion looks
    beyond: so it needs the tiles (r - 1 and r, c - 1 and c), of which one is new.

    Args:
        pipeline: of the bundle.
        bundle: of it.
        size: height and width of the raster, px.
        tile: largest side of a tile, px; below `MIN_TILE` that is taken.
        tokens: of the raster.
        folder: of the work.
        read: reads from the raster.
        confidence: whether it is wanted too.

    """

    def __init__(
        self,
        pipeline: TwoBranch,
        bundle: Bundle,
        size: tuple[int, int],
        tile: int,
        tokens: RasterTokens,
        folder: Path,
        read: Reader,
        confidence: bool = False,
    ) -> None:
        self._pipeline, self._tokens, self._folder, self._read = pipeline, tokens, folder, read
        self._size, self._classes, self._confidence = size, len(bundle.classes), confidence
        self._padded = padded_size(size, bundle.multiple)
        self._rows, self._columns = (
            tile_spans(length, max(tile, MIN_TILE), bundle.multiple) for length in self._padded
        )
        self._blends = {
            name: (BlendAxis(self._rows, stride), BlendAxis(self._columns, stride))
            for name, stride in STRIDES.items()
            if name in DETAIL_MAPS
        }
        places = [
            (rows, columns)
            for rows in _owned(self._rows, size[0])
            for columns in _owned(self._columns, size[1])
        ]
        self.blocks = [Block(index, *place) for index, place in enumerate(places)]
        self.form: dict[str, object] = {
            'tiles': [self._rows, self._columns],
            'semantic': tokens.windows,
        }

    def run(self, block: Block) -> BlockResult:
        """Segment a block; the tiles before it left what it needs."""
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
        image, valid = read.image[core], read.valid[core]
        if not read.valid.any():
            for edge in ('below', 'right'):
                save(self._file(row, column, edge), *(np.empty(0, np.float32),) * 2)
            return nothing(image, self._classes, self._confidence)
        first = self._rows[row][0] - reach[0][0], self._columns[column][0] - reach[1][0]
        own = self._tile(row, column, read.image[first[0] :, first[1] :])
        results = self._fused(row, column, own)
        return masked(results['mask'], image, valid, results.get('confidence'))

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
        maps = self._pipeline.detail_of(image, (rows[1] - rows[0], columns[1] - columns[0]))
        for name, values in maps.items():
            along, across = self._blends[name]
            weight = along.weights[row][:, None] * across.weights[column]
            after = values.ndim - ROW_AXES[name] - 2
            values *= weight.reshape(*weight.shape, *(1,) * after)
        for edge in ('below', 'right'):
            rest = self._edge(row, column, edge)
            if rest is not None:
                ends = [_part(name, maps[name], rest, (rows, columns)) for name in DETAIL_MAPS]
                save(self._file(row, column, edge), *ends)
        return maps

    def _edge(self, row: int, column: int, edge: str) -> tuple[Span, Span] | None:
        """Return what of a tile the tiles below, or to the right, need: rows and columns, px."""
        rows, columns = self._rows[row], self._columns[column]
        if edge == 'below':
            if row + 1 == len(self._rows):
                return None
            return (max(self._rows[row + 1][0] - 2 * _HALO, rows[0]), rows[1]), columns
        if column + 1 == len(self._columns):
            return None
        return rows, (max(self._columns[column + 1][0] - 2 * _HALO, columns[0]), columns[1])

    def _fused(self, row: int, column: int, own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Blend the maps of a block and what lies around it, and fuse them."""
        region = tuple(
            (
                max(spans[index][0] - 2 * _HALO, 0),
                spans[index + 1][0] if index + 1 < len(spans) else length,
            )
            for spans, index, length in zip(
                (self._rows, self._columns), (row, column), self._padded, strict=True
            )
        )
        blended = {}
        for name, values in own.items():
            shape, axis = list(values.shape), ROW_AXES[name]
            shape[axis : axis + 2] = [(stop - start) // STRIDES[name] for start, stop in region]
            blended[name] = np.zeros(shape, np.float32)
        # In the order of the tiles of a whole frame, since sums of floats depend on it.
        for place, maps in self._contributions(row, column, own):
            for name, values in maps.items():
                _add(name, blended[name], region, values, place)
        outputs = ['mask', 'confidence'] if self._confidence else ['mask']
        blended['tokens'] = self._tokens.of(*region)
        height, width = (
            min(stop, length) - start
            for (start, stop), length in zip(region, self._size, strict=True)
        )
        results = self._pipeline.fused(blended, (height, width), outputs)
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
        """Load the end of a tile; make it again where a loss of power has taken it."""
        path = self._file(row, column, edge)
        try:
            with np.load(path) as file:
                values = [file[f'arr_{index}'] for index in range(len(DETAIL_MAPS))]
        except (OSError, ValueError, EOFError, KeyError):
            rows, columns = (
                (span[0], min(span[1], length))
                for span, length in zip(
                    (self._rows[row], self._columns[column]), self._size, strict=True
                )
            )
            self._tile(row, column, self._read(rows, columns).image)
            return self._kept(row, column, edge)
        found = dict(zip(DETAIL_MAPS, values, strict=True))
        return {name: each for name, each in found.items() if each.size}

    def _file(self, row: int, column: int, edge: str) -> Path:
        return self._folder / f'{edge}_{row}_{column}.npz'


def _owned(spans: list[Span], length: int) -> list[Span]:
    """Return where blocks begin and end along an axis, px."""
    edges = [0, *(start - _HALO for start, _ in spans[1:]), length]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _within(part: Iterable[Span], whole: Iterable[Span]) -> tuple[slice, ...]:
    return tuple(
        slice(start - first, stop - first)
        for (start, stop), (first, _) in zip(part, whole, strict=True)
    )


def _part(
    name: str, values: np.ndarray, part: tuple[Span, Span], whole: tuple[Span, Span]
) -> np.ndarray:
    """Cut out of a map of a tile what belongs to a part of it, px."""
    place = _within(_cells(name, part), _cells(name, whole))
    return values[(*(slice(None),) * ROW_AXES[name], *place)]


def _add(
    name: str,
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
    before = (slice(None),) * ROW_AXES[name]
    cells = _cells(name, shared)
    target = (*before, *_within(cells, _cells(name, region)))
    total[target] += values[(*before, *_within(cells, _cells(name, place)))]


def _cells(name: str, spans: Iterable[Span]) -> list[Span]:
    """Turn px into rows and columns of a map."""
    return [(start // STRIDES[name], stop // STRIDES[name]) for start, stop in spans]
