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

"""Cameras and a LiDAR of a vehicle, served by one segmentation node, and rviz."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from uhr_seg_ros.core.domain import CAMERA_VIEWS
from uhr_seg_ros.ros.parameters.launch_arguments import bundles_text, street_text

SHARE = FindPackageShare('uhr_seg_ros')


def arguments() -> list[DeclareLaunchArgument]:
    """Declare what differs from the core launch file."""
    return [
        # Without a default: no model that comes with the package knows the view from a vehicle.
        DeclareLaunchArgument(
            'bundle',
            description='Model bundle for what the cameras see, which has to be given: a folder, '
            f'or the name of an installed model, which are: {bundles_text()}. {street_text()}. A '
            'params file that names a bundle wins.',
        ),
        DeclareLaunchArgument(
            'camera_view',
            default_value='forward',
            choices=list(CAMERA_VIEWS),
            description='How the cameras look: forward is along the ground, to any side. A bundle '
            'for other views is a warning. A params file that names a view wins.',
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution([SHARE, 'config', 'vehicle.yaml']),
            description='YAML file with the parameters of the node.',
        ),
        DeclareLaunchArgument(
            'cameras',
            default_value='[front, rear]',
            description='Names of the cameras: images are expected on <camera>/image_raw, '
            'results appear on segmentation/<camera>/mask and segmentation/<camera>/points.',
        ),
        DeclareLaunchArgument(
            'points_topic',
            default_value='points',
            description='Topic of the LiDAR (sensor_msgs/PointCloud2), whose points every camera '
            'labels.',
        ),
        DeclareLaunchArgument(
            'rviz',
            default_value='false',
            choices=['true', 'false'],
            description='Show labeled points, overlays and diagnostics of the cameras front and '
            'rear in rviz.',
        ),
    ]


def core() -> IncludeLaunchDescription:
    """Include the core launch file; it declares every other argument."""
    path = PathJoinSubstitution([SHARE, 'launch', 'segmentation.launch.py'])
    names = ('bundle', 'camera_view', 'params_file', 'cameras', 'points_topic')
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path),
        launch_arguments={name: LaunchConfiguration(name) for name in names}.items(),
    )


def viewer() -> Node:
    """Start rviz in the namespace of the node."""
    return Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=['-d', PathJoinSubstitution([SHARE, 'config', 'vehicle.rviz'])],
        parameters=[
            {'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)}
        ],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )


def generate_launch_description() -> LaunchDescription:
    """Describe arguments and processes."""
    return LaunchDescription([*arguments(), core(), viewer()])
