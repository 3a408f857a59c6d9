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

"""The protocol that every pipeline implements, and what it is given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol, runtime_checkable, TypeVar

import numpy as np

from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.region_of_interest import RegionOfInterest

T = TypeVar('T')

#: Results of a frame by name, see `InferencePipeline.segment`.
Results = dict[str, np.ndarray]

#: Frame sizes whose engines stay open.
MAX_SIZES = 4

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
        bytes_per_pixel: memory of the detail branch per px of a frame; None for what the bundle
            tells of ONNX Runtime and a CPU.

    """

    memory_limit_mb: int = DEFAULT_MEMORY_LIMIT_MB
    tile: int | None = None
    bytes_per_pixel: float | None = None


@dataclass(frozen=True)
class OutputRequest:
    """
    What is wanted of a frame.

    Attributes:
        outputs: of `mask`, `confidence`, `logits` and `quarter_logits`, and `novelty` where the
            bundle has that graph.
        overlay: which pictures to render.
        budget: how long the frame may take, for an `AttentivePipeline`; None: no matter how long.
        roi: which pixels are worth the time; None: all of them.

    """

    outputs: Sequence[str] = ('mask',)
    overlay: OverlayOptions = field(default_factory=OverlayOptions)
    budget: FrameBudget | None = None
    roi: RegionOfInterest | None = None


def warm_up_frame(size: tuple[int, int]) -> RawFrame:
    """Return a black frame of (height, width), a small one: its size hardly matters to a CPU."""
    height, width = (min(side, most) for side, most in zip(size, WARM_UP_SIZE, strict=True))
    return RawFrame.of_bgr(np.zeros((height, width, 3), np.uint8))


class PendingResult(Generic[T]):
    """
    The result of a frame in work.

    Args:
        finish: waits for the result and returns it; called once.

    """

    def __init__(self, finish: Callable[[], T]) -> None:
        self._finish: Callable[[], T] | None = finish
        self._outcome: Future[T] = Future()

    def result(self) -> T:
        """Wait for the result and return it, or raise what went wrong; again each time."""
        finish, self._finish = self._finish, None
        if finish is not None:
            try:
                self._outcome.set_result(finish())
            except BaseException as err:  # whatever it is, whoever asks again gets it too
                self._outcome.set_exception(err)
        return self._outcome.result()


class FrameSegmenter(Protocol):
    """What segments one frame."""

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """Segment one frame; see `InferencePipeline.segment`."""
        ...


class InferencePipeline(FrameSegmenter, Protocol):
    """How the graphs of a bundle make a mask on one back end."""

    #: What runs: `backend`, `version`, `device`, and what else tells two runs apart.
    provenance: dict[str, str]

    #: Whether `submit` returns before the work is done.
    is_async: bool

    def prepare(self, size: tuple[int, int]) -> None:
        """Make frames of a size (height, width) fast; the first time, this may take minutes."""
        ...

    def segment(self, frame: RawFrame, request: OutputRequest, clock: StageClock) -> Results:
        """
        Segment one frame.

        Args:
            frame: any size, any format.
            request: what is wanted.
            clock: takes the times of the stages.

        Returns:
            mask (H, W) uint8, or uint16 above 255 classes; confidence (H, W) uint8; logits
            (C, H, W) float32; quarter_logits (C, h, w) float32 of the padded frame; novelty (1, 1)
            float32; overlay and color_mask (h, w, 3) uint8 BGR: those that are wanted, and the
            mask.

        """
        ...

    def submit(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> PendingResult[Results]:
        """
        Start a frame; see `segment`.

        Where `is_async`, one more frame may be submitted before the result of this one is taken.
        """
        ...

    def bytes_per_pixel(self, outputs: Sequence[str]) -> float:
        """
        Return what grows with a frame beside it and its results, in bytes per px of it.

        Args:
            outputs: what is wanted, see `OutputRequest`.

        """
        ...

    def keep_memory(self, keeps: bool) -> None:
        """Choose, before each frame, whether its memory stays for the next one."""
        ...

    def semantic_mask(self, frame: RawFrame) -> np.ndarray:
        """Segment one frame by the semantic branch alone: (H, W) uint8 or uint16."""
        ...

    def close(self) -> None:
        """Free the memory; the pipeline is not used afterwards."""
        ...


@runtime_checkable
class GridSampler(Protocol):
    """A pipeline that chooses where it samples a frame."""

    def sampling_grid(self, frame: RawFrame) -> np.ndarray:
        """Return where it samples: (h, w, 2) float32, x first, in -1..1 over the frame."""
        ...


@runtime_checkable
class AttentivePipeline(Protocol):
    """A pipeline that looks closely at parts of a frame only, where the request has a budget."""

    takes_budgets: bool


class Closable(Protocol):
    """What holds memory until it is closed."""

    def close(self) -> None:
        """Free the memory."""
        ...


C = TypeVar('C', bound=Closable)


class PipelinesBySize(Generic[C]):
    """
    Pipelines for frames of one size each; those of the `MAX_SIZES` used last stay open.

    Args:
        open_size: opens one for frames of (height, width).

    """

    def __init__(self, open_size: Callable[[tuple[int, int]], C]) -> None:
        self._open_size = open_size
        self._open: OrderedDict[tuple[int, int], C] = OrderedDict()

    def __getitem__(self, size: tuple[int, int]) -> C:
        if size not in self._open:
            if len(self._open) >= MAX_SIZES:
                self._open.popitem(last=False)[1].close()
            self._open[size] = self._open_size(size)
        self._open.move_to_end(size)
        return self._open[size]

    @property
    def newest(self) -> C | None:
        """The one that was used last."""
        return next(reversed(self._open.values()), None)

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            self._open.popitem()[1].close()
