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

"""From a labelled image to its mask, whole or by sliding windows."""

from __future__ import annotations

from collections.abc import Iterator
import tempfile

import numpy as np

from uhr_seg_ros.core.mapped_files import reserve
from uhr_seg_ros.data.sample import Sample
from uhr_seg_ros.evaluation.block import MemmapMask, Window
from uhr_seg_ros.evaluation.fixed_share import FixedShare
from uhr_seg_ros.evaluation.resize import resized_rows, ROWS, ScaledImage
from uhr_seg_ros.evaluation.seams import Grid, Seams
from uhr_seg_ros.evaluation.settings import EvaluationSettings
from uhr_seg_ros.evaluation.sliding_window import arg_max, slide
from uhr_seg_ros.evaluation.tta import averaged, VIEWS
from uhr_seg_ros.pipelines.frame_budget_tiles import lay_tiles
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.refinement.refine import refine
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.tiling import padded_size, tile_spans, TileLimit
from uhr_seg_ros.pipelines.two_branch_maps import TOKEN_STRIDE


class Predictor:
    """
    Segment labelled images as the settings say.

    Args:
        segmenter: The bundle at work; its limits are `limits`.
        settings: How.
        limits: How the segmenter cuts whole images.
        whole: A segmenter without limits, to compare tiles with.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        settings: EvaluationSettings,
        limits: TilingOptions,
        whole: Segmenter | None = None,
    ) -> None:
        self._segmenter, self._whole = segmenter, whole
        self._settings = settings
        bundle = segmenter.bundle
        self._limit = None
        if not bundle.patches:  # which lie as their network wants them
            self._limit = TileLimit(bundle, limits.memory_limit_mb or None, limits.tile)

    def predict(self, image: Sample, mask: MemmapMask, seams: Seams) -> None:
        """
        Segment one image.

        Args:
            image: The image.
            mask: Takes the mask, in the size of the image.
            seams: Gets the grid of the image, and counts what windows disagree about.
        """
        source = ScaledImage(image, self._settings.scale)
        if self._settings.mode == 'slide':
            seams.grid = self._window_grid(source.size)
            bands = self._slide(source, seams)
        else:
            seams.grid = self._tile_grid(source.size)
            if not self._settings.needs_logits:
                return self._whole_mask(image.read_image(), mask, seams)
            bands = self._whole_scores(source)
        if source.size != image.size:
            bands = resized_rows(bands, source.size, image.size)
        for band in bands:
            mask.append(arg_max(band))

    def _whole_mask(self, image: np.ndarray, mask: MemmapMask, seams: Seams) -> None:
        if self._settings.branch == 'semantic':
            found = self._segmenter.semantic_only(image)
        else:
            share = self._settings.detail_share
            # Of every image alone: nothing is kept of the one before.
            budget = None if share is None else FixedShare(share)
            found = self._segmenter(image, budget=budget).mask
        if self._settings.refinement is not None:
            found = refine(found, image, self._settings.refinement).mask
        mask.append(found)
        if self._whole is not None and seams.grid is not None:
            changed = found != self._whole(image).mask
            seams.compare(0, np.ones_like(changed), changed)

    def _whole_scores(self, source: ScaledImage) -> Iterator[np.ndarray]:
        image = source.read((0, 0, source.size[0], source.size[1]))
        views = VIEWS[self._settings.tta]
        # The sums are as large as the logits: they wait on disk.
        scores = averaged(image, views, self._logits, _zeros_on_disk)
        for top in range(0, source.size[0], ROWS):
            yield np.ascontiguousarray(scores[:, top : top + ROWS])

    def _slide(self, source: ScaledImage, seams: Seams) -> Iterator[np.ndarray]:
        views = VIEWS[self._settings.tta]

        def predict(window: Window) -> np.ndarray:
            return averaged(source.read(window), views, self._logits)

        top = 0
        window, stride = self._settings.window, self._settings.stride
        for band in slide(source.size, window, stride, predict):
            seams.compare(top, band.shared, band.differing)
            top += len(band.shared)
            yield band.scores

    def _logits(self, image: np.ndarray) -> np.ndarray:
        logits = self._segmenter(image, logits=True).logits
        assert logits is not None  # they were asked for
        return logits

    def _window_grid(self, size: tuple[int, int]) -> Grid | None:
        settings = self._settings
        return _if_cut(Grid.of_windows(size, settings.window, settings.stride))

    def _tile_grid(self, size: tuple[int, int]) -> Grid | None:
        """Find where the segmenter cuts its detail branch."""
        if self._limit is None:
            return None
        multiple = self._segmenter.bundle.multiple
        padded = padded_size(size, multiple)
        if self._settings.detail_share is not None:
            return _if_cut(_budget_grid(size, padded))
        tile = self._limit.side_for(*padded)
        if tile is None or self._settings.branch == 'semantic':
            return None
        return _if_cut(Grid.of_spans(size, *(tile_spans(side, tile, multiple) for side in padded)))


def _budget_grid(size: tuple[int, int], padded: tuple[int, int]) -> Grid:
    tiles = lay_tiles((padded[0] // TOKEN_STRIDE, padded[1] // TOKEN_STRIDE))
    rows, columns = (
        [(TOKEN_STRIDE * start, TOKEN_STRIDE * stop) for start, stop in sorted(set(spans))]
        for spans in ((tile.rows for tile in tiles), (tile.columns for tile in tiles))
    )
    return Grid.of_spans(size, rows, columns)


def _if_cut(grid: Grid) -> Grid | None:
    return grid if grid.rows or grid.columns else None


def _zeros_on_disk(shape: tuple[int, ...]) -> np.ndarray:
    file = tempfile.TemporaryFile(prefix='uhr_seg_sums_')
    sums = np.memmap(file, np.float32, 'w+', shape=shape)
    reserve(file.fileno())
    return sums
