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

"""Measure the unmodified node on a recording, also at the highest rate that it keeps up with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from uhr_seg_ros.benchmark.figures import (
    figures,
    is_sustained,
    series,
    without_extremes,
)
from uhr_seg_ros.benchmark.host import describe_run
from uhr_seg_ros.benchmark.label_accuracy import label_accuracy
from uhr_seg_ros.benchmark.outside_pictures import draw_overlays
from uhr_seg_ros.benchmark.run_progress import RunProgress, Work
from uhr_seg_ros.benchmark.subjects import OutsideNode, OwnNode, Subject
from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.interruption import Terminated
from uhr_seg_ros.replay.bags import describe_bag, ImageTopic, read_messages
from uhr_seg_ros.replay.load import idle_percent
from uhr_seg_ros.replay.player_process import Pacing
from uhr_seg_ros.replay.playing import PlayingSession
from uhr_seg_ros.replay.results import Replay
from uhr_seg_ros.replay.topic_probe import probe_topics
from uhr_seg_ros.replay.topics import choose_topic

_LOG = logging.getLogger(__name__)

REALTIME, MAX, PEAK = 'realtime', 'max', 'peak'

#: A rate is tried for so long, s, and for at least so many frames.
TRIAL_S, TRIAL_FRAMES = 5.0, 20
#: Frames of the first trial, which estimates the peak and warms up.
_ESTIMATE_S = 5.0
#: Runs at the peak, of which the best and the worst are dropped.
PEAK_RUNS = 5
#: Search for the peak, in shares of the first estimate: where halving ends, and how large the
#: steps are afterwards.
NARROW, STEP = 0.1, 0.025
#: The second trial of the search is at this ratio to the first, and bounds are looked for up to
#: about the other one.
FIRST_FACTOR, MAX_RATIO = 1.25, 256
#: Overlays on the page.
PICTURES = 8
#: Of a stream, which is played from its beginning, pictures are taken for so long, s.
PICTURES_S = 5.0

#: Steps of the progress.
START, PLAY, ESTIMATE, SEARCH = 'starting the node', 'playing', 'estimating', 'searching the peak'
AT_PEAK, TAKE, COMPARE = 'playing at the peak', 'taking pictures', 'comparing'
#: What is shown as left of what nobody knows: until the node is ready, s; trials of a search.
_START_S, _TRIALS = 5.0, 8


@dataclass(frozen=True)
class BagOptions:
    """
    What to measure.

    Attributes:
        bag: the recording.
        rate: `realtime`, `max` (each frame when the one before was answered), `peak` (search the
            highest rate that is kept up with), or Hz.
        topic: of the recording; empty: the only likely one, see `choose_topic`.
        duration_s: how long, repeating the recording; 0: the recording once; for `peak` how long
            a rate is tried, 0: 5 s.
        parameters: of our node.
        every: 2 for every second frame.
        outside: the node to measure instead of ours.

    """

    bag: Path
    rate: str | float = REALTIME
    topic: str = ''
    duration_s: float = 0.0
    parameters: dict[str, Any] = field(default_factory=dict)
    every: int = 1
    outside: OutsideNode | None = None

    def pacing(self) -> Pacing:
        """Return how the recording is played, for any `rate` but `peak`."""
        rate = self.rate if isinstance(self.rate, float) else 0.0
        return Pacing(rate, self.rate == MAX, self.duration_s, every=self.every, live=True)


def benchmark_bag(
    options: BagOptions,
    pictures: Path,
    progress: RunProgress,
    on_interruption: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """
    Start the node, play to it, gather the figures.

    Args:
        options: what to measure.
        pictures: folder for a few masks and overlays, made afterwards.
        progress: is moved.
        on_interruption: called with what is returned else, of what was measured until a signal
            came, if anything was; has `interrupted`, and no `accuracy`.

    Returns:
        `mode`, `figures`, `series`, `trials` (for a search), `accuracy` (see `label_accuracy`),
        `bag`, `node`, `dds`, and what
        `describe_run` gives; see docs/benchmark.md.

    Raises:
        UhrSegError: no such recording or bundle, a node that failed, or no answer at all.

    """
    topic = choose_topic(options.bag, options.topic)
    subject: Subject = options.outside or OwnNode(options.parameters)
    idle = idle_percent()
    measured: dict[str, Any] = {}
    every, pacing = _pictures(options, topic)
    _plan(progress, options, topic, every if subject.classes else 0)
    progress.begin(START)
    with TemporaryDirectory(prefix='uhr_seg_') as name:
        described = subject.describe(None)
        with subject.open(options.bag, topic, Path(name), lambda *_: progress.mask()) as session:
            subject.prepare(session, options.bag, topic)
            try:
                described = subject.describe(session)
                _measure(session, options, topic, measured, progress)
                described = subject.describe(session)
                stamps: list[int] = []
                if subject.classes is not None:
                    _LOG.info('taking pictures of %d frames', -(-topic.count // every))
                    progress.begin(TAKE)
                    shown = session.play(options.bag, pacing, topic, pictures=pictures)
                    stamps = [stamp for stamp, *_ in shown.played]
            except (KeyboardInterrupt, Terminated):
                if session.interrupted and session.interrupted.arrivals and not measured:
                    measured |= _figures(session.interrupted)
                if 'figures' in measured:
                    about = _about(options, topic, idle)
                    part = {**about, **described, **measured}
                    on_interruption({**part, 'accuracy': None, 'interrupted': True})
                raise
    accuracy = None
    if subject.classes is not None:
        progress.begin(COMPARE)
        accuracy = label_accuracy(
            options.bag,
            topic,
            subject.classes,
            stamps,
            every,
            pictures,
            at_frame_size=subject.at_frame_size,
        )
        if options.outside:
            draw_overlays(options.bag, topic, subject.classes, stamps, every, pictures)
    return {**_about(options, topic, idle), **described, **measured, 'accuracy': accuracy}


def _plan(progress: RunProgress, options: BagOptions, topic: ImageTopic, every: int) -> None:
    """Say which steps there are; pictures are taken of every n-th frame, or of none."""
    progress.plan(START, Work(_START_S))
    frames = -(-topic.count // options.every)
    if options.rate == PEAK:
        trial = options.duration_s or TRIAL_S
        progress.plan(ESTIMATE, Work(_ESTIMATE_S))
        progress.plan(SEARCH, Work(_TRIALS * trial))
        progress.plan(AT_PEAK, Work(PEAK_RUNS * trial))
    elif options.duration_s:
        progress.plan(PLAY, Work(options.duration_s))
    elif options.rate == MAX:
        progress.plan(PLAY, Work(frames=frames))
    elif isinstance(options.rate, float):
        progress.plan(PLAY, Work(frames / options.rate))
    else:
        progress.plan(PLAY, Work(topic.count * _interval_s(options.bag, topic)))
    if every:
        taken = Work(PICTURES_S) if topic.codec else Work(frames=-(-topic.count // every))
        progress.plan(TAKE, taken)
        progress.plan(COMPARE, Work(1.0))


def _interval_s(bag: Path, topic: ImageTopic) -> float:
    """Return the time between the first frames of a recording, s; all would take long to read."""
    with closing(read_messages(bag, topic.name)) as messages:
        times = [time_ns for time_ns, _ in islice(messages, 3)]
    return (times[-1] - times[0]) / 1e9 / max(len(times) - 1, 1) if times else 0.0


def _pictures(options: BagOptions, topic: ImageTopic) -> tuple[int, Pacing]:
    """Return which frames pictures are taken of, every n-th, and how they are played."""
    if topic.codec:  # none of a stream can be left out
        return 1, Pacing(lockstep=True, duration_s=PICTURES_S, live=True)
    every = options.every * max(1, topic.count // options.every // PICTURES)
    return every, Pacing(lockstep=True, every=every, live=True)


def _about(options: BagOptions, topic: ImageTopic, idle: float) -> dict[str, Any]:
    """Return what the figures depend on beside the node."""
    run = describe_run()
    return {
        'benchmark': 'bag',
        **run,
        'mode': {'rate': options.rate, 'duration_s': options.duration_s},
        'machine': {**run['machine'], 'idle_percent': idle},
        'bag': {**describe_bag(options.bag, topic), 'frame_size': _frame_size(options.bag, topic)},
    }


def _frame_size(bag: Path, topic: ImageTopic) -> list[int] | None:
    """Return height and width of the first frame, px; None where its message does not tell."""
    info = probe_topics(bag, {topic.name: topic.type}).get(topic.name)
    return [info.height, info.width] if info and info.width else None


def _measure(
    session: PlayingSession[Any],
    options: BagOptions,
    topic: ImageTopic,
    measured: dict[str, Any],
    progress: RunProgress,
) -> None:
    """Measure, and note what is known as soon as it is."""
    if options.rate == PEAK:
        _measure_peak(session, options, topic, measured, progress)
        return
    progress.begin(PLAY)
    _LOG.info('playing %s of %s', topic.name, options.bag.name)
    replay = session.play(options.bag, options.pacing(), topic)
    _check(replay)
    measured |= _figures(replay)


def _figures(replay: Replay) -> dict[str, Any]:
    return {'figures': figures(replay), 'series': series(replay)}


def _measure_peak(
    session: PlayingSession[Any],
    options: BagOptions,
    topic: ImageTopic,
    measured: dict[str, Any],
    progress: RunProgress,
) -> None:
    trials: list[dict[str, float]] = []
    measured['trials'] = trials

    def length_s(rate_hz: float) -> float:
        return max(options.duration_s or TRIAL_S, TRIAL_FRAMES / rate_hz)

    def play(rate_hz: float, step: str) -> Replay:
        seconds = length_s(rate_hz)
        progress.begin(step, Work(seconds))
        pacing = Pacing(rate_hz, duration_s=seconds, every=options.every, live=True)
        return session.play(options.bag, pacing, topic)

    def keeps_up(rate_hz: float) -> bool:
        _LOG.info('trying %.2f Hz', rate_hz)
        result = figures(play(rate_hz, SEARCH))
        trials.append({'rate_hz': round(rate_hz, 3), 'answered': result['answered']})
        return is_sustained(result, rate_hz)

    _LOG.info('estimating the peak')
    progress.begin(ESTIMATE)
    pacing = Pacing(lockstep=True, duration_s=_ESTIMATE_S, every=options.every, live=True)
    first = session.play(options.bag, pacing, topic)
    _check(first)
    measured |= _figures(first)
    estimate = 1e3 / figures(first)['latency_ms']['p50']
    progress.plan(SEARCH, Work(_TRIALS * length_s(estimate)))
    progress.plan(AT_PEAK, Work(PEAK_RUNS * length_s(estimate)))
    peak = find_peak(keeps_up, estimate)
    if not peak:
        msg = f'the node kept up with no rate; it answered {trials[-1]}'
        raise ProcessError(msg)
    progress.plan(SEARCH, Work())
    progress.plan(AT_PEAK, Work(PEAK_RUNS * length_s(peak)))
    runs = []
    for number in range(PEAK_RUNS):
        _LOG.info('run %d of %d at %.2f Hz', number + 1, PEAK_RUNS, peak)
        runs.append(play(peak, AT_PEAK))
    measured |= {
        'peak_hz': round(peak, 3),
        'figures': without_extremes([figures(replay) for replay in runs]),
        'series': series(runs[-1]),
    }


def _check(replay: Replay) -> None:
    if not replay.arrivals:
        counts = ', '.join(f'{count} {name}' for name, count in replay.counts.items())
        told = f'; the node counts {counts}' if counts else ''
        msg = (
            f'{len(replay.played)} frames were sent and no mask came{told}. '
            'Play slower, or look at what `uhr_seg demo` says about the recording'
        )
        raise ProcessError(msg)


def find_peak(keeps_up: Callable[[float], bool], estimate_hz: float) -> float:
    """
    Find the highest rate that a node keeps up with.

    As ros2_benchmark does: halve an interval until it is narrow, then go up in small steps. The
    rule is a relative one, though, since a slack of 5 or 10 Hz says nothing about a node of a few
    frames per second.

    Args:
        keeps_up: tries a rate in Hz.
        estimate_hz: such as the rate when each frame waits for the answer to the one before.

    Returns:
        The highest rate that was kept up with, Hz; 0 if none was, down to a small share of the
        estimate.
    """
    lower, upper = _bounds(keeps_up, estimate_hz)
    while lower and upper - lower > NARROW * estimate_hz:
        middle = (lower + upper) / 2
        if keeps_up(middle):
            lower = middle
        else:
            upper = middle
    step = STEP * estimate_hz
    while lower and lower + step < upper and keeps_up(lower + step):
        lower += step
    return lower


def _bounds(keeps_up: Callable[[float], bool], estimate_hz: float) -> tuple[float, float]:
    """
    Return a rate that is kept up with, or 0, and one that is not.

    The first bound is near the estimate, the next ones are further and further away: a trial of a
    node that takes seconds for a frame takes half a minute.
    """
    is_kept = keeps_up(estimate_hz)
    rate, factor = estimate_hz, FIRST_FACTOR if is_kept else 1 / FIRST_FACTOR
    while estimate_hz / MAX_RATIO < rate < estimate_hz * MAX_RATIO:
        tried = rate * factor
        if keeps_up(tried) != is_kept:
            return min(rate, tried), max(rate, tried)
        rate, factor = tried, factor * factor
    return (rate, rate) if is_kept else (0.0, rate)
