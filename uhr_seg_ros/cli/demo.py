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

"""The command `uhr_seg demo`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from uhr_seg_ros.benchmark.demo import DemoOptions, run_demo
from uhr_seg_ros.cli.arguments import (
    add_bundle,
    add_engines,
    add_every,
    add_refine,
    add_topic,
    DEFAULT_BUNDLE,
    INPUT_HELP,
    node_parameters,
    parse_count,
    parse_rate,
    parse_size,
)
from uhr_seg_ros.core.command_line import CommandParser, Mode, refuse_without_effect
from uhr_seg_ros.replay.bags import is_bag
from uhr_seg_ros.replay.video import is_video
from uhr_seg_ros.reports.benchmark_console import print_demo

_DEFAULT = '--bundle --output --rate --backend --precision --threads --memory-limit-mb --refine'

#: What is flown over, and the options that count then; clouds beside a recording are refused with
#: more words later on.
MODES = (
    Mode(
        'a recording',
        f'{_DEFAULT} --topic --every --cloud',
        lambda given: _is_recording(given.paths),
    ),
    Mode(
        'several images',
        f'{_DEFAULT} --topic --every --cloud',
        lambda given: len(given.paths) > 1 or _holds_several(given.paths),
    ),
    Mode('', f'{_DEFAULT} --cloud --count --size'),
)


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        'paths',
        type=Path,
        nargs='*',
        metavar='INPUT',
        help=f'{INPUT_HELP}; one image is a mosaic to fly over, nothing a flight over a generated '
        'scene',
    )
    add_bundle(parser, default=DEFAULT_BUNDLE)
    add_engines(parser)
    add_refine(parser)
    parser.add_argument(
        '--output', type=Path, default=Path('out/demo'), metavar='DIR', help='folder to write'
    )
    add_topic(parser)
    add_every(parser)
    parser.add_argument(
        '--count', type=parse_count, default=12, metavar='N', help='frames of the flight'
    )
    parser.keep_old_name('--frames', '--count')
    parser.add_argument(
        '--rate',
        type=parse_rate,
        default=0.0,
        metavar='HZ',
        help='frames per second; 0: as recorded, flights 1 Hz',
    )
    parser.add_argument(
        '--size', type=parse_size, default=DemoOptions.size, metavar='WxH', help='of the frames'
    )
    parser.add_argument(
        '--cloud',
        action='store_true',
        help='a LiDAR flies along: label its points, save them as PLY files and a picture',
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; the exit code is 0 if masks came and the node ended well."""
    refuse_without_effect(arguments, MODES)
    options = DemoOptions(
        paths=tuple(arguments.paths),
        bundle=arguments.bundle,
        output=arguments.output,
        frames=arguments.count,
        rate_hz=arguments.rate,
        size=arguments.size,
        cloud=arguments.cloud,
        topic=arguments.topic,
        every=arguments.every,
        parameters=node_parameters(arguments),
    )
    report = run_demo(options)
    print_demo(report)
    saved = 'masks, overlays, clouds, cloud.jpg' if options.cloud else 'masks, overlays'
    print(f'{saved} and report.json: {options.output}/')
    if unsaved := report['files_not_saved']:
        print(f'error: {len(unsaved)} files could not be written, the first one: {unsaved[0]}')
        return 1
    if not report['masks_saved']:
        print('error: no mask came')
        return 1
    if options.cloud and not report['clouds']['clouds_saved']:
        print(f'error: no labeled cloud came: {options.output / "node.log"} may say why')
        return 1
    if report['node_exit_code']:
        print(f'error: the node ended with code {report["node_exit_code"]}')
        return 1
    return 0


def _is_recording(paths: Sequence[Path]) -> bool:
    return len(paths) == 1 and paths[0].exists() and is_bag(paths[0])


def _holds_several(paths: Sequence[Path]) -> bool:
    """Tell if a path is a folder of images, a pattern or a video."""
    return len(paths) == 1 and (not paths[0].is_file() or is_video(paths[0]))
