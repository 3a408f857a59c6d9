# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Uniform downsampling to a fixed size, what learned downsampling is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from uhr_seg_ros.backends.engine import Engine
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.deformed import fixed_size
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

    Raises:
        TilingError: a tile is asked for.
        EngineError: as of `SingleBranch`.
        DeformedError: the graph has no fixed size.

    """

    def __init__(
        self, bundle: Bundle, engines: Mapping[str, Engine], limits: TilingOptions
    ) -> None:
        super().__init__(bundle, engines, limits)
        self._size = fixed_size(bundle, 'network', engines['network'])
        self._sampler = Sampler(bundle.mean, bundle.std)

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """Count enlarging the logits, which are as large for every frame."""
        return super().bytes_per_pixel(outputs) - self._logit_bytes

    def _logits(self, image: np.ndarray, clock: StageClock) -> np.ndarray:
        with clock.stage('preprocess'):
            small = self._sampler.resized(image, self._size)
        return self._run_network(small, clock)[0]
