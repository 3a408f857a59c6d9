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

"""Learned downsampling: a frame is warped towards what is worth seeing, and its mask unwarped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uhr_seg_ros.backends.engine import Backend, Engine
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.inverse_warp import at_points, POINT_MAP_BYTES, PointMap
from uhr_seg_ros.pipelines.masks import arg_max, confidence_of
from uhr_seg_ros.pipelines.outputs import CheckedGraphs, lengths
from uhr_seg_ros.pipelines.pipeline import OutputRequest, Results, TilingOptions
from uhr_seg_ros.pipelines.sampling import Sampler
from uhr_seg_ros.pipelines.synchronous import fixed_size, open_fixed, SynchronousPipeline
from uhr_seg_ros.pipelines.tiling import TileLimit

#: So much may rounding add to a grid that is in -1..1.
GRID_SLACK = 1e-5


class Deformed(SynchronousPipeline):
    """
    Run the graphs of one bundle of kind `deformed`.

    `saliency` looks at the whole frame in small and gives a sampling grid; the frame is sampled
    along it, from its bytes, and what `segment` says of this warped image is unwarped.

    Args:
        bundle: a bundle of kind `deformed`.
        engines: the engines of `saliency` and `segment`.
        limits: nothing of them is needed.
        options: `threads` of it unwarp masks too.

    Raises:
        ConfigError: a tile is required.
        BundleError: graphs without fixed sizes.
        EngineError: graphs whose outputs have another size or number of classes.

    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None:
        TileLimit(bundle, None, limits.tile)  # which refuses tiles
        self._bundle = bundle
        self._threads = options.threads or available_cores()
        self.provenance = engines['segment'].provenance()
        self._size, warped = (
            fixed_size(bundle, name, engines[name]) for name in ('saliency', 'segment')
        )
        self._warped_lengths = lengths(*warped)
        outputs = {'saliency': 'grid', 'segment': 'probabilities'}
        self._graphs = CheckedGraphs(
            bundle,
            engines,
            {graph: {name: self._warped_lengths} for graph, name in outputs.items()},
        )
        self._sampler = Sampler(bundle.mean, bundle.std)

    @classmethod
    def open_graphs(
        cls, bundle: Bundle, backend: Backend, limits: TilingOptions, options: EngineOptions
    ) -> dict[str, Engine]:
        """Open the graphs for the sizes that they take; see `open_fixed`."""
        return open_fixed(bundle, backend, options)

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """
        Segment one frame; see `InferencePipeline.segment`.

        The stages are `convert`, `reduce`, `saliency`, `sample`, `network`, `enlarge` and
        `overlay`. The logits are logarithms of probabilities.
        """
        with clock.stage('convert'):
            image = frame.bgr
        grid, probabilities = self.warped(image, clock)
        with clock.stage('enlarge'):
            results = self._unwarped(grid, probabilities, image.shape[:2], request)
        if request.overlay.any:
            with clock.stage('overlay'):
                classes = self._bundle.classes
                results |= request.overlay.paint(image, results['mask'], classes)
        return results

    def warped(self, image: np.ndarray, clock: StageClock) -> tuple[np.ndarray, np.ndarray]:
        """
        Segment the warped image.

        Args:
            image: (H, W, 3) uint8 BGR.
            clock: takes the times of the stages.

        Returns:
            grid (h, w, 2) float32, x first, in -1..1 over the frame; probabilities (C, h, w)
            float32.

        """
        grid = self._grid(image, clock)
        with clock.stage('sample'):
            warped = self._sampler.along(image, grid)
        with clock.stage('network'):
            found = self._graphs.run(
                'segment', {'image': warped}, {'probabilities': self._warped_lengths}
            )
        return grid, found['probabilities'][0]

    def sampling_grid(self, frame: RawFrame) -> np.ndarray:
        """Return where a frame is sampled: grid (h, w, 2) float32 as of `warped`."""
        return self._grid(frame.bgr, StageClock())

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Refuse: there is no such branch."""
        msg = f'bundle {self._bundle.name} segments bent frames, it has no semantic branch'
        raise BundleError(msg)

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count what unwarping looks up for every px."""
        return POINT_MAP_BYTES

    def _grid(self, image: np.ndarray, clock: StageClock) -> np.ndarray:
        with clock.stage('reduce'):
            small = self._sampler.resized(image, self._size)
        with clock.stage('saliency'):
            grid = self._graphs.run('saliency', {'image': small}, {'grid': self._warped_lengths})[
                'grid'
            ][0]
        if not (np.abs(grid) <= 1 + GRID_SLACK).all():
            msg = (
                f'bundle {self._bundle.path}: graph saliency gives a grid from {grid.min():g} to '
                f'{grid.max():g}, which leaves the frame, -1 to 1: export the model again'
            )
            raise BundleError(msg)
        return grid

    def _unwarped(
        self,
        grid: np.ndarray,
        probabilities: np.ndarray,
        size: tuple[int, int],
        request: OutputRequest,
    ) -> dict[str, np.ndarray]:
        """Unwarp what is wanted."""
        seen = at_points(probabilities)
        small = {'mask': arg_max(seen)}
        if wanted := set(request.outputs) - {'mask'}:
            logits = np.log(np.maximum(seen, np.finfo(np.float32).tiny))
            scores = {'confidence': confidence_of(logits), 'logits': logits}
            small |= {name: scores[name] for name in wanted}
        results = {
            name: np.empty((*values.shape[:-2], *size), values.dtype)
            for name, values in small.items()
        }
        pairs = [
            (plane.ravel(), whole)
            for name, values in small.items()
            for plane, whole in zip(_planes(values), _planes(results[name]), strict=True)
        ]
        PointMap(grid, size, self._threads).fill(pairs)
        return results


def _planes(values: np.ndarray) -> np.ndarray:
    """(C, h, w) or (h, w) -> (C, h, w); a view."""
    return values.reshape(-1, *values.shape[-2:])
