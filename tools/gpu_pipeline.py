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

"""Whole frames: agreement, times, two in work, tiles; and both branches on two streams or one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import cv2
import numpy as np

from tools.gpu_cases import BUNDLE, Case, Result, Scale, spread, wall_times
from tools.gpu_setup import Setup
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.cuda import Cuda, Event, GraphCaptureError, Stream
from uhr_seg_ros.backends.tensorrt.engine import Execution
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.pipeline import OutputRequest, TilingOptions
from uhr_seg_ros.pipelines.two_branch_gpu import TwoBranchGpu
from uhr_seg_ros.pipelines.two_branch_gpu_frames import SLOTS
from uhr_seg_ros.pipelines.verification import check, compare

Spans = dict[str, tuple[float, float]]

_COLORS = {'semantic': (200, 120, 40), 'detail': (60, 160, 60), 'quarter': (60, 60, 200)}
#: Whole frames, whatever memory they take.
NO_TILES = TilingOptions(0)


def torch_backend(setup: Setup, *, channels_last: bool = False) -> Any:
    """Open the bundle's graphs in PyTorch, in the place of TensorRT."""
    from tools.gpu_torch import TorchBackend

    machine, gpu = setup.machine, setup.machine.gpu()
    return TorchBackend(
        machine.cuda(),
        gpu,
        machine.torch_device,
        setup.kit.graph,
        setup.kit.cubin(gpu.capability),
        channels_last=channels_last,
    )


def measure(setup: Setup, backend: Any, case: Case, limits: TilingOptions = NO_TILES) -> Result:
    """
    Segment frames of a size and time it; what computes something else is timed all the same.

    Args:
        setup: kit and machine.
        backend: opens the engines; closed here.
        case: what is segmented, and whose agreement is required.
        limits: of tiles.

    """
    bundle, frame = setup.kit.bundle(case.bundle), setup.kit.frame(setup.scale.size(case.size))
    start = perf_counter()
    options = EngineOptions(precision=case.precision)
    free = backend.cuda.memory()[0]
    with closing(_opened(bundle, backend, limits, options)) as segmenter:
        segmenter.prepare((frame.height, frame.width))
        result: Result = {'ready_s': round(perf_counter() - start, 1)}
        result.update(_agreement(setup, segmenter, frame, case))
        result.update(_times(segmenter, frame, setup.scale))
        result['memory_mb'] = round((free - backend.cuda.memory()[0]) / 1e6)
        result['provenance'] = segmenter.provenance
    result['said'] = list(getattr(backend, 'said', []))
    return result


def overlap(setup: Setup, size_name: str, picture: Path) -> Result:
    """
    Time frames on two streams and on one, and draw when each engine works.

    Returns:
        `two_streams` and `one_stream` with their ratio, and start and end of every engine in ms
        after the first one began.

    """
    frame = setup.kit.frame(setup.scale.sizes[size_name])
    result: Result = {}
    for name, wrap in (('two_streams', _plain), ('one_stream', _OneStream)):
        with _wrapped(setup, wrap) as segmenter:
            for _ in range(setup.scale.warm_up):
                _engines_ms(segmenter, frame)
            times = [_engines_ms(segmenter, frame) for _ in range(setup.scale.frames)]
        result[name] = spread(times)
    result['ratio'] = result['two_streams']['median_ms'] / result['one_stream']['median_ms']
    timed: dict[str, _Timed] = {}
    with _wrapped(setup, _WithoutGraphs, timed) as segmenter:
        for _ in range(setup.scale.warm_up + 1):
            _engines_ms(segmenter, frame)
        result['spans_ms'] = _spans(timed)
    draw_timeline(result['spans_ms'], picture, f'{BUNDLE} {size_name}')
    return {**result, 'picture': picture.name}


def draw_timeline(spans: Spans, path: Path, title: str) -> None:
    """Draw one bar per engine over time."""
    last = max(max(end for _, end in spans.values()), 1e-3)
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


def _opened(bundle: Any, backend: Any, limits: TilingOptions, options: EngineOptions) -> Any:
    try:
        return TwoBranchGpu(bundle, backend, limits, options)
    except Exception:
        backend.close()
        raise


def _agreement(setup: Setup, segmenter: TwoBranchGpu, frame: RawFrame, case: Case) -> Result:
    """Compare with the reference; a refusal is a result."""
    expected, step = setup.kit.reference(case.bundle, case.size)
    request = OutputRequest(('mask', 'quarter_logits'))
    found = segmenter.segment(frame, request, StageClock())
    found['quarter_logits'] = found['quarter_logits'][:, ::step, ::step]
    agreement = compare(expected, found, 'quarter_logits')
    verdict = 'accepted'
    try:
        check(agreement, setup.kit.bundle(case.bundle), case.precision)
    except EngineError as err:
        verdict = str(err)
    return {**agreement.facts(), 'verdict': verdict}


def _times(segmenter: TwoBranchGpu, frame: RawFrame, scale: Scale) -> Result:
    clocks: list[StageClock] = []

    def one() -> None:
        clocks.append(StageClock())
        segmenter.segment(frame, OutputRequest(), clocks[-1])

    walls = wall_times(one, scale.frames)
    pictures = OutputRequest(overlay=OverlayOptions(True, True, 0.5, 0.5))

    def painted() -> None:
        segmenter.segment(frame, pictures, StageClock())

    wall_times(painted, scale.warm_up)
    stages = {name: [clock.times[name] for clock in clocks] for name in clocks[0].times}
    return {
        **{name: spread(times) for name, times in stages.items()},
        'end to end': spread(walls),
        'end to end with pictures': spread(wall_times(painted, scale.frames)),
        'two in work': _throughput(segmenter, frame, scale.frames),
    }


def _throughput(segmenter: TwoBranchGpu, frame: RawFrame, count: int) -> Result:
    """Time frames of which the next one is submitted before the last one's results are taken."""
    waiting: deque = deque()
    start = perf_counter()
    for _ in range(count):
        if len(waiting) == SLOTS:
            waiting.popleft().result()
        waiting.append(segmenter.submit(frame, OutputRequest(), StageClock()))
    while waiting:
        waiting.popleft().result()
    seconds = perf_counter() - start
    return {'frames_per_s': round(count / seconds, 1), 'ms_per_frame': 1e3 * seconds / count}


def _engines_ms(segmenter: TwoBranchGpu, frame: RawFrame) -> float:
    clock = StageClock()
    segmenter.segment(frame, OutputRequest(), clock)
    return clock.times['engines']


@contextmanager
def _wrapped(
    setup: Setup, wrap: Callable[[Cuda], Any], timed: dict[str, _Timed] | None = None
) -> Iterator[TwoBranchGpu]:
    """Open the bundle with another `Cuda`, and with engines that take their times."""
    backend = torch_backend(setup)
    backend.cuda = wrap(backend.cuda)
    if timed is not None:
        backend = _TimedBackend(backend, timed)
    with closing(_opened(load_bundle(BUNDLE), backend, NO_TILES, EngineOptions())) as segmenter:
        yield segmenter


def _spans(timed: Mapping[str, _Timed]) -> Spans:
    first = timed['semantic']
    return {name: (first.until(each.start), first.until(each.end)) for name, each in timed.items()}


def _plain(cuda: Cuda) -> Cuda:
    return cuda


class _Wrapper:
    """Something that does all but a few things as what it wraps."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class _OneStream(_Wrapper):
    """A `Cuda` that gives the same stream to whoever wants one."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__(cuda)
        self._stream = cuda.stream()

    def stream(self) -> Stream:
        return self._stream


class _WithoutGraphs(_Wrapper):
    """A `Cuda` that captures nothing, since the events inside a graph have no times."""

    def capture(self, stream: Stream, work: Callable[[], None]) -> Any:
        msg = 'its engines are timed'
        raise GraphCaptureError(msg)


class _TimedBackend(_Wrapper):
    """Opens engines that take their times."""

    def __init__(self, backend: Any, timed: dict[str, _Timed]) -> None:
        super().__init__(backend)
        self._timed = timed

    def execution(self, graph: Any, *others: Any) -> Execution:
        opened = self._wrapped.execution(graph, *others)
        self._timed[graph.name] = _Timed(opened, self._wrapped.cuda)
        return cast(Execution, self._timed[graph.name])


class _Timed(_Wrapper):
    """An engine with an event before and after its work; see `Execution`."""

    def __init__(self, execution: Any, cuda: Cuda) -> None:
        super().__init__(execution)
        self._cuda, self.start, self.end = cuda, cuda.event(), cuda.event()

    def enqueue(self, stream: Stream) -> None:
        self._cuda.record(self.start, stream)
        self._wrapped.enqueue(stream)
        self._cuda.record(self.end, stream)

    def until(self, event: Event) -> float:
        """Return the time from the start of this engine to an event, ms."""
        return self._cuda.elapsed_ms(self.start, event)
