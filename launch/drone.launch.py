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

"""One downward camera: the segmentation node with the parameters for a drone, and rviz."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from uhr_seg_ros.core.domain import CAMERA_VIEWS

SHARE = FindPackageShare('uhr_seg_ros')


def core() -> IncludeLaunchDescription:
    """Include the core launch file; it declares every other argument."""
    path = PathJoinSubstitution([SHARE, 'launch', 'segmentation.launch.py'])
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path),
        launch_arguments={
            name: LaunchConfiguration(name) for name in ('params_file', 'camera_view')
        }.items(),
    )


def viewer() -> Node:
    """Start rviz in the namespace of the node, on the same image topic."""
    return Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=['-d', PathJoinSubstitution([SHARE, 'config', 'drone.rviz'])],
        remappings=[('image_raw', LaunchConfiguration('image_topic'))],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )


def generate_launch_description() -> LaunchDescription:
    """Describe arguments and processes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=PathJoinSubstitution([SHARE, 'config', 'drone.yaml']),
                description='YAML file with the parameters of the node.',
            ),
            DeclareLaunchArgument(
                'camera_view',
                default_value='nadir',
                choices=list(CAMERA_VIEWS),
                description='How the camera looks: nadir is straight down; say oblique where it '
                'looks down at an angle. A bundle for other views is a warning. A params file '
                'that names a view wins.',
            ),
            DeclareLaunchArgument(
                'rviz',
                default_value='false',
                choices=['true', 'false'],
                description='Show camera, overlay, color mask and diagnostics in rviz.',
            ),
            core(),
            viewer(),
        ]
    )
