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

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.cli.arguments import DEFAULT_BUNDLE, parse_count, parse_size
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.reports.benchmark_console import print_roofline

REPEAT = 7


def add_roofline(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        'bundle',
        nargs='?',
        default=DEFAULT_BUNDLE,
        metavar='BUNDLE',
        help=f'folder or name of a model bundle (default: {DEFAULT_BUNDLE})',
    )
    parser.add_argument(
        '--size',
        type=parse_size,
        default=(2160, 3840),
        metavar='WxH',
        help='frame size (default: 3840x2160)',
    )
    parser.add_argument(
        '--precision',
        choices=('fp32', 'int8'),
        nargs='+',
        help='of the graphs (default: all that the bundle has)',
    )
    parser.add_argument(
        '--repeat',
        type=parse_count,
        default=REPEAT,
        metavar='N',
        help=f'runs of each graph that count (default: {REPEAT})',
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='file for the figures')
    parser.add_argument(
        '--image', type=Path, metavar='FILE', help='.svg or .png: the graphs under the roof'
    )


def run_roofline(arguments: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for."""
    check_writable(arguments.json)
    if arguments.image:
        # Only here: it draws with matplotlib.
        from uhr_seg_ros.comparison.chart import check_chart

        check_chart(arguments.image)
    # Only here: it needs onnx.
    from uhr_seg_ros.benchmark.roofline import measure_roofline

    bundle = load_bundle(arguments.bundle)
    precisions = arguments.precision or [
        'fp32',
        *(['int8'] if 'int8' in bundle.precisions else []),
    ]
    report = measure_roofline(bundle, arguments.size, precisions, arguments.repeat)
    print_roofline(report)
    if arguments.json:
        write_results(arguments.json, report)
    if arguments.image:
        from uhr_seg_ros.reports.roofline_chart import draw_roofline

        draw_roofline(report, arguments.image)
    return 0
