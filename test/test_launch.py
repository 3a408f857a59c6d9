# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The launch files, loaded by the real launch where ROS 2 brings it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('launch', reason='launch comes with a ROS 2 installation, not as a wheel')
pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS 2 installation')

from launch import LaunchContext, LaunchDescription  # noqa: E402
from launch.actions import DeclareLaunchArgument  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

LAUNCH = Path(__file__).resolve().parents[1] / 'launch'
CORE = {
    'image_topic', 'bundle', 'backend', 'namespace', 'params_file', 'bag', 'use_sim_time',
    'log_level',
}  # fmt: skip
EXPECTED = {
    'segmentation.launch.py': CORE,
    'drone.launch.py': {'params_file', 'rviz'},
    'vehicle.launch.py': {'params_file', 'cameras'},
}


def load(name: str) -> LaunchDescription:
    source = PythonLaunchDescriptionSource(str(LAUNCH / name))
    return source.get_launch_description(LaunchContext())


@pytest.mark.parametrize('name', EXPECTED)
def test_arguments_are_there_and_described(name: str) -> None:
    arguments = {
        entity.name: entity
        for entity in load(name).entities
        if isinstance(entity, DeclareLaunchArgument)
    }
    assert EXPECTED[name] <= set(arguments)
    assert all(len(argument.description) > 10 for argument in arguments.values())
