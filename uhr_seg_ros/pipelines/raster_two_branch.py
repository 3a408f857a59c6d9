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
Rasters larger than memory with the result of the frame in one piece, or close to it.

Of two-branch bundles the semantic branch sees all of the raster in small, where that fits the
memory, else large overlapping windows of it; the tiles of the detail branch are those of the
whole frame. Of others the logits of windows are blended.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import mask_dtype
from uhr_seg_ros.pipelines.masks import confidence_of
from uhr_seg_ros.pipelines.raster_blending import BlendedBlocks, MapAxes
from uhr_seg_ros.pipelines.raster_blocks import Reader
from uhr_seg_ros.pipelines.raster_tokens import RasterTokens
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.tiling import Span
from uhr_seg_ros.pipelines.two_branch import HALO, TwoBranch
from uhr_seg_ros.pipelines.two_branch_maps import DETAIL_MAPS, ROW_AXES, STRIDES, TOKEN_STRIDE

_DETAIL = {name: MapAxes(STRIDES[name], ROW_AXES[name]) for name in DETAIL_MAPS}


class TwoBranchBlocks(BlendedBlocks):
    """
    Tiles of the detail branch, and what the semantic branch says of all of the raster.

    Args:
        pipeline: of the bundle.
        bundle: of it.
        size: height and width of the raster, px.
        tile: largest side of a tile, px, see `BlendedBlocks`.
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
        halo = HALO * TOKEN_STRIDE
        super().__init__(bundle, size, tile, folder, read, confidence, _DETAIL, halo)
        self._pipeline, self._tokens = pipeline, tokens
        self.form['semantic'] = tokens.windows

    def maps_of(self, image: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
        """Run the detail branch."""
        return self._pipeline.detail_of(image, size)

    def results_of(
        self, maps: dict[str, np.ndarray], region: tuple[Span, ...], size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """Fuse the maps with the tokens of the region."""
        rows, columns = region
        outputs = ['mask', 'confidence'] if self._confidence else ['mask']
        return self._pipeline.fused(
            {'tokens': self._tokens.of(rows, columns), **maps}, size, outputs
        )


class LogitBlocks(BlendedBlocks):
    """
    Windows of any bundle, whose logits are blended.

    Args:
        segmenter: with the model.
        size: height and width of the raster, px.
        side: largest side of a window, px, see `BlendedBlocks`.
        folder: of the work.
        read: reads from the raster.
        confidence: whether it is wanted too.

    """

    def __init__(
        self,
        segmenter: Segmenter,
        size: tuple[int, int],
        side: int,
        folder: Path,
        read: Reader,
        confidence: bool = False,
    ) -> None:
        forms = {'logits': MapAxes(1, 1)}
        super().__init__(segmenter.bundle, size, side, folder, read, confidence, forms, 0)
        self._segmenter = segmenter

    def maps_of(self, image: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
        """Segment a window; all have one size, which engines are built for on a GPU."""
        missing = [side - length for side, length in zip(size, image.shape, strict=False)]
        padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), 'edge')
        logits = self._segmenter(padded, logits=True).logits
        assert logits is not None  # they were asked for
        return {'logits': logits}

    def results_of(
        self, maps: dict[str, np.ndarray], region: tuple[Span, ...], size: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """Take the class of the largest logit."""
        logits = maps['logits'][:, : size[0], : size[1]]
        results = {'mask': logits.argmax(0).astype(mask_dtype(len(logits)))}
        if self._confidence:
            results['confidence'] = confidence_of(logits)
        return results
