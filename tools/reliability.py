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

"""
What the node does when it runs for long, is asked for too much, or is switched on and off.

Behind `scripts/reliability`; every section leaves a JSON file, and one that is there is not run
again.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
import json
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from threading import Event, Thread
import time
from typing import Any

import numpy as np
import psutil

from uhr_seg_ros.benchmark.figures import figures, spread
from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.benchmark.sources import prepare_bag
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.command_line import CommandParser, Mode, refuse_without_effect
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.replay.bags import ImageTopic
from uhr_seg_ros.replay.load import Load
from uhr_seg_ros.replay.player_process import Pacing
from uhr_seg_ros.replay.results import Replay
from uhr_seg_ros.replay.session import Session, transport_of
from uhr_seg_ros.replay.topics import choose_topic

#: Lifecycle: transitions of a cycle, and how many cycles pass before resources are compared.
CYCLE = ('deactivate', 'cleanup', 'configure', 'activate')
WARM_UP_CYCLES = 20
#: Frames of the flight that is played without a recording.
FLIGHT_FRAMES = 8
#: Overload: how often services are called, Hz.
CALL_RATE_HZ = 5.0


@dataclass(frozen=True)
class Options:
    """
    What to run on.

    Attributes:
        bag: recording that is played.
        topic: of it.
        bundle: folder or name.
        seconds: of the soak, and of the overload.
        rate_hz: of the soak and of the overload.
        cycles: of the lifecycle.
    """

    bag: Path
    topic: ImageTopic
    bundle: str
    seconds: tuple[float, float]
    rate_hz: tuple[float, float]
    cycles: int


def lifecycle(options: Options, folder: Path) -> dict[str, Any]:
    """
    Take the node through its states again and again.

    Returns:
        `cycles`, and what the process held after the warm-up and at the end: `memory_mb`,
        `threads`, `files`, `shared_memory` (mappings of /dev/shm).
    """
    with _session(options, folder) as session:
        process = psutil.Process(session.node.pid)
        held = []
        for cycle in range(options.cycles + 1):
            if cycle in (WARM_UP_CYCLES, options.cycles):
                held.append(resources(process))
            if cycle < options.cycles:
                for transition in CYCLE:
                    session.client.change_state(transition)
    return {'cycles': options.cycles, 'after_warm_up': held[0], 'at_the_end': held[-1]}


def resources(process: psutil.Process) -> dict[str, int]:
    """Count what a process holds."""
    maps = Path(f'/proc/{process.pid}/maps').read_text(encoding='utf-8').splitlines()
    return {
        'memory_mb': process.memory_info().rss >> 20,
        'threads': process.num_threads(),
        'files': process.num_fds(),
        'shared_memory': sum('/dev/shm/' in line for line in maps),
    }


def overload(options: Options, folder: Path) -> dict[str, Any]:
    """
    Send far more frames than the node can do, and talk to it meanwhile.

    Returns:
        `frames`, `sent_hz`, `throughput_hz` as `figures` gives them; `age_ms`: stamp to mask,
        `processing_ms`: first stage to publication; `age_ratio`: p95 of the age / median of the
        processing, `parameter_ms` and `lifecycle_ms`: answers of the services; `memory_mb` after
        a quarter of the time and at the end.
    """
    with _session(options, folder) as session:
        calls: dict[str, list[float]] = {'parameter_ms': [], 'lifecycle_ms': []}
        ended = Event()
        caller = Thread(target=_call, args=(session, calls, ended))
        caller.start()
        try:
            pacing = Pacing(options.rate_hz[1], duration_s=options.seconds[1], live=True)
            replay = session.play(options.bag, pacing, options.topic)
        finally:
            ended.set()
            caller.join()
    found = figures(replay)
    processing = found['stage_ms']['total']
    return {
        **{name: found[name] for name in ('frames', 'sent_hz', 'throughput_hz')},
        'age_ms': found['stamp_to_mask_ms'],
        'processing_ms': processing,
        'age_ratio': round(found['stamp_to_mask_ms']['p95'] / processing['p50'], 3),
        **{name: spread(values) for name, values in calls.items()},
        'memory_mb': memory_at(replay, 0.25, 1.0),
    }


def soak(options: Options, folder: Path) -> dict[str, Any]:
    """
    Play for long.

    Returns:
        `seconds`, `frames`, `latency_ms`; `p99_ms` of the first and of the last sixth, and their
        `p99_ratio`; `memory_mb` after the first sixth and at the end, and its `memory_growth`.
    """
    with _session(options, folder) as session:
        pacing = Pacing(options.rate_hz[0], duration_s=options.seconds[0], live=True)
        replay = session.play(options.bag, pacing, options.topic)
    found = figures(replay)
    first, last = outer_parts([ms for _, ms, _ in replay.latencies()])
    memory = memory_at(replay, 1 / 6, 1.0)
    return {
        'seconds': load_of(replay).seconds,
        'frames': found['frames'],
        'latency_ms': found['latency_ms'],
        'p99_ms': [first, last],
        'p99_ratio': round(last / first, 3),
        'memory_mb': memory,
        'memory_growth': round(memory[1] / memory[0] - 1, 4),
    }


SECTIONS: dict[str, Callable[[Options, Path], dict[str, Any]]] = {
    'lifecycle': lifecycle,
    'overload': overload,
    'soak': soak,
}


#: Section -> options that count in it only.
_OWN = {
    'lifecycle': '--cycles',
    'overload': '--overload-rate --overload-seconds',
    'soak': '--minutes --rate',
}


def _is_run(name: str, given: Any) -> bool:
    return name in (given.only or SECTIONS)


TABLES = [
    (Mode(f'--only {name}', own, partial(_is_run, name)), Mode('', '--only'))
    for name, own in _OWN.items()
]


def outer_parts(latencies_ms: Sequence[float]) -> tuple[float, float]:
    """Return p99 of the first and of the last sixth."""
    count = max(1, len(latencies_ms) // 6)
    first, last = np.percentile([latencies_ms[:count], latencies_ms[-count:]], 99, axis=1)
    return round(float(first), 3), round(float(last), 3)


def load_of(replay: Replay) -> Load:
    """Return what a replay took of the machine; it ended, so it was measured."""
    assert replay.load is not None
    return replay.load


def memory_at(replay: Replay, *shares: float) -> list[float]:
    """Return the memory of the node after shares of a replay, MB."""
    series = load_of(replay).memory_series
    return [series[min(len(series) - 1, int(share * len(series)))][1] for share in shares]


def _session(options: Options, folder: Path) -> Session:
    parameters = {'bundle': str(load_bundle(options.bundle).path.resolve())}
    return Session(
        parameters, folder, transport=transport_of(options.topic), on_mask=lambda *_: None
    )


def _call(session: Session, calls: Mapping[str, list[float]], ended: Event) -> None:
    """Ask the node for its parameters and its state, until told to end."""
    while not ended.wait(1 / CALL_RATE_HZ):
        for name, ask in (
            ('parameter_ms', partial(session.client.parameters, ['threads'])),
            ('lifecycle_ms', session.client.state),
        ):
            start = time.monotonic()
            ask()
            calls[name].append((time.monotonic() - start) * 1e3)


def main() -> int:
    """Run the sections that are not done."""
    parser = CommandParser(prog='reliability', description=__doc__)
    parser.add_argument(
        'bag',
        type=Path,
        nargs='?',
        help='recording to play; default: a flight in 4K over a generated scene',
    )
    parser.add_argument('--topic', default='', help='in it; default: the only likely one')
    parser.add_argument('--bundle', default='hlrc_s_aerial')
    parser.add_argument('--output', type=Path, default=Path('docs/results/reliability'))
    parser.add_argument('--only', choices=SECTIONS, nargs='*')
    parser.add_argument('--again', action='store_true', help='also what was done before')
    parser.add_argument('--minutes', type=float, default=60.0, help='of the soak')
    parser.add_argument('--rate', type=float, default=1.0, help='of the soak, Hz')
    parser.add_argument('--overload-rate', type=float, default=60.0, help='Hz')
    parser.add_argument('--overload-seconds', type=float, default=60.0)
    parser.add_argument('--cycles', type=int, default=200)
    args = parser.parse_args()
    try:
        refuse_without_effect(args, *TABLES)
    except ConfigError as err:
        parser.error(str(err))
    paths = {name: args.output / f'{name}.json' for name in args.only or SECTIONS}
    missing = {name: path for name, path in paths.items() if args.again or not path.is_file()}
    if not missing:
        return 0
    return guarded(lambda: _run_all(args, missing), 'reliability')


def _run_all(args: Namespace, missing: Mapping[str, Path]) -> int:
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        given = [args.bag] if args.bag else []
        bag = prepare_bag(given, Path(folder) / 'flight', count=FLIGHT_FRAMES, rate_hz=1.0)
        options = Options(
            bag,
            choose_topic(bag, args.topic),
            args.bundle,
            (60 * args.minutes, args.overload_seconds),
            (args.rate, args.overload_rate),
            args.cycles,
        )
        for name, path in missing.items():
            _run(name, options, path)
    return 0


def _run(name: str, options: Options, path: Path) -> None:
    """Run one section and write its file."""
    print(f'{name} ...', flush=True)
    with TemporaryDirectory(prefix='uhr_seg_') as folder:
        result = SECTIONS[name](options, Path(folder))
    write_results(path, result)
    print(json.dumps(result, indent=1), flush=True)


if __name__ == '__main__':
    sys.exit(main())
