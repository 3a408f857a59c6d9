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

"""How a raster is segmented by blocks, and what its maps are: the same for every command."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import mask_dtype
from uhr_seg_ros.image_io.raster_writing import MapForm
from uhr_seg_ros.image_io.rasters import Raster
from uhr_seg_ros.pipelines.raster_blocks import (
    BlockEngine,
    BlockOptions,
    FIXED_MB,
    Reader,
    window_side,
    WindowBlocks,
)
from uhr_seg_ros.pipelines.raster_tokens import RasterTokens
from uhr_seg_ros.pipelines.raster_two_branch import LogitBlocks, TwoBranchBlocks
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.two_branch import TwoBranch


def choose_engine(
    segmenter: Segmenter,
    size: tuple[int, int],
    read: Reader,
    folder: Path,
    options: BlockOptions,
    *,
    memory_mb: int,
    detail_mb: int,
    tokens_folder: Path | None = None,
) -> tuple[BlockEngine, RasterTokens | None]:
    """
    Choose how a raster is segmented.

    Args:
        segmenter: any bundle.
        size: height and width of the raster, px.
        read: reads from the raster.
        folder: of the work: what blocks leave for each other.
        options: how blocks are made.
        memory_mb: of the process, MB.
        detail_mb: of the detail branch, MB; 0: no limit.
        tokens_folder: where those of the semantic branch lie; None: in the other folder.

    Returns:
        The engine, and tokens that have to be computed before its blocks; None without any.

    Raises:
        ConfigError: not even the smallest window fits the memory.

    """
    bundle, pipeline = segmenter.bundle, segmenter.pipeline
    if not segmenter.is_async:
        segmenter.warm_up(size)  # tells what a pixel takes
    is_two_branch = isinstance(pipeline, TwoBranch)
    side = window_side(
        segmenter,
        size,
        memory_mb,
        detail_mb,
        confidence=options.confidence,
        logits=not is_two_branch,
    )
    plain = options.refinement is None and options.budget is None
    if side is None or not plain:
        return WindowBlocks(segmenter, size, side, read, options), None
    sure = options.confidence
    if not isinstance(pipeline, TwoBranch):
        return LogitBlocks(segmenter, size, side, folder, read, sure), None
    tile = min(side, pipeline.tile_side(size) or side)
    memory = memory_mb - FIXED_MB
    tokens = RasterTokens(pipeline, bundle, size, tokens_folder or folder, memory, read)
    blocks = TwoBranchBlocks(pipeline, bundle, size, tile, tokens, folder, read, sure)
    return blocks, tokens


def mask_form(bundle: Bundle, raster: Raster) -> MapForm:
    """Return what the mask of a raster is: its place, colors and names of classes, nodata."""
    classes = bundle.classes
    dtype = mask_dtype(len(classes))
    return MapForm(
        raster.file_size,
        dtype.name,
        int(np.iinfo(dtype).max),
        crs=raster.crs,
        transform=raster.transform,
        colors=classes.colors,
        tags=map_tags(bundle),
        names=classes.names,
    )


def map_tags(bundle: Bundle) -> dict[str, str]:
    """Return the metadata of maps: names of classes, and of the model."""
    named = {f'CLASS_{index}': name for index, name in enumerate(bundle.classes.names)}
    return {**named, 'MODEL': bundle.name}
