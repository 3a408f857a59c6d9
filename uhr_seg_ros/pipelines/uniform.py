# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Uniform downsampling to a fixed size, what learned downsampling is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uhr_seg_ros.backends.engine import Backend, Engine
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.deformed import fixed_size, open_fixed
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.sampling import Sampler
from uhr_seg_ros.pipelines.single import SingleBranch


class Uniform(SingleBranch):
    """
    Run the graph `network` of one bundle of kind `uniform`.

    Every frame is resized to the size that the graph takes, and its logits to the frame.

    Args:
        bundle: a bundle of kind `uniform`.
        engines: the engine of `network`.
        limits: nothing of them is needed.
        options: of the engines.

    Raises:
        TilingError: a tile is asked for.
        EngineError: as of `SingleBranch`.
        BundleError: the graph has no fixed size.

    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        limits: TilingOptions,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - it cannot change
    ) -> None:
        super().__init__(bundle, engines, limits, options)
        self._size = fixed_size(bundle, 'network', engines['network'])
        self._sampler = Sampler(bundle.mean, bundle.std)

    @classmethod
    def open_graphs(
        cls, bundle: Bundle, backend: Backend, limits: TilingOptions, options: EngineOptions
    ) -> dict[str, Engine]:
        """Open the graph for the size that it takes; see `open_fixed`."""
        return open_fixed(bundle, backend, options)

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count enlarging the logits, which are as large for every frame."""
        return super().bytes_per_pixel(outputs) - self._logit_bytes

    def _logits(self, image: np.ndarray, clock: StageClock) -> np.ndarray:
        with clock.stage('preprocess'):
            small = self._sampler.resized(image, self._size)
        return self._run_network(small, clock)[0]
