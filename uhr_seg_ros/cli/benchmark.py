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

"""The command `uhr_seg benchmark`, which has a subcommand for every kind of measurement."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from uhr_seg_ros.backends.options import PRECISIONS
from uhr_seg_ros.benchmark.figures import segmenter_stages
from uhr_seg_ros.benchmark.intervals import join_against_torch, join_medians
from uhr_seg_ros.benchmark.stages import join_processes, measure, StageOptions
from uhr_seg_ros.cli import benchmark_recordings as recordings
from uhr_seg_ros.cli.arguments import (
    add_bundle,
    add_detail,
    add_engines,
    add_json,
    add_refine,
    add_verbose,
    budget_ms,
    DEFAULT_BUNDLE,
    node_parameters,
    parse_count,
    parse_pace,
    parse_positive_rate,
    parse_size,
)
from uhr_seg_ros.cli.backend_line import show_backend
from uhr_seg_ros.cli.benchmark_command import add_command, check_modes, run_command
from uhr_seg_ros.cli.benchmark_old_form import to_subcommand
from uhr_seg_ros.cli.benchmark_results import counted_graphs, finish, kept_results
from uhr_seg_ros.cli.benchmark_roofline import add_roofline, run_roofline
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.intervals import PROCESSES
from uhr_seg_ros.core.progress import named_bar, named_steps
from uhr_seg_ros.replay.load import idle_percent
from uhr_seg_ros.reports.benchmark_advice import trust_warning
from uhr_seg_ros.reports.benchmark_console import (
    print_against_torch,
    print_cloud,
    print_graphs,
    print_node,
    print_stages,
    print_transport,
)

DEFAULT_SIZES = ((1080, 1920), (2160, 3840))
DEFAULT_POINTS = (130_000, 1_000_000)
REPEAT = 5
CLOUD_REPEAT = 100
NODE_RATE_HZ = 0.5
REALTIME = 'realtime'
TRANSPORT_RATE_HZ = 5.0


class Kind(NamedTuple):
    """
    A subcommand.

    Attributes:
        summary: its line of help.
        add_arguments: declares its arguments.
        run: does the work and returns the exit code.

    """

    summary: str
    add_arguments: Callable[[CommandParser], None]
    run: Callable[[argparse.Namespace], int]


def add_arguments(parser: CommandParser) -> None:
    """Declare the subcommands, each with arguments of its own."""
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    for name, kind in KINDS.items():
        described = f'{kind.summary[0].upper()}{kind.summary[1:]}.'
        subcommand = kinds.add_parser(name, help=kind.summary, description=described)
        kind.add_arguments(subcommand)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; the exit code is 1 if `offline` left something out, else 0."""
    return KINDS[arguments.kind].run(arguments)


def update_words(words: Sequence[str]) -> Sequence[str]:
    """Turn the form without a subcommand, which stays for one release, into one with it."""
    return to_subcommand(words, KINDS)


def _add_frames(parser: CommandParser) -> None:
    parser.add_argument(
        '--size',
        type=parse_size,
        action='append',
        dest='sizes',
        metavar='WxH',
        help='of the frames, such as 7680x4320; may be repeated (default: 1920x1080 and '
        '3840x2160)',
    )
    parser.add_argument(
        '--repeat',
        type=parse_count,
        default=REPEAT,
        metavar='N',
        help='measurements that count',
    )
    add_json(parser)


def _add_processes(parser: CommandParser) -> None:
    parser.add_argument(
        '--processes',
        type=parse_count,
        default=PROCESSES,
        metavar='N',
        help='fresh processes that measure one after the other: printed are the median of theirs '
        f'and the 95 %% interval around it, which takes {PROCESSES} at least',
    )


def _add_rate(parser: CommandParser, default: float) -> None:
    parser.add_argument(
        '--rate',
        type=parse_positive_rate,
        default=default,
        metavar='HZ',
        help='frames per second',
    )


def _add_stages(parser: CommandParser) -> None:
    add_bundle(parser, default=DEFAULT_BUNDLE)
    add_engines(parser)
    add_refine(parser)
    add_detail(parser)
    add_verbose(parser)
    _add_frames(parser)
    _add_processes(parser)


def _add_node(parser: CommandParser) -> None:
    _add_stages(parser)
    parser.add_argument(
        '--rate',
        type=parse_pace,
        metavar='HZ|realtime|max|peak',
        help='frames per second; the words are for --command, as of `benchmark bag` '
        f'(default: {NODE_RATE_HZ:g}; realtime for --command)',
    )
    add_command(parser)


def _add_transport(parser: CommandParser) -> None:
    _add_frames(parser)
    _add_rate(parser, TRANSPORT_RATE_HZ)


def _add_cloud(parser: CommandParser) -> None:
    _add_frames(parser)
    parser.set_defaults(repeat=CLOUD_REPEAT)
    parser.add_argument(
        '--points',
        type=parse_count,
        nargs='+',
        default=DEFAULT_POINTS,
        metavar='N',
        help='points of a cloud',
    )


def _add_torch(parser: CommandParser) -> None:
    parser.add_argument(
        '--network', required=True, metavar='NETWORK', help='what is trained: hlrc_s, fctl, ...'
    )
    parser.keep_old_place('--network')
    _add_frames(parser)
    _add_processes(parser)


def _add_graphs(parser: CommandParser) -> None:
    add_bundle(parser, default=DEFAULT_BUNDLE)
    parser.keep_old_place('--bundle')
    parser.add_argument(
        '--size',
        type=parse_size,
        default=DEFAULT_SIZES[-1],
        metavar='WxH',
        help='of the frames',
    )
    parser.add_argument(
        '--precision',
        choices=[each for each in PRECISIONS if each != 'auto'],
        default='fp16',
        help='of the engines',
    )
    parser.add_argument(
        '--as-exported',
        action='store_true',
        help='count the graphs before they are rewritten for a GPU',
    )
    add_json(parser)


def _run_stages(arguments: argparse.Namespace) -> int:
    return finish(arguments, _measure_stages(arguments))


def _run_node(arguments: argparse.Namespace) -> int:
    check_modes(arguments)
    if arguments.command is not None:
        arguments.rate = arguments.rate or REALTIME
        return run_command(arguments)
    rate_hz = NODE_RATE_HZ if arguments.rate is None else arguments.rate
    if isinstance(rate_hz, str):
        msg = f'{rate_hz!r} is not a rate of generated frames: expected Hz; it is for --command'
        raise ConfigError(msg)
    report = _measure_stages(arguments)
    # Only here: the segmenter is measured without a ROS installation, too.
    from uhr_seg_ros.benchmark.node_cost import measure_node

    measured: list[dict[str, Any]] = []
    with (
        note_progress(lambda: f'{len(measured)} of {arguments.processes} nodes measured'),
        kept_results(arguments, lambda: {**report, **_joined(measured)}),
    ):
        for _ in named_steps(range(arguments.processes), 'measuring the node', unit='node'):
            measured.append(
                measure_node(
                    arguments.bundle,
                    _largest(arguments),
                    arguments.repeat,
                    rate_hz,
                    _node_parameters(arguments),
                )
            )
    result = join_medians(measured)
    print_node(result, segmenter_stages(result['stage_ms'], load_bundle(arguments.bundle).kind))
    return finish(arguments, {**report, 'node': result})


def _node_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let the node segment as the stages were measured."""
    milliseconds = budget_ms(arguments)
    budget = {'detail': 'budget', 'latency.budget_ms': milliseconds} if milliseconds else {}
    return {**node_parameters(arguments), **budget}


def _joined(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {'node': join_medians(measured)} if measured else {}


def _measure_stages(arguments: argparse.Namespace) -> dict[str, Any]:
    check_writable(arguments.json)
    sizes = _sizes(arguments)
    milliseconds = budget_ms(arguments)
    bundle = load_bundle(arguments.bundle)
    idle = idle_percent()
    results: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []

    def report() -> dict[str, Any]:
        found = [*results, *([join_processes(runs)] if runs else [])]
        return {'bundle': bundle.name, 'idle_percent': idle, 'sizes': found} if found else {}

    with (
        note_progress(lambda: f'{len(results)} of {len(sizes)} sizes measured'),
        kept_results(arguments, report),
        named_bar('measuring', len(sizes) * arguments.processes, unit='process') as bar,
    ):
        for size in sizes:
            options = StageOptions(
                arguments.bundle,
                size,
                arguments.repeat,
                backend=arguments.backend,
                precision=arguments.precision,
                threads=arguments.threads,
                memory_limit_mb=arguments.memory_limit_mb,
                budget_ms=milliseconds,
                refine=arguments.refine,
            )
            for _ in range(arguments.processes):
                runs.append(measure(options))
                bar.update()
                if bar.n == 1:
                    provenance = runs[0]['provenance']
                    show_backend(provenance, provenance['fallback'], verbose=arguments.verbose)
            results.append(join_processes(runs))
            runs.clear()
            bar.clear()
            print_stages(results[-1])
    if warning := trust_warning(idle):
        print(warning)
    return report()


def _run_transport(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    # Only here: it needs ROS.
    from uhr_seg_ros.benchmark.transport import measure_transport, SETTINGS

    largest = _largest(arguments)
    report: dict[str, Any] = {'size': list(largest), 'transport': []}
    with kept_results(arguments, lambda: report):
        for setting in SETTINGS:
            print(f'sending {arguments.repeat} frames: {setting.name}')
            result = measure_transport(setting, largest, arguments.repeat, arguments.rate)
            report['transport'].append(result)
    print_transport(largest, report['transport'])
    return finish(arguments, report)


def _run_cloud(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    # Only here: it makes messages, which need ROS.
    from uhr_seg_ros.benchmark.cloud_stages import CloudOptions, measure_cloud

    report: dict[str, Any] = {'repeat': arguments.repeat, 'clouds': []}
    clouds = report['clouds']
    with (
        note_progress(lambda: f'{len(clouds)} of {len(arguments.points)} clouds measured'),
        kept_results(arguments, lambda: report if clouds else {}),
        named_bar('labeling', len(arguments.points), unit='cloud') as bar,
    ):
        for points in arguments.points:
            result = measure_cloud(CloudOptions(points, _largest(arguments), arguments.repeat))
            clouds.append(result)
            bar.update()
            bar.clear()
            print_cloud(result)
    return finish(arguments, report)


def _run_torch(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    # Only here: everything else runs without PyTorch.
    from uhr_seg_ros.export.against_torch import compare_speed

    results: list[dict[str, Any]] = []
    with kept_results(arguments, lambda: {'against_torch': results}):
        for height, width in named_steps(_sizes(arguments), 'timing', unit='size'):
            runs = compare_speed(
                arguments.network, height, width, arguments.repeat, arguments.processes
            )
            about = {'network': arguments.network, 'size': f'{width}x{height}'}
            results.append({**about, **join_against_torch(runs)})
            print_against_torch(results[-1])
    return finish(arguments, {'against_torch': results})


def _run_graphs(arguments: argparse.Namespace) -> int:
    check_writable(arguments.json)
    # Only here: it needs onnx.
    from uhr_seg_ros.benchmark.graph_traffic import measure_traffic
    from uhr_seg_ros.onnx_graphs.traffic import DEVICES

    with counted_graphs(arguments, 'counting') as on_graph:
        report = measure_traffic(
            load_bundle(arguments.bundle),
            arguments.size,
            arguments.precision,
            rewrites=not arguments.as_exported,
            on_graph=on_graph,
        )
    print_graphs(report, {name: device.title for name, device in DEVICES.items()})
    return finish(arguments, report)


def _sizes(arguments: argparse.Namespace) -> Sequence[tuple[int, int]]:
    return arguments.sizes or DEFAULT_SIZES


def _largest(arguments: argparse.Namespace) -> tuple[int, int]:
    return max(_sizes(arguments), key=lambda size: size[0] * size[1])


#: Subcommand -> what it does.
KINDS = {
    'stages': Kind('time per stage and memory of a bundle', _add_stages, _run_stages),
    'node': Kind(
        'the same, and what the node costs beside it, over DDS at the largest size; with '
        '--command any other node, on a recording',
        _add_node,
        _run_node,
    ),
    'transport': Kind(
        'send frames of the largest size through DDS, with and without the profile',
        _add_transport,
        _run_transport,
    ),
    'cloud': Kind(
        'label generated point clouds by a mask of the largest size, on one core',
        _add_cloud,
        _run_cloud,
    ),
    'torch': Kind('time a network in PyTorch eager against its export', _add_torch, _run_torch),
    'graphs': Kind(
        'count the bytes that a GPU moves for the graphs of a bundle, and a time on paper',
        _add_graphs,
        _run_graphs,
    ),
    'roofline': Kind(
        'time the graphs of a bundle against the peaks of this machine',
        add_roofline,
        run_roofline,
    ),
    'bag': Kind('play a recording to the node', recordings.add_bag, recordings.run_bag),
    'offline': Kind(
        'without ROS: write a copy of a recording with masks and overlays added',
        recordings.add_offline,
        recordings.run_offline,
    ),
    'make-bag': Kind(
        'make a recording of a generated flight with exact labels',
        recordings.add_make_bag,
        recordings.run_make_bag,
    ),
    'compare': Kind(
        'files that `benchmark bag` or `node --command` wrote with --json, side by side',
        recordings.add_compare,
        recordings.run_compare,
    ),
}
