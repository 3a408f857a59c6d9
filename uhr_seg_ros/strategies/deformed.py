# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Learned downsampling: a frame is bent towards what is worth seeing, and its mask bent back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from uhr_seg_ros.bundle import Bundle
from uhr_seg_ros.engines.engine import Engine
from uhr_seg_ros.engines.opening import available_cores, open_engines
from uhr_seg_ros.engines.options import EngineOptions
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.pixels import RawFrame
from uhr_seg_ros.strategies.maps import arg_max, confidence_of
from uhr_seg_ros.strategies.sampling import Sampler
from uhr_seg_ros.strategies.strategy import AtOnce, Limits, Request, warm_up_frame
from uhr_seg_ros.strategies.tiling import TileLimit
from uhr_seg_ros.strategies.unbending import at_points, PointMap
from uhr_seg_ros.timing import StageClock

#: So much may rounding add to a grid that is in -1..1.
GRID_SLACK = 1e-5


class DeformedError(UhrSegError):
    """Something that learned downsampling has not, or graphs that do not fit."""


class Deformed(AtOnce):
    """
    Run the graphs of one bundle of kind `deformed`.

    `saliency` looks at the whole frame in small and gives a sampling grid; the frame is sampled
    along it, from its bytes, and what `segment` says of this bent image is bent back.

    Args:
        bundle: a bundle of kind `deformed`.
        engines: the engines of `saliency` and `segment`.
        limits: nothing of them is needed.
        threads: that bend masks back, 0 for as many as this process may use.

    Raises:
        TilingError: a tile is asked for.
        DeformedError: graphs without fixed sizes, or with another number of classes than the
            bundle.

    """

    def __init__(
        self, bundle: Bundle, engines: Mapping[str, Engine], limits: Limits, threads: int = 0
    ) -> None:
        TileLimit(bundle, None, limits.tile)  # which refuses tiles
        self._bundle, self._engines = bundle, dict(engines)
        self._threads = threads or available_cores()
        self.provenance = engines['segment'].provenance()
        self._size, bent = (
            fixed_size(bundle, name, engines[name]) for name in ('saliency', 'segment')
        )
        check_shape(bundle, 'saliency', engines['saliency'].output_shapes['grid'], (1, *bent, 2))
        shape = engines['segment'].output_shapes['probabilities']
        check_shape(bundle, 'segment', shape, (1, len(bundle.classes), *bent))
        self._sampler = Sampler(bundle.mean, bundle.std)

    @classmethod
    def open(cls, bundle: Bundle, limits: Limits, options: EngineOptions) -> Deformed:
        """Open the graphs of a bundle on ONNX Runtime; see `open_engines`."""
        return cls(bundle, open_engines(bundle, bundle.graphs, options), limits, options.threads)

    def prepare(self, size: tuple[int, int]) -> None:
        """Run once on a black frame."""
        self.segment(warm_up_frame(size), Request(), StageClock())

    def segment(
        self, frame: RawFrame, request: Request, clock: StageClock
    ) -> dict[str, np.ndarray]:
        """
        Segment one frame; see `Strategy.segment`.

        The stages are `convert`, `reduce`, `saliency`, `sample`, `network`, `enlarge` and
        `overlay`. The logits are logarithms of probabilities.
        """
        with clock.stage('convert'):
            image = frame.bgr
        grid, probabilities = self.bent(image, clock)
        with clock.stage('enlarge'):
            results = self._enlarged(grid, probabilities, image.shape[:2], request)
        if request.pictures.any:
            with clock.stage('overlay'):
                classes = self._bundle.classes
                results |= request.pictures.paint(image, results['mask'], classes)
        return results

    def bent(self, image: np.ndarray, clock: StageClock) -> tuple[np.ndarray, np.ndarray]:
        """
        Segment the bent image.

        Args:
            image: (H, W, 3) uint8 BGR.
            clock: takes the times of the stages.

        Returns:
            grid (h, w, 2) float32, x first, in -1..1 over the frame; probabilities (C, h, w)
            float32.

        """
        grid = self._grid(image, clock)
        with clock.stage('sample'):
            bent = self._sampler.along(image, grid)
        with clock.stage('network'):
            found = self._engines['segment'].run({'image': bent}, ['probabilities'])
        return grid, found['probabilities'][0]

    def sampling_grid(self, frame: RawFrame) -> np.ndarray:
        """Tell where a frame is sampled: grid (h, w, 2) float32 as of `bent`."""
        return self._grid(frame.bgr, StageClock())

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Refuse: there is no such branch."""
        msg = f'bundle {self._bundle.name} segments bent frames, it has no semantic branch'
        raise DeformedError(msg)

    def close(self) -> None:
        """Give back the memory of the engines."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def _grid(self, image: np.ndarray, clock: StageClock) -> np.ndarray:
        with clock.stage('reduce'):
            small = self._sampler.resized(image, self._size)
        with clock.stage('saliency'):
            grid = self._engines['saliency'].run({'image': small}, ['grid'])['grid'][0]
        if not (np.abs(grid) <= 1 + GRID_SLACK).all():
            msg = (
                'the back end gives a sampling grid that is not finite or leaves the frame: '
                'export the model again'
            )
            raise DeformedError(msg)
        return grid

    def _enlarged(
        self,
        grid: np.ndarray,
        probabilities: np.ndarray,
        size: tuple[int, int],
        request: Request,
    ) -> dict[str, np.ndarray]:
        """Bend back what is wanted."""
        seen = at_points(probabilities)
        if not np.isfinite(seen.sum()):
            msg = 'the back end gives probabilities that are not finite: export the model again'
            raise DeformedError(msg)
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
        PointMap(grid, size, self._threads).spread(pairs)
        return results


def fixed_size(bundle: Bundle, name: str, engine: Engine) -> tuple[int, int]:
    """
    Give height and width of the image that a graph takes, px.

    Raises:
        DeformedError: they are not fixed.

    """
    shape = engine.input_shapes['image']
    if len(shape) != 4 or shape[2] is None or shape[3] is None:
        msg = (
            f'bundle {bundle.path}: graph {name} takes images of shape {shape}, expected a fixed '
            'height and width: export the model again'
        )
        raise DeformedError(msg)
    return shape[2], shape[3]


def check_shape(
    bundle: Bundle, name: str, found: tuple[int | None, ...], expected: tuple[int, ...]
) -> None:
    """
    Refuse a graph whose output has another shape.

    Raises:
        DeformedError: names both shapes.

    """
    if tuple(found) != expected:
        msg = (
            f'bundle {bundle.path}: graph {name} gives shape {tuple(found)}, its '
            f'{len(bundle.classes)} classes and its sizes ask for {expected}: export the model '
            'again'
        )
        raise DeformedError(msg)


def _planes(values: np.ndarray) -> np.ndarray:
    """(C, h, w) or (h, w) -> (C, h, w); a view."""
    return values.reshape(-1, *values.shape[-2:])
