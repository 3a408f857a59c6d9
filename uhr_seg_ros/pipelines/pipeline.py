# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What every strategy is asked for, and within which limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.outputs import CheckedGraphs

#: Largest height and width of the frame that warms an engine up, px.
WARM_UP_SIZE = (544, 960)


@dataclass(frozen=True)
class TilingOptions:
    """
    How large a piece of a frame the detail branch gets at a time.

    Attributes:
        memory_limit_mb: memory of the detail branch in MB, above which the frame is tiled; 0
            for no limit.
        tile: largest side of a tile in px; None for the whole frame where memory allows.

    """

    memory_limit_mb: int = DEFAULT_MEMORY_LIMIT_MB
    tile: int | None = None


@dataclass(frozen=True)
class OutputRequest:
    """
    What is wanted of a frame.

    Attributes:
        outputs: of `mask`, `confidence`, `logits` and `quarter_logits`.
        pictures: what to paint.

    """

    outputs: Sequence[str] = ('mask',)
    pictures: OverlayOptions = field(default_factory=OverlayOptions)


def warm_up_frame(size: tuple[int, int]) -> RawFrame:
    """Return a black frame of (height, width), a small one: its size hardly matters to a CPU."""
    height, width = (min(side, most) for side, most in zip(size, WARM_UP_SIZE, strict=True))
    return RawFrame.of_bgr(np.zeros((height, width, 3), np.uint8))


class InferencePipeline(Protocol):
    """How the graphs of a bundle make a mask on one back end."""

    #: What runs: `backend`, `version`, `device`, and what else tells two runs apart.
    provenance: dict[str, str]

    #: Whether `begin` returns before the work is done.
    overlaps: bool

    def prepare(self, size: tuple[int, int]) -> None:
        """Make frames of a size (height, width) fast; the first time, this may take minutes."""
        ...

    def segment(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> dict[str, np.ndarray]:
        """
        Segment one frame.

        Args:
            frame: any size, any format.
            request: what is wanted.
            clock: takes the times of the stages.

        Returns:
            mask (H, W) uint8, or uint16 above 255 classes; confidence (H, W) uint8; logits
            (C, H, W) float32; quarter_logits (C, h, w) float32 of the padded frame; overlay and
            color_mask (h, w, 3) uint8 BGR: those that are wanted, and the mask.

        """
        ...

    def begin(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> Callable[[], dict[str, np.ndarray]]:
        """
        Start a frame; see `segment`.

        Returns:
            Waits for the results and gives them. Where `overlaps`, one more frame may be begun
            before that.

        """
        ...

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """
        Return what grows with a frame beside it and its results, in bytes per px of it.

        Args:
            outputs: what is wanted, see `Request`.

        """
        ...

    def keep_memory(self, keeps: bool) -> None:
        """Tell, before each frame, whether its memory is worth keeping for the next one."""
        ...

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Segment one frame by the semantic branch alone: (H, W) uint8 or uint16."""
        ...

    def close(self) -> None:
        """Free the memory; the strategy is not used afterwards."""
        ...


class SynchronousPipeline:
    """What strategies have in common that finish a frame before they return."""

    overlaps = False

    _graphs: CheckedGraphs
    _keeps_memory = True

    def keep_memory(self, keeps: bool) -> None:
        """Tell the engines too; see `Strategy.keep_memory`."""
        if keeps != self._keeps_memory:
            self._keeps_memory = keeps
            self._graphs.keep_memory(keeps)

    def segment(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> dict[str, np.ndarray]:
        """Segment one frame; see `Strategy.segment`."""
        raise NotImplementedError

    def begin(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> Callable[[], dict[str, np.ndarray]]:
        """Segment one frame at once; see `Strategy.begin`."""
        results = self.segment(frame, request, clock)
        return lambda: results
