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

"""The processes of a launch file: the node, and rviz, a manager and a recording beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import ExecuteProcess, RegisterEventHandler, SetEnvironmentVariable
from launch.event_handlers import OnShutdown
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.logging import get_logger
from launch.substitutions import EnvironmentVariable
from launch_ros.actions import Node

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.resources import expand_home
from uhr_seg_ros.core.subprocesses import find_tool
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.ros.parameters.launch_description import (
    describe,
    ends_the_launch,
    PACKAGE,
    program,
)
from uhr_seg_ros.ros.parameters.launch_plan import NodePlan, plan_node, rviz_remappings
from uhr_seg_ros.ros.parameters.launch_table import arguments, LaunchFile
from uhr_seg_ros.ros.parameters.parameter_files import write_parameters

# The environment variable that names a profile, by major version of Fast DDS; version 3 still
# reads the old one, with a warning.
PROFILE_VARIABLES = {2: 'FASTRTPS_DEFAULT_PROFILES_FILE', 3: 'FASTDDS_DEFAULT_PROFILES_FILE'}


def describe_node(file: LaunchFile) -> LaunchDescription:
    """Describe a launch file that starts the node, and what belongs to it."""
    share = get_package_share_directory(PACKAGE)
    rows = arguments(file, share)
    return describe(file.name, rows, partial(_processes, file, share), _large_images(share))


def _large_images(share: str) -> SetEnvironmentVariable:
    """Return every process of this launch the Fast DDS profile, unless the user has chosen one."""
    profile: Any = f'{share}/config/dds/fastdds_large_images.xml'
    for name in PROFILE_VARIABLES.values():
        profile = EnvironmentVariable(name, default_value=profile)
    fast_dds = 2 if os.environ.get('ROS_DISTRO') in ('humble', 'jazzy') else 3
    return SetEnvironmentVariable(PROFILE_VARIABLES[fast_dds], profile)


def _processes(
    file: LaunchFile,
    share: str,
    context: LaunchContext,
    given: Mapping[str, str],
    is_asked_for: bool,
) -> list[LaunchDescriptionEntity]:
    around = context.launch_configurations.get('ros_namespace', '')
    plan = plan_node(file, given, around)
    for remark in plan.remarks:
        get_logger(PACKAGE).warning(remark)
    others: list[LaunchDescriptionEntity] = []
    if given.get('rviz') == 'true':
        others.append(_viewer(f'{share}/config/{file.rviz}', plan, given, context))
    if file.manager:
        others += _manager(plan, context)
    if given['bag']:
        others.append(_bag_player(given['bag']))
    files = [str(plan.params_file)]
    if plan.parameters:
        files.append(_until_the_end(plan.parameters, others))
    return [_node(plan, files, given['log_level'], is_asked_for), *others]


def _until_the_end(values: Mapping[str, Any], entities: list[LaunchDescriptionEntity]) -> str:
    """Write a file of parameters that wins, and let the end of the launch remove it."""
    file = write_parameters(values)
    remove = OnShutdown(on_shutdown=lambda *_: file.unlink(missing_ok=True))
    entities.append(RegisterEventHandler(remove))
    return str(file)


def _node(plan: NodePlan, files: list[str], log_level: str, is_asked_for: bool) -> Node:
    respawns = plan.respawn_delay_s is not None
    return Node(
        package=PACKAGE,
        executable='segmentation_node',
        name=plan.name,
        namespace=plan.namespace,
        parameters=files,
        remappings=list(plan.remappings),
        ros_arguments=['--log-level', log_level],
        respawn=respawns,
        respawn_delay=plan.respawn_delay_s,
        on_exit=None if respawns else ends_the_launch(is_asked_for),
        output='screen',
    )


def _viewer(
    configuration: str, plan: NodePlan, given: Mapping[str, str], context: LaunchContext
) -> Node:
    """Start rviz in the namespace of the node, on its topics."""
    install = 'sudo apt install ros-$ROS_DISTRO-rviz2, or leave rviz:=true out'
    program('rviz2', 'rviz2', install, context)
    text = Path(configuration).read_text(encoding='utf-8')
    return Node(
        package='rviz2',
        executable='rviz2',
        namespace=plan.namespace,
        arguments=['-d', configuration],
        remappings=list(rviz_remappings(text, plan.name, given)),
        parameters=[{'use_sim_time': plan.use_sim_time}],
    )


def _manager(plan: NodePlan, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Let Nav2's lifecycle manager configure and activate the node."""
    install = 'sudo apt install ros-$ROS_DISTRO-nav2-lifecycle-manager'
    program('nav2_lifecycle_manager', 'lifecycle_manager', install, context)
    # The node forms no bond; with a timeout, the manager would take that for a failure.
    parameters = {'autostart': True, 'node_names': [plan.name], 'bond_timeout': 0.0}
    found: list[LaunchDescriptionEntity] = []
    manager = Node(
        package='nav2_lifecycle_manager',
        executable='lifecycle_manager',
        name=f'lifecycle_manager_{plan.name}',
        namespace=plan.namespace,
        parameters=[_until_the_end(parameters, found)],
        output='screen',
    )
    return [manager, *found]


def _bag_player(bag: str) -> ExecuteProcess:
    """
    Play a recording.

    A few messages are read ahead, since a 4K image has 25 MB, and the node gets 5 s to start.
    """
    path = expand_home(bag)
    if not path.exists():
        msg = f'launch argument bag is {shown(str(path.absolute()), 300)}, which is not there'
        raise ConfigError(msg)
    if not find_tool('ros2'):
        msg = 'bag is played by ros2 bag play, and there is no ros2 in PATH: source ROS 2 first'
        raise ConfigError(msg)
    options = ['--clock', '100', '--read-ahead-queue-size', '8', '--delay', '5']
    return ExecuteProcess(cmd=['ros2', 'bag', 'play', str(path), *options], output='screen')
