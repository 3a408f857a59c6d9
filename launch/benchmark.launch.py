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

"""Measure the segmentation node on a recording: `uhr_seg benchmark bag` as a launch file."""

from __future__ import annotations

from collections.abc import Mapping

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import ExecuteProcess

from uhr_seg_ros.ros.parameters.launch_description import describe, ends_the_launch, program
from uhr_seg_ros.ros.parameters.launch_table import Argument
from uhr_seg_ros.ros.parameters.launch_texts import bundles_text

# Argument -> option of the command; an empty value leaves the option out. The recording, `bag`, is
# its first argument.
OPTIONS = {
    'topic': '--topic',
    'rate': '--rate',
    'duration': '--duration',
    'params_file': '--params-file',
    'bundle': '--bundle',
    'backend': '--backend',
    'precision': '--precision',
    'report': '--report',
    'json': '--json',
}

ARGUMENTS = [
    Argument('bag', 'The rosbag2 recording to play.', None),
    Argument('topic', 'Image topic in the recording; empty: the only likely one.'),
    Argument(
        'rate',
        'Hz, realtime (as recorded), max (each frame when the one before was answered) or peak '
        '(search the highest rate that is kept up with).',
        'realtime',
    ),
    Argument('duration', 'Seconds, repeating the recording; empty: the recording once.'),
    Argument(
        'params_file',
        'YAML file with the parameters of the node; arguments that are given win. Empty: none.',
    ),
    Argument(
        'bundle',
        'Model bundle: a folder, or the name of an installed model, which are: '
        f'{bundles_text()}. Empty: as params_file says, else hlrc_s_aerial.',
    ),
    Argument(
        'backend',
        'Engine back end: auto, tensorrt or onnxruntime. Empty: as params_file says, else auto.',
    ),
    Argument(
        'precision',
        'Precision of the engines: auto, fp32, fp16 or int8. Empty: as params_file says, else '
        'auto.',
    ),
    Argument('report', 'File for an HTML page with charts; empty: none.'),
    Argument('json', 'File for the figures; empty: none.'),
]


def command(
    context: LaunchContext, given: Mapping[str, str], is_asked_for: bool
) -> list[LaunchDescriptionEntity]:
    """Start the command, which starts the node and the player in processes of their own."""
    options = [word for name in OPTIONS if given[name] for word in (OPTIONS[name], given[name])]
    uhr_seg = program('uhr_seg_ros', 'uhr_seg', 'build the package again', context)
    return [
        ExecuteProcess(
            cmd=[uhr_seg, 'benchmark', 'bag', given['bag'], *options],
            on_exit=ends_the_launch(is_asked_for),
            output='screen',
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Describe arguments and process."""
    return describe('benchmark.launch.py', ARGUMENTS, command)
