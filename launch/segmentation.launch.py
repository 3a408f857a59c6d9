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

"""Core launch: the segmentation node and, if asked for, a bag that feeds it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from launch import Condition, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.logging import get_logger
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
    TextSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from uhr_seg_ros.core.domain import ANY, CAMERA_VIEWS
from uhr_seg_ros.ros.parameters.launch_arguments import (
    bundles_text,
    camera_names,
    file_remark,
    parameter_file,
    respawn_delay_s,
)

SHARE = FindPackageShare('uhr_seg_ros')

# The environment variable that names a profile, by major version of Fast DDS; version 3 still
# reads the old one, with a warning.
PROFILE_VARIABLES = {2: 'FASTRTPS_DEFAULT_PROFILES_FILE', 3: 'FASTDDS_DEFAULT_PROFILES_FILE'}


def arguments() -> list[DeclareLaunchArgument]:
    """Declare the launch arguments."""
    return [
        DeclareLaunchArgument(
            'image_topic',
            default_value='image_raw',
            description='Topic of the camera images (sensor_msgs/Image). Compressed images are '
            'expected on <image_topic>/compressed.',
        ),
        DeclareLaunchArgument(
            'camera_info_topic',
            default_value='camera_info',
            description='Topic of the camera calibration, by default the one beside the images; '
            'nothing waits for it.',
        ),
        DeclareLaunchArgument(
            'cameras',
            default_value="['']",
            description="Names of several cameras, such as '[front, rear]': their images are "
            'expected on <camera>/image_raw, image_topic is not used then.',
        ),
        DeclareLaunchArgument(
            'points_topic',
            default_value='',
            description='Topic of the points to label (sensor_msgs/PointCloud2), one for all '
            'cameras; empty: points, or <camera>/points of each. Used with cloud.enabled.',
        ),
        DeclareLaunchArgument(
            'depth_topic',
            default_value='depth',
            description='Topic of the depth images to label where cloud.source is depth, their '
            'camera_info beside them. Named cameras have theirs on <camera>/depth.',
        ),
        DeclareLaunchArgument(
            'bundle',
            default_value='hlrc_s_aerial',
            description='Model bundle: a folder, or the name of an installed model, which are: '
            f'{bundles_text()}. A params file that names a bundle wins.',
        ),
        DeclareLaunchArgument(
            'camera_view',
            default_value=ANY,
            choices=list(CAMERA_VIEWS),
            description='How the cameras look: nadir is straight down, oblique down at an angle, '
            f'forward along the ground, {ANY} says nothing. A bundle for other views is a '
            'warning. A params file that names a view wins.',
        ),
        DeclareLaunchArgument(
            'backend',
            default_value='auto',
            description='Engine back end. A params file that names a back end wins.',
        ),
        DeclareLaunchArgument(
            'namespace',
            default_value='',
            description='Namespace of the node, its topics and its images.',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution([SHARE, 'config', 'drone.yaml']),
            description='YAML file with the parameters of the node.',
        ),
        DeclareLaunchArgument(
            'bag',
            default_value='',
            description='A rosbag2 recording to play; empty: none.',
        ),
        DeclareLaunchArgument(
            'respawn',
            default_value='false',
            choices=['true', 'false'],
            description='Start the node again whenever its process ends.',
        ),
        DeclareLaunchArgument(
            'respawn_delay',
            default_value='2.0',
            description='Seconds between the end of a process and the next start.',
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='false',
            choices=['true', 'false'],
            description='Follow /clock, as played by a bag or a simulator.',
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='Least severe messages to log.',
        ),
    ]


def large_image_transport() -> SetEnvironmentVariable:
    """Return every process of this launch the Fast DDS profile, unless the user has chosen one."""
    profile = PathJoinSubstitution([SHARE, 'config', 'dds', 'fastdds_large_images.xml'])
    for name in PROFILE_VARIABLES.values():
        profile = EnvironmentVariable(name, default_value=profile)
    fast_dds = 2 if os.environ.get('ROS_DISTRO') in ('humble', 'jazzy') else 3
    return SetEnvironmentVariable(PROFILE_VARIABLES[fast_dds], profile)


def points_remappings(context: LaunchContext, cameras: list[str]) -> list[tuple[str, str]]:
    """Return every camera the same points, if a topic is given."""
    topic = LaunchConfiguration('points_topic').perform(context)
    if not topic:
        return []
    return [(f'{camera}/points' if camera else 'points', topic) for camera in cameras]


def parameters_of_user(context: LaunchContext) -> Path:
    """Return the parameter file, and log it if nothing in it is for the node."""
    path = parameter_file(LaunchConfiguration('params_file').perform(context))
    around = context.launch_configurations.get('ros_namespace', '')
    own = LaunchConfiguration('namespace').perform(context)
    if remark := file_remark(path, own if own.startswith('/') else f'{around}/{own}'):
        get_logger('uhr_seg_ros').warning(remark)
    return path


def segmentation_node(context: LaunchContext) -> list[Node]:
    """Describe the node; values of the params file win over those of the arguments."""
    cameras = camera_names(LaunchConfiguration('cameras').perform(context))
    names = json.dumps(cameras)  # in quotes, as YAML takes `no` for no text
    node = Node(
        package='uhr_seg_ros',
        executable='segmentation_node',
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            {
                'bundle': ParameterValue(LaunchConfiguration('bundle'), value_type=str),
                'camera_view': ParameterValue(LaunchConfiguration('camera_view'), value_type=str),
                'backend': ParameterValue(LaunchConfiguration('backend'), value_type=str),
                'cameras': ParameterValue(TextSubstitution(text=names), value_type=list[str]),
                'use_sim_time': ParameterValue(
                    LaunchConfiguration('use_sim_time'), value_type=bool
                ),
            },
            str(parameters_of_user(context)),
        ],
        remappings=[
            ('image_raw', LaunchConfiguration('image_topic')),
            ('camera_info', LaunchConfiguration('camera_info_topic')),
            ('depth', LaunchConfiguration('depth_topic')),
            *points_remappings(context, cameras),
        ],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        respawn=LaunchConfiguration('respawn').perform(context) == 'true',
        respawn_delay=respawn_delay_s(LaunchConfiguration('respawn_delay').perform(context)),
        output='screen',
    )
    return [node]


def has_bag(context: LaunchContext) -> bool:
    """Tell if there is a bag to play."""
    return bool(LaunchConfiguration('bag').perform(context))


def bag_player() -> ExecuteProcess:
    """
    Play the bag, if one is given.

    A few messages are read ahead, since a 4K image has 25 MB, and the node gets 5 s to start.
    """
    return ExecuteProcess(
        cmd=[
            'ros2',
            'bag',
            'play',
            LaunchConfiguration('bag'),
            '--clock',
            '100',
            '--read-ahead-queue-size',
            '8',
            '--delay',
            '5',
        ],
        condition=Condition(predicate=has_bag),
        output='screen',
    )


def generate_launch_description() -> LaunchDescription:
    """Describe arguments, environment and processes."""
    return LaunchDescription(
        [
            *arguments(),
            large_image_transport(),
            OpaqueFunction(function=segmentation_node),
            bag_player(),
        ]
    )
