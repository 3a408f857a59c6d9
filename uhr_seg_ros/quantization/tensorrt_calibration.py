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

"""Real frames through a two-branch bundle, for the calibration of its graphs to int8."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.tiling import padded_size, Span, tile_spans, TileLimit
from uhr_seg_ros.pipelines.two_branch import TwoBranch
from uhr_seg_ros.pipelines.verification import mirrored

Feeds = Iterator[dict[str, np.ndarray]]


def calibrate(
    bundle: Bundle,
    graphs: SpecializedGraphs,
    limits: TilingOptions,
    size: tuple[int, int],
    frames: Sequence[np.ndarray],
) -> None:
    """
    Quantize the graphs that the GPU runs, with what frames of one size put into them.

    Args:
        bundle: a bundle of kind `two_branch`.
        graphs: takes the quantized graphs.
        limits: how large a piece of a frame the detail branch gets.
        size: height and width of the frames to come, px.
        frames: (h, w, 3) uint8 BGR; cut, or continued by mirroring, to that size.

    """
    if limits.memory_limit_mb:  # the tiles that the engines will have
        per_pixel = graphs.expected_bytes_per_pixel(bundle.graphs['detail'])
        limits = replace(limits, bytes_per_pixel=per_pixel)
    fitted = [mirrored(frame, size) for frame in frames]
    feeds = _Feeds(bundle, limits, size)
    sources: dict[str, Callable[[np.ndarray], Feeds]] = {
        'semantic': feeds.semantic,
        'detail': feeds.detail,
        'quarter': feeds.quarter,
    }
    for name, source in sources.items():
        first = next(source(fitted[0]))
        shapes = {tensor: values.shape for tensor, values in first.items()}
        all_feeds = (each for frame in fitted for each in source(frame))
        graphs.calibrate(bundle.graphs[name], shapes, all_feeds)


class _Feeds:
    """What a frame puts into each graph."""

    def __init__(self, bundle: Bundle, limits: TilingOptions, size: tuple[int, int]) -> None:
        self._bundle, self._limits = bundle, limits
        self._preprocessor = Preprocessor(bundle)
        height, width = padded_size(size, bundle.multiple)
        limit = TileLimit(
            bundle, limits.memory_limit_mb or None, limits.tile, limits.bytes_per_pixel
        )
        tile = limit.side_for(height, width)
        self._rows: list[Span] = tile_spans(height, tile or height, bundle.multiple)
        self._columns: list[Span] = tile_spans(width, tile or width, bundle.multiple)

    def semantic(self, frame: np.ndarray) -> Feeds:
        yield {'low_res': self._preprocessor.low_res(frame).copy()}

    def detail(self, frame: np.ndarray) -> Feeds:
        for rows in self._rows:
            for columns in self._columns:
                yield {'image': self._preprocessor.window(frame, rows, columns).copy()}

    def quarter(self, frame: np.ndarray) -> Feeds:
        branches = TwoBranch.open(self._bundle, self._limits, EngineOptions(precision='fp32'))
        try:
            yield branches.maps(frame, StageClock())
        finally:
            branches.close()
