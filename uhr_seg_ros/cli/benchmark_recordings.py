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

"""The subcommands of `uhr_seg benchmark` about recordings: `bag`, `offline` and `compare`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TYPE_CHECKING

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.benchmark.figures import spread
from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.cli.arguments import (
    add_bundle,
    add_engines,
    add_every,
    add_json,
    add_refine,
    add_topic,
    add_verbose,
    DEFAULT_BUNDLE,
    INPUT_HELP,
    parse_duration,
    parse_pace,
    parse_positive_rate,
    parse_size,
)
from uhr_seg_ros.cli.backend_line import show_backend
from uhr_seg_ros.cli.benchmark_results import finish, kept_results
from uhr_seg_ros.core.atomic_io import check_writable, write_text
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.progress import named_bar
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.refinement.refine import Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.reports.bag_compare import compare_files
from uhr_seg_ros.reports.benchmark_console import print_bag, print_spreads

if TYPE_CHECKING:  # they need rosbags or ROS, which what is measured without a recording does not
    from uhr_seg_ros.benchmark.bag_benchmark import BagOptions
    from uhr_seg_ros.benchmark.offline import OfflineRun
    from uhr_seg_ros.benchmark.subjects import OutsideNode

NODE = '/segmentation'
"""The node that is measured."""

OF_NODE = 'bundle', 'backend', 'precision', 'threads', 'memory_limit_mb', 'refine'
"""Options that set a parameter of the node."""

SET_BY_BENCHMARK = 'cameras', 'image_transport', 'autostart', 'use_sim_time'
"""What the recording and its player decide, whatever a parameter file says."""


def add_bag(parser: CommandParser) -> None:
    """Declare the arguments of `benchmark bag`."""
    _add_recording(parser, '+')
    parser.add_argument(
        '--rate',
        type=parse_pace,
        default='realtime',
        metavar='HZ|realtime|max|peak',
        help='frames per second; realtime: as recorded; max: each frame when the one before was '
        'answered; peak: search the highest rate that is kept up with',
    )
    parser.add_argument(
        '--duration',
        type=parse_duration,
        default=0.0,
        metavar='S',
        help='play so long, repeating the recording (default: the recording once)',
    )
    parser.add_argument(
        '--report', type=Path, metavar='FILE', help='also write an HTML page with pictures'
    )
    parser.add_argument(
        '--params-file',
        metavar='FILE',
        help='parameters of the node, as config/drone.yaml has them; options that are given win',
    )
    # None where an option is not given: the file has the next word, then the node's own default.
    parser.set_defaults(**dict.fromkeys(OF_NODE))
    add_json(parser)


def add_offline(parser: CommandParser) -> None:
    """Declare the arguments of `benchmark offline`."""
    _add_recording(parser, 1)
    add_verbose(parser)
    _add_output(parser, 'folder of the copy to write')
    parser.add_argument(
        '--prefix', metavar='NAME', help='of the topics that are added (default: /segmentation)'
    )
    add_json(parser)


def add_make_bag(parser: CommandParser) -> None:
    """Declare the arguments of `benchmark make-bag`."""
    _add_output(parser, 'folder to make')
    parser.add_argument(
        '--size',
        type=parse_size,
        default=(2160, 3840),
        metavar='WxH',
        help='of the frames',
    )
    parser.add_argument(
        '--rate',
        type=parse_positive_rate,
        default=10.0,
        metavar='HZ',
        help='frames per second',
    )
    parser.add_argument(
        '--duration',
        type=parse_duration,
        default=30.0,
        metavar='S',
        help='of the flight',
    )
    parser.keep_old_name('--seconds', '--duration')
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        metavar='N',
        help='of what is random: the same seed gives the same messages',
    )
    parser.add_argument(
        '--compressed',
        action='store_true',
        help='frames as JPEG and labels as PNG: a twentieth of the size, but other frames',
    )


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `benchmark compare`."""
    for name in ('first', 'second'):
        parser.add_argument(name, type=Path, metavar=name.upper(), help='file of figures')
    parser.add_argument('more', type=Path, nargs='*', metavar='MORE', help='more of them')


def _add_recording(parser: CommandParser, count: int | str) -> None:
    parser.add_argument('recording', type=Path, nargs=count, metavar='INPUT', help=INPUT_HELP)
    add_topic(parser)
    add_every(parser)
    add_bundle(parser, default=DEFAULT_BUNDLE)
    add_engines(parser)
    add_refine(parser)


def _add_output(parser: CommandParser, what: str) -> None:
    parser.add_argument('--output', required=True, type=Path, metavar='DIR', help=what)
    parser.keep_old_place('--output', type=Path)


def run_bag(arguments: argparse.Namespace) -> int:
    """Measure the node on a recording; the exit code is 0."""
    check_writable(arguments.json, arguments.report)
    measure_recording(arguments)
    return 0


def measure_recording(
    arguments: argparse.Namespace, outside: OutsideNode | None = None
) -> dict[str, Any]:
    """
    Measure a node on inputs, print the figures and write what is asked for.

    Args:
        arguments: `recording`, `topic`, `every`, `rate`, `duration`, `json` and `report`, and for
            our node those of `add_bag`.
        outside: the node; None for ours.

    Returns:
        As `benchmark_bag`.

    """
    # Only here: what does not play to the node runs without ROS.
    from uhr_seg_ros.benchmark.bag_benchmark import BagOptions
    from uhr_seg_ros.benchmark.sources import recording_of

    inputs = arguments.recording, arguments.topic, arguments.every
    with recording_of(*inputs) as (recording, topic, every):
        options = BagOptions(
            bag=recording,
            rate=arguments.rate,
            topic=topic,
            every=every,
            duration_s=arguments.duration,
            parameters={} if outside else _node_parameters(arguments),
            outside=outside,
        )
        return _measure(arguments, options)


def _measure(arguments: argparse.Namespace, options: BagOptions) -> dict[str, Any]:
    from uhr_seg_ros.benchmark.bag_benchmark import benchmark_bag, START
    from uhr_seg_ros.benchmark.run_progress import run_progress

    with (
        TemporaryDirectory(prefix='uhr_seg_') as name,
        run_progress(START) as progress,
        note_progress(lambda: f'{progress.masks} masks came, {_written(arguments, written)}'),
    ):
        pictures = Path(name)
        written: list[dict[str, Any]] = []

        def finish(report: dict[str, Any]) -> None:
            progress.end()
            print_bag(report)
            _write_bag(arguments, report, pictures)
            written.append(report)

        finish(benchmark_bag(options, pictures, progress, finish))
    return written[-1]


def _node_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return parameters of the node: options that are given, else the file's, else defaults."""
    from uhr_seg_ros.ros.parameters.parameter_files import FileParameters, parameter_file

    parameters: dict[str, Any] = {'bundle': DEFAULT_BUNDLE}
    if arguments.params_file:
        path = parameter_file(arguments.params_file, 'argument --params-file')
        file = FileParameters(path, NODE)
        if file.remark:  # figures of another node than was meant are worse than none
            raise ConfigError(file.remark)
        parameters |= file.values
    parameters |= {
        name: value for name in OF_NODE if (value := getattr(arguments, name)) is not None
    }
    return {name: value for name, value in parameters.items() if name not in SET_BY_BENCHMARK}


def _write_bag(arguments: argparse.Namespace, report: dict[str, Any], pictures: Path) -> None:
    if arguments.report:
        # Only here: it draws with matplotlib.
        from uhr_seg_ros.reports.bag_page import build

        overlays = sorted(pictures.glob('overlays/*.jpg'))
        write_text(arguments.report, build(report, overlays))
    if arguments.json:
        write_results(arguments.json, report)


def _written(arguments: argparse.Namespace, written: Sequence[object]) -> str:
    files = [str(each) for each in (arguments.json, arguments.report) if each]
    if not (written and files):
        return 'no figures were written'
    return f'the figures of what was measured: {", ".join(files)}'


def run_offline(arguments: argparse.Namespace) -> int:
    """Segment a recording without ROS; the exit code is 1 if a frame was left out."""
    check_writable(arguments.json)
    from uhr_seg_ros.benchmark.sources import recording_of

    inputs = arguments.recording, arguments.topic, arguments.every
    with recording_of(*inputs) as (recording, topic, every):
        return _run_offline(arguments, recording, topic, every)


def _run_offline(arguments: argparse.Namespace, recording: Path, name: str, every: int) -> int:
    from uhr_seg_ros.benchmark.offline import check_offline, PREFIX, segment_recording
    from uhr_seg_ros.benchmark.sources import check_room, open_video
    from uhr_seg_ros.replay.bags import describe_bag
    from uhr_seg_ros.replay.topics import choose_topic
    from uhr_seg_ros.replay.video import is_video

    output = arguments.output
    prefix = check_offline(recording, output, arguments.prefix or PREFIX)
    if is_video(recording):  # whose frames the copy holds as they are
        video = open_video(recording)
        check_room(output, video.count * video.frame_bytes)
    topic = choose_topic(recording, name)
    options = EngineOptions(threads=arguments.threads, precision=arguments.precision)
    limits = TilingOptions(arguments.memory_limit_mb)
    refinement = None if arguments.refine == 'none' else Refinement()
    runs: list[OfflineRun] = []

    def report() -> dict[str, Any]:
        return _offline_report(runs[-1], segmenter, describe_bag(recording, topic)) if runs else {}

    with (
        Segmenter(arguments.bundle, arguments.backend, limits, options=options) as segmenter,
        kept_results(arguments, report),
        named_bar('segmenting', -(-topic.count // every), unit='frame') as bar,
    ):
        show_backend(segmenter.provenance, segmenter.fallback, verbose=arguments.verbose)

        def on_frame(run: OfflineRun) -> None:
            runs[:] = [run]
            bar.update()

        result = segment_recording(
            recording,
            topic,
            output,
            segmenter,
            prefix=prefix,
            refinement=refinement,
            every=every,
            on_frame=on_frame,
        )
        figures = _offline_report(result, segmenter, describe_bag(recording, topic))
    print_spreads('Per frame', {**figures['stage_ms'], 'total': figures['total_ms']})
    print('rows: stages of the segmenter; total: from the message to mask and pictures')
    print(segmenter.bundle.domain_line)
    print(f'{len(result.total_ms)} frames segmented, {result.rejected} left out: {output}')
    if result.lost:
        print(f'{result.lost} messages could not be copied')
    finish(arguments, figures)
    return 1 if result.rejected or result.lost else 0


def _offline_report(
    run: OfflineRun, segmenter: Segmenter, recording: dict[str, Any]
) -> dict[str, Any]:
    return {
        'benchmark': 'offline',
        'total_ms': spread(run.total_ms),
        'stage_ms': {stage: spread(times) for stage, times in run.stage_ms.items()},
        'rejected': run.rejected,
        'lost': run.lost,
        'seconds': round(run.seconds, 3),
        'provenance': segmenter.provenance,
        'bag': recording,
    }


def run_make_bag(arguments: argparse.Namespace) -> int:
    """Record a generated flight with exact labels; the exit code is 0."""
    from uhr_seg_ros.benchmark.labeled_flight import FlightOptions, record_labeled_flight

    options = FlightOptions(
        arguments.size,
        arguments.rate,
        arguments.duration,
        arguments.seed,
        arguments.compressed,
    )
    with named_bar('drawing', options.frames, unit='frame') as bar:
        record_labeled_flight(arguments.output, options, bar.update)
    print(f'{options.frames} frames with labels: {arguments.output}')
    return 0


def run_compare(arguments: argparse.Namespace) -> int:
    """Print files of figures side by side; the exit code is 0."""
    compare_files(arguments.first, arguments.second, *arguments.more)
    return 0
