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

"""The folder in which the mask of a raster is made: finished blocks are found there again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import json
from pathlib import Path
import shutil
from typing import Any

import numpy as np

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.mapped_files import new_mapped
from uhr_seg_ros.pipelines.raster_blocks import Block, BlockResult

#: Longest side of the overlay of a raster, px.
PREVIEW = 4096
_JOURNAL = 'blocks.jsonl'


class RasterWork:
    """
    What is finished of a raster, with a line of a file for every block.

    Args:
        folder: of the work, beside the results; hidden.
        settings: what decides how the mask looks; values that JSON holds.
        resume: go on with what an earlier run of the same settings has left; else it is removed.

    Attributes:
        is_new: whether nothing of an earlier run is used.
        is_other: whether an earlier run was left, but with other settings.
        damaged: blocks of the raster that could not be read, as of `Raster.damaged`.
        novelties: of the blocks that know theirs.

    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
        self.folder = folder
        self._path = folder / _JOURNAL
        self._lines: dict[int, dict[str, Any]] = {}
        head = {'settings': json.loads(json.dumps(settings))}
        lines = _read(self._path) if resume else []
        self.is_new = not lines or lines[0] != head
        self.is_other = bool(lines) and self.is_new
        if self.is_new:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            write_text(self._path, json.dumps(head) + '\n')
        else:
            self._lines = {line['block']: line for line in lines[1:]}
            # Without a last line that is cut.
            write_text(self._path, ''.join(json.dumps(line) + '\n' for line in lines))

    def __contains__(self, block: Block) -> bool:
        return block.index in self._lines

    @property
    def damaged(self) -> set[tuple[int, int]]:
        return {(row, column) for line in self._lines.values() for row, column in line['damaged']}

    @property
    def novelties(self) -> list[float]:
        found = (line['novelty'] for line in self._lines.values())
        return [each for each in found if each is not None]

    def pixels(self, classes: int) -> list[int]:
        """Return the pixels of every class."""
        counts = (np.array(line['pixels']) for line in self._lines.values())
        return sum(counts, np.zeros(classes, np.int64)).tolist()

    def add(
        self,
        block: Block,
        pixels: Sequence[int],
        novelty: float | None,
        damaged: Iterable[Sequence[int]],
    ) -> None:
        """Note that a block is in its files, with the pixels of every class."""
        line = {
            'block': block.index,
            'pixels': list(pixels),
            'damaged': sorted(map(list, damaged)),
            'novelty': novelty,
        }
        self._lines[block.index] = line
        with self._path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')

    def remove(self) -> None:
        """Remove the folder, when the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Preview:
    """
    A raster and its mask in small, for the overlay: every so many pixels of a row and a column.

    Args:
        folder: of the work.
        size: height and width of the raster, px.
        dtype: of the mask.

    """

    def __init__(self, folder: Path, size: tuple[int, int], dtype: np.dtype) -> None:
        self.step = -(-max(size) // PREVIEW)
        shape = tuple(-(-side // self.step) for side in size)
        self.image = _mapped(folder / 'preview_image.npy', (*shape, 3), np.dtype(np.uint8))
        self.mask = _mapped(folder / 'preview_mask.npy', shape, dtype)

    def add(self, block: Block, result: BlockResult) -> None:
        """Take what falls into a block."""
        skipped = [-start % self.step for start, _ in (block.rows, block.columns)]
        top, left = (
            (start + skip) // self.step
            for (start, _), skip in zip((block.rows, block.columns), skipped, strict=True)
        )
        for target, values in ((self.image, result.image), (self.mask, result.mask)):
            small = values[skipped[0] :: self.step, skipped[1] :: self.step]
            target[top : top + small.shape[0], left : left + small.shape[1]] = small
            target.flush()


def _mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
    if path.is_file():
        return np.lib.format.open_memmap(path, 'r+')
    return new_mapped(path, dtype, shape)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the lines but for a last one that is cut."""
    lines: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding='utf-8')
        for line in text.splitlines():
            lines.append(json.loads(line))
    except (OSError, ValueError):
        pass
    return lines
