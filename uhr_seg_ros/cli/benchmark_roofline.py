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

"""`uhr_seg benchmark roofline`: the graphs of a bundle against the peaks of this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from uhr_seg_ros.cli.arguments import (
    add_bundle,
    add_json,
    DEFAULT_BUNDLE,
    parse_count,
    parse_size,
)
from uhr_seg_ros.cli.benchmark_results import counted_graphs, finish
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.reports.benchmark_console import print_roofline

REPEAT = 7


def add_roofline(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_bundle(parser, default=DEFAULT_BUNDLE)
    parser.keep_old_place('--bundle')
    parser.add_argument(
        '--size',
        type=parse_size,
        default=(2160, 3840),
        metavar='WxH',
        help='of the frames',
    )
    parser.add_argument(
        '--precision',
        choices=('fp32', 'int8'),
        nargs='+',
        help='of the engines (default: all that the bundle has)',
    )
    parser.add_argument(
        '--repeat',
        type=parse_count,
        default=REPEAT,
        metavar='N',
        help='measurements that count',
    )
    add_json(parser)
    parser.add_argument(
        '--chart',
        type=Path,
        metavar='FILE',
        help='draw the graphs under the roof into this .svg or .png file',
    )
    parser.keep_old_name('--image', '--chart')


def run_roofline(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for."""
    check_writable(arguments.json)
    if arguments.chart:
        # Only here: it draws with matplotlib.
        from uhr_seg_ros.comparison.chart import check_chart

        check_chart(arguments.chart)
    # Only here: it needs onnx.
    from uhr_seg_ros.benchmark.roofline import measure_roofline

    bundle = load_bundle(arguments.bundle)
    precisions = arguments.precision or [
        'fp32',
        *(['int8'] if 'int8' in bundle.precisions else []),
    ]
    with counted_graphs(arguments, 'timing') as on_graph:
        report = measure_roofline(
            bundle, arguments.size, precisions, arguments.repeat, on_graph=on_graph
        )
    print_roofline(report)
    finish(arguments, report)
    if arguments.chart:
        from uhr_seg_ros.reports.roofline_chart import draw_roofline

        draw_roofline(report, arguments.chart)
    return 0
