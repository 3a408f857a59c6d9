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
Rasters that are larger than memory, block by block, and overlapping windows that are cut.

Cutting shows seams where a network looks further than the margin: it is for what changes masks
afterwards; `raster_two_branch` blends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Protocol

import numpy as np

from uhr_seg_ros.core.classes import MAX_UINT8_CLASSES
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.image_io.rasters import RasterWindow
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.refinement.refine import Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.tiling import DEFAULT_BYTES_PER_PIXEL, padded_size, Span, tile_spans

#: Memory of the process, MB, with everything in it.
DEFAULT_RASTER_MEMORY_MB = 2000
#: Of it, what does not grow with a window: interpreter, libraries, weights, GDAL's blocks, MB.
FIXED_MB = 450
#: A window as it is read: pixels, validity, and what reading takes beside them, bytes per px.
WINDOW_BYTES = 12
#: Smallest window, px; below it margins cost more than what is kept.
MIN_WINDOW = 512
#: A network that sees every frame in small gets windows of this side at most, px.
FIXED_SIZE_WINDOW = 2048

#: Reads rows and columns of a raster.
Reader = Callable[[Span, Span], RasterWindow]


@dataclass(frozen=True)
class Block:
    """A part of the mask, made at once: its number from 0, and rows and columns, px."""

    index: int
    rows: Span
    columns: Span


@dataclass(frozen=True)
class BlockResult:
    """
    What a block has become.

    Attributes:
        mask: (h, w) uint8 or uint16; the largest value where the raster has no data.
        image: (h, w, 3) uint8 BGR, the pixels of the block.
        confidence: (h, w) uint8, 0 where there is no data; or None.
        novelty: how far the window is from what the model knows; None where nobody tells.

    """

    mask: np.ndarray
    image: np.ndarray
    confidence: np.ndarray | None = None
    novelty: float | None = None


class BlockEngine(Protocol):
    """What segments a raster block by block; the same blocks in every run."""

    @property
    def blocks(self) -> Sequence[Block]:
        """All of them, in the order in which they are run."""
        ...

    #: What decides how the blocks look, beside the model and the file; JSON.
    form: dict[str, object]

    def run(self, block: Block) -> BlockResult:
        """Segment a block; they are run in their order, though not all in one process."""
        ...

    def done(self, block: Block) -> None:
        """Take notice that a block is written, and forget what only it needed."""
        ...


@dataclass(frozen=True)
class BlockOptions:
    """
    How blocks are made.

    Attributes:
        confidence: whether it is wanted too.
        refinement: of boundaries; None leaves them.
        budget: of a window; None for all of it.

    """

    confidence: bool = False
    refinement: Refinement | None = None
    budget: FrameBudget | None = None


class WindowBlocks:
    """
    Segment overlapping windows, and cut them in the middle of what they share.

    Args:
        segmenter: any bundle.
        size: height and width of the raster, px.
        side: of the windows, px; None: the raster is one window.
        read: reads from the raster.
        options: how blocks are made.

    """

    def __init__(
        self,
        segmenter: Segmenter,
        size: tuple[int, int],
        side: int | None,
        read: Reader,
        options: BlockOptions,
    ) -> None:
        self._segmenter, self._read, self._options = segmenter, read, options
        self._size = size
        multiple = segmenter.bundle.multiple
        self._spans = [
            [(0, length)] if side is None else tile_spans(padded, side, multiple)
            for length, padded in zip(size, padded_size(size, multiple), strict=True)
        ]
        rows, columns = (
            _cut(spans, length) for spans, length in zip(self._spans, size, strict=True)
        )
        self.blocks = [
            Block(index, *place)
            for index, place in enumerate((row, column) for row in rows for column in columns)
        ]
        self.form: dict[str, object] = {'windows': self._spans}

    def run(self, block: Block) -> BlockResult:
        """Segment the window around a block."""
        row, column = divmod(block.index, len(self._spans[1]))
        window = self._spans[0][row], self._spans[1][column]
        rows, columns = (
            (start, min(stop, length))
            for (start, stop), length in zip(window, self._size, strict=True)
        )
        read = self._read(rows, columns)
        core = (
            slice(block.rows[0] - rows[0], block.rows[1] - rows[0]),
            slice(block.columns[0] - columns[0], block.columns[1] - columns[0]),
        )
        valid = read.valid[core]
        wants = self._options.confidence
        if not valid.any():
            return nothing(read.image[core], len(self._segmenter.bundle.classes), wants)
        if self._options.budget is not None:
            self._options.budget.forget()
        # All windows have one size, which engines are built for on a GPU.
        missing = [
            stop - start - length
            for (start, stop), length in zip(window, read.image.shape, strict=False)
        ]
        image = np.pad(read.image, ((0, missing[0]), (0, missing[1]), (0, 0)), 'edge')
        result = self._segmenter(
            image,
            confidence=wants,
            refinement=self._options.refinement,
            budget=self._options.budget,
            novelty=True,
        )
        confidence = None if result.confidence is None else result.confidence[core]
        return masked(result.mask[core], read.image[core], valid, confidence, result.novelty)

    def done(self, block: Block) -> None:
        """Keep nothing anyway."""


def masked(
    mask: np.ndarray,
    image: np.ndarray,
    valid: np.ndarray,
    confidence: np.ndarray | None,
    novelty: float | None = None,
) -> BlockResult:
    """Return a result without class and confidence where there is no data."""
    if not valid.all():
        mask = np.where(valid, mask, np.iinfo(mask.dtype).max).astype(mask.dtype)
        confidence = None if confidence is None else confidence * valid
    return BlockResult(mask, image, confidence, novelty)


def nothing(image: np.ndarray, classes: int, confidence: bool) -> BlockResult:
    """Return the result of a block without data."""
    dtype = np.uint8 if classes <= MAX_UINT8_CLASSES else np.uint16
    mask = np.full(image.shape[:2], np.iinfo(dtype).max, dtype)
    return BlockResult(mask, image, np.zeros(mask.shape, np.uint8) if confidence else None)


def window_side(
    segmenter: Segmenter,
    size: tuple[int, int],
    memory_mb: int,
    detail_mb: int,
    *,
    confidence: bool = False,
    logits: bool = False,
) -> int | None:
    """
    Choose the side of windows so that the process stays within its memory.

    Args:
        segmenter: any bundle.
        size: height and width of the raster, px.
        memory_mb: of the process, MB.
        detail_mb: of the detail branch, MB, within which a window is one tile; 0: no limit.
        confidence: whether it is wanted too.
        logits: whether those of neighboring windows are blended.

    Returns:
        px, or None where the raster is one window.

    Raises:
        ConfigError: not even the smallest window fits; says what does.

    """
    bundle = segmenter.bundle
    detail, fixed = bundle.detail_bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL, float(FIXED_MB)
    if bundle.patches or bundle.kind.is_fixed_size:  # the network does not grow with the window
        detail, fixed = 0.0, fixed + detail_mb
    kept = WINDOW_BYTES + segmenter.bytes_per_pixel(confidence=confidence, logits=logits)
    if logits:  # those that are blended, beside those of the window
        kept += 4 * len(bundle.classes)
    pixels = int(1e6 * (memory_mb - fixed) / (kept + detail))
    if pixels < MIN_WINDOW**2:
        needed = int(fixed + MIN_WINDOW**2 * (kept + detail) / 1e6) + 1
        msg = (
            f'--raster-memory-mb {memory_mb} is too small for {bundle.name}: windows of '
            f'{MIN_WINDOW} px need {needed}'
        )
        raise ConfigError(msg)
    if detail_mb and detail:
        pixels = max(MIN_WINDOW**2, min(pixels, int(detail_mb * 1e6 / detail)))
    if bundle.kind.is_fixed_size:
        pixels = min(pixels, FIXED_SIZE_WINDOW**2)
    height, width = padded_size(size, bundle.multiple)
    if height * width <= pixels:
        return None
    return isqrt(pixels) // bundle.multiple * bundle.multiple


def _cut(spans: Sequence[Span], length: int) -> list[Span]:
    """Cut overlapping spans in the middle of what neighbors share."""
    middles = [
        (after[0] + before[1]) // 2 for before, after in zip(spans[:-1], spans[1:], strict=True)
    ]
    edges = [0, *middles, length]
    return list(zip(edges[:-1], edges[1:], strict=True))
