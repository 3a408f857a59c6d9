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

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackagePrefix

from uhr_seg_ros.ros.parameters.launch_arguments import bundles_text

# Argument -> option of the command; an empty value leaves the option out. The recording, `bag`, is
# its first argument.
OPTIONS = {
    'topic': '--topic',
    'rate': '--rate',
    'duration': '--duration',
    'bundle': '--bundle',
    'backend': '--backend',
    'precision': '--precision',
    'report': '--report',
    'json': '--json',
}


def arguments() -> list[DeclareLaunchArgument]:
    """Declare the launch arguments."""
    texts = {
        'topic': ('', 'Image topic in the recording; empty: the only likely one.'),
        'rate': (
            'realtime',
            'Hz, realtime (as recorded), max (each frame when the one before was answered) or '
            'peak (search the highest rate that is kept up with).',
        ),
        'duration': ('', 'Seconds, repeating the recording; empty: the recording once.'),
        'bundle': (
            'hlrc_s_aerial',
            'Model bundle: a folder, or the name of an installed model, which are: '
            f'{bundles_text()}.',
        ),
        'backend': ('auto', 'Engine back end: auto, tensorrt or onnxruntime.'),
        'precision': ('auto', 'Precision of the engines: auto, fp32, fp16 or int8.'),
        'report': ('', 'File for an HTML page with charts; empty: none.'),
        'json': ('', 'File for the figures; empty: none.'),
    }
    return [
        DeclareLaunchArgument('bag', description='The rosbag2 recording to play.'),
        *(
            DeclareLaunchArgument(name, default_value=value, description=text)
            for name, (value, text) in texts.items()
        ),
    ]


def command(context: LaunchContext) -> list[ExecuteProcess]:
    """Start the command, which starts the node and the player in processes of their own."""
    program = PathJoinSubstitution([FindPackagePrefix('uhr_seg_ros'), 'lib/uhr_seg_ros/uhr_seg'])
    options = []
    for name, option in OPTIONS.items():
        if value := LaunchConfiguration(name).perform(context):
            options += [option, value]
    recording = LaunchConfiguration('bag').perform(context)
    command_line = [program, 'benchmark', 'bag', recording, *options]
    return [ExecuteProcess(cmd=command_line, output='screen')]


def generate_launch_description() -> LaunchDescription:
    """Describe arguments and process."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=command)])
