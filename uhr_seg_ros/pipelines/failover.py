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

"""The pipeline that frames run on, and the next one where its engines or its GPU fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from weakref import ref

from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import ConfigError, EngineError, UhrSegError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.choosing import Chooser
from uhr_seg_ros.pipelines.pipeline import (
    InferencePipeline,
    OutputRequest,
    PendingResult,
    Results,
)
from uhr_seg_ros.pipelines.verification import RefusedError

_Result = TypeVar('_Result')


class Failover:
    """
    Runs frames on the first choice that works, and on the next one when that fails.

    Args:
        chooser: opens the choices one after the other.

    Attributes:
        backend: name of the back end in use.
        fallback: why it is not what was wanted first, and what to do; empty if it is.
        provenance: of the pipeline in use, see `InferencePipeline`.
        is_lost: whether the GPU was lost and nothing in this process takes its place.

    Raises:
        UhrSegError: no choice can be opened; the error of the last one.

    """

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._in_work: Callable[[], PendingResult[Results] | None] = lambda: None
        self._pipeline: InferencePipeline | None = None
        self._lost: InferencePipeline | None = None
        self.is_lost = False
        self._open()

    @property
    def pipeline(self) -> InferencePipeline:
        """
        What runs the frames.

        Raises:
            ConfigError: it was closed.

        """
        if self._pipeline is None:
            msg = 'the segmenter was closed: make a new one'
            raise ConfigError(msg)
        return self._pipeline

    def submit(
        self, frame: RawFrame, request: OutputRequest, clock: StageClock
    ) -> PendingResult[Results]:
        """
        Start a frame; see `InferencePipeline.submit`.

        Raises:
            UhrSegError: as of `run`, now or from `result`.

        """
        pending = self.run(lambda pipeline: pipeline.submit(frame, request, clock))
        pipeline, self._in_work = self.pipeline, ref(pending)

        def finish() -> Results:
            with self._leaving_lost(pipeline):
                return pending.result()

        return PendingResult(finish)

    def run(self, work: Callable[[InferencePipeline], _Result]) -> _Result:
        """
        Do what may open engines for a new size; where they are refused, on the next choice.

        Args:
            work: gets the pipeline; called again with the next one.

        Raises:
            GpuLostError: the frame goes with the GPU; `is_lost` tells if the next ones do, too.
            UhrSegError: what the work raises, or no choice is left.

        """
        while True:
            try:
                with self._leaving_lost(self.pipeline):
                    return work(self.pipeline)
            except RefusedError as err:
                self._chooser.pass_over(err)
            # The memory of a frame in work goes with its engines.
            if (pending := self._in_work()) is not None:
                with suppress(UhrSegError):  # who asks for the result gets the error
                    pending.result()
            self.close()
            self._open()

    def close(self) -> None:
        """Free the memory; calling it again does nothing."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()

    def _open(self) -> None:
        self._pipeline = self._chooser.open()
        self.backend, self.fallback = self._chooser.chosen.backend, self._chooser.fallback
        self.provenance = self._pipeline.provenance

    @contextmanager
    def _leaving_lost(self, pipeline: InferencePipeline) -> Iterator[None]:
        """
        Work with a pipeline; where its GPU is lost and the user left the choice, leave it too.

        Raises:
            GpuLostError: the frame goes with the GPU; `is_lost` tells if the next ones do, too.
            EngineError: it was left while the frame was in work.

        """
        try:
            yield
        except EngineError as err:
            if pipeline is self._lost:
                msg = f'the frame was in work when the GPU was lost: {self.fallback}'
                raise EngineError(msg) from err
            if isinstance(err, GpuLostError):
                self.is_lost = not (self._chooser.has_other_backend and self._leave(pipeline, err))
            raise

    def _leave(self, lost: InferencePipeline, reason: GpuLostError) -> bool:
        """Go on with another back end, and tell if that can be opened."""
        self._pipeline = None
        with suppress(Exception):  # whatever it is, there is nothing left to be freed
            lost.close()
        with suppress(Exception):  # the reason is what matters, and is raised
            self._chooser.pass_over(reason)
            self._open()
            self._lost = lost
        return self._pipeline is not None
