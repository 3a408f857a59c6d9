# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Several cameras of a vehicle, served by one segmentation node."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare('uhr_seg_ros')


def core() -> IncludeLaunchDescription:
    """Include the core launch file; it declares every other argument."""
    path = PathJoinSubstitution([SHARE, 'launch', 'segmentation.launch.py'])
    names = ('params_file', 'cameras')
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path),
        launch_arguments={name: LaunchConfiguration(name) for name in names}.items(),
    )


def generate_launch_description() -> LaunchDescription:
    """Describe arguments and processes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=PathJoinSubstitution([SHARE, 'config', 'vehicle.yaml']),
                description='YAML file with the parameters of the node.',
            ),
            DeclareLaunchArgument(
                'cameras',
                default_value='[front, left, right]',
                description='Names of the cameras: images are expected on <camera>/image_raw, '
                'results appear on segmentation/<camera>/mask.',
            ),
            core(),
        ]
    )
