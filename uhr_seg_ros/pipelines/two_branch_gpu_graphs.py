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

"""CUDA graphs of the frames of one size: captured once, launched often."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Graph, GraphCaptureError
from uhr_seg_ros.pipelines.two_branch_gpu_program import FrameProgram

#: Graphs are captured per slot, pixel format and wanted results; those used last stay.
MAX_GRAPHS = 16

#: Frames after which a capture that failed again and again is tried once more.
MAX_PAUSE = 1024


class FrameGraphs:
    """
    The graphs of one program, by what differs between its frames.

    Args:
        program: the engines.
        cuda: the context.
        report: gets a line when CUDA graphs cannot be used, and when they can again.

    """

    def __init__(self, program: FrameProgram, cuda: Cuda, report: Callable[[str], None]) -> None:
        self._program, self._cuda, self._report = program, cuda, report
        self._graphs: dict[Hashable, Graph | None] = {}
        self._failed_captures = self._pause = 0

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """
        Launch the graph of a kind of frame; the first frame runs without, as TensorRT asks.

        Args:
            key: everything that `work` depends on, addresses too.
            work: puts a frame's work on the streams of the program.

        """
        is_first = key not in self._graphs
        graph = self._graphs.pop(key, None)
        if graph is None and not is_first:
            graph = self._capture(work)
        self._graphs[key] = graph  # the last one now
        if graph is None:
            work()
        else:
            graph.launch(self._program.stream)
        if len(self._graphs) > MAX_GRAPHS:
            self._drop_unused()

    def close(self) -> None:
        """Free them; nothing may be in work."""
        for graph in self._graphs.values():
            if graph is not None:
                graph.close()
        self._graphs.clear()

    def _drop_unused(self) -> None:
        """Drop the one that was not used for longest."""
        oldest = self._graphs.pop(next(iter(self._graphs)))
        if oldest is not None:
            self._cuda.synchronize(self._program.stream)
            oldest.close()

    def _capture(self, work: Callable[[], None]) -> Graph | None:
        """Capture, if it is time to: what fails once may succeed later, with more memory, say."""
        if self._pause:
            self._pause -= 1
            return None
        try:
            self._program.check_capture()
            graph = self._cuda.capture(self._program.stream, work)
        except GraphCaptureError as err:
            if not self._failed_captures:
                self._report(f'frames run without CUDA graphs, for now: {err}')
            self._failed_captures += 1
            self._pause = min(2**self._failed_captures, MAX_PAUSE)
            return None
        if self._failed_captures:
            self._report('frames run as CUDA graphs again')
        self._failed_captures = 0
        return graph
