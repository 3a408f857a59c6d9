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

"""`uhr_seg benchmark node --command`: any node, measured as `benchmark bag` measures ours."""

from __future__ import annotations

import argparse
from pathlib import Path
import re
from typing import TYPE_CHECKING

from uhr_seg_ros.cli.arguments import (
    add_every,
    add_topic,
    INPUT_HELP,
    parse_duration,
)
from uhr_seg_ros.cli.benchmark_recordings import measure_recording
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.command_line import CommandParser, Mode, refuse_without_effect
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.export.option_values import parse_classes
from uhr_seg_ros.reports.bag_compare import print_comparison, read_report

if TYPE_CHECKING:  # it needs ROS
    from uhr_seg_ros.benchmark.subjects import OutsideNode

START_TIMEOUT_S = 120.0

#: Our node beside its segmenter on generated frames, or any node on a recording.
MODES = (
    Mode(
        '--command',
        '--mask-topic --image-topic --classes --start-timeout --topic --every --duration '
        '--params-file --report --compare --rate --json',
        lambda arguments: arguments.command is not None,
    ),
    Mode(
        '',
        '--bundle --backend --precision --threads --memory-limit-mb --refine --detail '
        '--budget-ms --verbose --size --repeat --processes --rate --json',
    ),
)


def add_command(parser: CommandParser) -> None:
    """Declare what measures another node."""
    group = parser.add_argument_group('any node, on a recording')
    group.add_argument(
        'recording',
        type=Path,
        nargs='*',
        metavar='INPUT',
        help=f'for --command: {INPUT_HELP}',
    )
    group.add_argument(
        '--command',
        metavar='CMD',
        help='start this in place of our node, without a shell, and measure it on the recording '
        'from the outside; {image_topic}, {camera_info_topic}, {mask_topic}, {bag} and '
        '{params_file} are filled in',
    )
    group.add_argument(
        '--mask-topic',
        type=parse_topic,
        metavar='TOPIC',
        help='where the node publishes its masks, sensor_msgs/Image',
    )
    group.add_argument(
        '--image-topic',
        type=parse_topic,
        metavar='TOPIC',
        help='where the frames are sent (default: /image_raw)',
    )
    group.add_argument(
        '--params-file',
        metavar='FILE',
        help='parameters of the node: as {params_file}, or as an argument of ROS',
    )
    group.add_argument(
        '--classes',
        metavar='FILE|NAME',
        help='classes of the ids in its masks, which are then compared with the labels in the '
        'recording: a classes.yaml or a known name (default: none, they are not compared)',
    )
    group.add_argument(
        '--start-timeout',
        type=parse_duration,
        default=START_TIMEOUT_S,
        metavar='S',
        help='how long the node may take until it listens, and until its first mask',
    )
    add_topic(group)
    add_every(group)
    group.add_argument(
        '--duration',
        type=parse_duration,
        default=0.0,
        metavar='S',
        help='play so long, repeating the recording (default: the recording once)',
    )
    group.add_argument(
        '--report', type=Path, metavar='FILE', help='also write an HTML page with the figures'
    )
    group.add_argument(
        '--compare',
        type=Path,
        nargs='+',
        default=[],
        metavar='FILE',
        help='files that --json has written: print their figures beside the new ones',
    )


def parse_topic(text: str) -> str:
    """Turn the name of a topic into one that begins with a slash."""
    name = f'/{text.strip("/")}'
    if not re.fullmatch(r'(/[A-Za-z_][A-Za-z0-9_]*)+', name):
        msg = f'{text!r} is not the name of a topic, such as /camera/image_raw'
        raise argparse.ArgumentTypeError(msg)
    return name


def check_modes(arguments: argparse.Namespace) -> None:
    """
    Refuse options that have no effect, and those that miss others.

    Raises:
        ConfigError: names them.

    """
    refuse_without_effect(arguments, MODES)
    if arguments.command is None:
        if arguments.recording:
            msg = (
                f'{arguments.recording[0]}: a recording is for --command, another node; ours '
                f'plays it by: uhr_seg benchmark bag {arguments.recording[0]}'
            )
            raise ConfigError(msg)
        return
    if not arguments.recording:
        msg = (
            '--command needs a recording to play to the node: uhr_seg benchmark node RECORDING '
            '--command CMD --mask-topic TOPIC; `uhr_seg benchmark make-bag` makes one'
        )
        raise ConfigError(msg)
    if arguments.mask_topic is None:
        msg = '--command needs --mask-topic, the topic that the node publishes its masks on'
        raise ConfigError(msg)


def run_command(arguments: argparse.Namespace) -> int:
    """Measure another node on a recording; the exit code is 0."""
    check_writable(arguments.json, arguments.report)
    others = {path.stem: read_report(path) for path in arguments.compare}
    report = measure_recording(arguments, _outside(arguments))
    if others:
        print_comparison({**others, 'this run': report})
    return 0


def _outside(arguments: argparse.Namespace) -> OutsideNode:
    # Only here: it needs ROS.
    from uhr_seg_ros.benchmark.subjects import IMAGE_TOPIC, OutsideNode

    params_file = Path(arguments.params_file) if arguments.params_file else None
    if params_file and not params_file.is_file():
        msg = f'--params-file {params_file}: no such file'
        raise ConfigError(msg)
    return OutsideNode(
        arguments.command,
        arguments.mask_topic,
        arguments.image_topic or IMAGE_TOPIC,
        params_file,
        parse_classes(arguments.classes) if arguments.classes else None,
        arguments.start_timeout,
    )
