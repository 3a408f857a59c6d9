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

"""A look at a tile: both graphs that follow the semantic one, on a part of a frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.registry import open_backend
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.pipelines.frame_budget_tiles import Tile
from uhr_seg_ros.pipelines.outputs import CheckedGraphs
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.tiling import Span
from uhr_seg_ros.pipelines.two_branch_maps import (
    detail_feeds,
    DETAIL_MAPS,
    map_sizes,
    TOKEN_STRIDE,
)


class TileLooker:
    """
    Looks at tiles, one at a time, by engines of its own: what one thread needs.

    Its engines have one thread, as operators on so small a tile are not worth sharing.

    Args:
        bundle: a bundle of kind `two_branch`.
        options: of the engines.

    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._preprocessor = Preprocessor(bundle)
        self._backend = open_backend(bundle, replace(options, threads=1, report=lambda text: None))
        names = ('detail', 'quarter')
        engines = {name: self._backend.open(bundle.graphs[name], {}) for name in names}
        self._graphs = CheckedGraphs(bundle, engines)

    def look(self, image: np.ndarray, tokens: np.ndarray, tile: Tile) -> np.ndarray:
        """
        Look at the window of a tile.

        Args:
            image: (H, W, 3) uint8 BGR.
            tokens: (1, channels, h, w) float32 of the whole frame.
            tile: where.

        Returns:
            logits (C, rows, columns) float32 of the window, at a quarter of its size.

        """
        rows, columns = _pixels(tile.window_rows), _pixels(tile.window_columns)
        planes = self._preprocessor.window(image, rows, columns)
        size = planes.shape[2:]
        feeds = detail_feeds(planes, self._graphs['detail'].input_shapes)
        sizes = {name: map_sizes(name, *size) for name in DETAIL_MAPS}
        maps = self._graphs.run('detail', feeds, sizes)
        part = tokens[:, :, slice(*tile.window_rows), slice(*tile.window_columns)]
        feeds = {'tokens': np.ascontiguousarray(part), **maps}
        wanted = {'quarter_logits': map_sizes('local', *size)}
        return self._graphs.run('quarter', feeds, wanted)['quarter_logits'][0]

    def keep_memory(self, keeps: bool) -> None:
        """Tell the engines; see `InferencePipeline.keep_memory`."""
        self._graphs.keep_memory(keeps)

    def forget(self) -> None:
        """Free the memory of the last look."""
        self._preprocessor.forget()

    def close(self) -> None:
        """Free the memory of the engines."""
        self._graphs.close()
        self._backend.close()


def _pixels(cells: Span) -> Span:
    return cells[0] * TOKEN_STRIDE, cells[1] * TOKEN_STRIDE
