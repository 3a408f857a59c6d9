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

"""Both branches on two streams and on one: what it gains, and a picture of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tools.gpu_cases import FRAMES, spread
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Event, Stream
from uhr_seg_ros.backends.tensorrt.engine import Execution
from uhr_seg_ros.benchmark.stages import benchmark_image
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.pipeline import OutputRequest, TilingOptions
from uhr_seg_ros.pipelines.two_branch_gpu import TwoBranchGpu

Spans = dict[str, tuple[float, float]]

_COLORS = {'semantic': (200, 120, 40), 'detail': (60, 160, 60), 'quarter': (60, 60, 200)}


def measure(bundle: Bundle, size: tuple[int, int], cache: Path) -> tuple[dict, Spans]:
    """
    Time frames on two streams and on one, and tell when each engine works.

    Returns:
        `two_streams` and `one_stream` with their ratio, and start and end of every engine in
        ms after the frame began.

    """
    options = EngineOptions(precision='fp16', cache=str(cache))
    frame = RawFrame.of_bgr(benchmark_image(size))
    times = {}
    for name, single in (('two_streams', False), ('one_stream', True)):
        segmenter = TwoBranchGpu.open(bundle, TilingOptions(0), options)
        # Opened, but not warmed up: no graph is captured yet.
        program = segmenter._pipelines[size]._program
        if single:
            # Before the first frame, so that the graph is captured like this.
            program._side = program._main
        times[name] = spread([_engines_ms(segmenter, frame) for _ in range(FRAMES)][3:])
        segmenter.close()
    times['ratio'] = times['two_streams']['median_ms'] / times['one_stream']['median_ms']
    return times, _spans(bundle, size, options, frame)


def draw_timeline(spans: Spans, path: Path, title: str) -> None:
    """Draw one bar per engine over time."""
    last = max(end for _, end in spans.values())
    picture = np.full((60 + 50 * len(spans), 900, 3), 255, np.uint8)
    font, black = cv2.FONT_HERSHEY_SIMPLEX, (0, 0, 0)
    text = f'{title}: 0 to {last:.2f} ms'
    cv2.putText(picture, text, (20, 30), font, 0.6, black, 1, cv2.LINE_AA)
    for row, (name, (start, end)) in enumerate(spans.items()):
        top = 50 + 50 * row
        left, right = (150 + round(720 * value / last) for value in (start, end))
        cv2.rectangle(picture, (left, top), (right, top + 34), _COLORS[name], -1)
        cv2.putText(picture, name, (20, top + 23), font, 0.5, black, 1, cv2.LINE_AA)
        label = f'{end - start:.2f} ms'
        cv2.putText(picture, label, (left + 6, top + 23), font, 0.5, (255,) * 3, 1, cv2.LINE_AA)
    write_image(path, picture)


def _engines_ms(segmenter: TwoBranchGpu, frame: RawFrame) -> float:
    clock = StageClock()
    segmenter.segment(frame, OutputRequest(), clock)
    return clock.times['engines']


def _spans(
    bundle: Bundle, size: tuple[int, int], options: EngineOptions, frame: RawFrame
) -> Spans:
    """Record events around every engine; without a graph, whose inside has no times."""
    segmenter = TwoBranchGpu.open(bundle, TilingOptions(0), options)
    pipeline = segmenter._pipelines[size]
    program, cuda = pipeline._program, pipeline._cuda
    pipeline._pause = 1000  # frames without a capture
    events: dict[str, tuple[Event, Event]] = {}
    for name in _COLORS:
        events[name] = cuda.event(), cuda.event()
        execution: Execution = getattr(program, f'_{name}')
        setattr(program, f'_{name}', _Timed(execution, cuda, *events[name]))
    for _ in range(4):
        slot = pipeline._slots[pipeline._next]
        segmenter.segment(frame, OutputRequest(), StageClock())
    spans = {
        name: (cuda.elapsed_ms(slot.started, start), cuda.elapsed_ms(slot.started, end))
        for name, (start, end) in events.items()
    }
    segmenter.close()
    return spans


class _Timed:
    """An engine with an event before and after its work; see `Execution`."""

    def __init__(self, execution: Execution, cuda: Cuda, start: Event, end: Event) -> None:
        self.inputs, self.outputs = execution.inputs, execution.outputs
        self._execution, self._cuda = execution, cuda
        self._start, self._end = start, end

    def enqueue(self, stream: Stream) -> None:
        self._cuda.record(self._start, stream)
        self._execution.enqueue(stream)
        self._cuda.record(self._end, stream)
