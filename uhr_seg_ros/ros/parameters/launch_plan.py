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

"""How the node is started: what the arguments of a launch file and its parameter file come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
from pathlib import Path
import re
from typing import Any

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.ros.parameters.launch_arguments import (
    camera_names,
    camera_topics,
    CameraTopics,
    node_name,
    respawn_delay_s,
    topic_fault,
)
from uhr_seg_ros.ros.parameters.launch_table import LaunchFile, parameter_value, SET_BY_ARGUMENT
from uhr_seg_ros.ros.parameters.parameter_files import (
    FileParameters,
    full_name,
    parameter_file,
)

NAME = 'segmentation'
"""Of the node, where nobody gives it another one."""

Remapping = tuple[str, str]

_INPUTS = {
    'image_raw': 'image_topic',
    'camera_info': 'camera_info_topic',
    'depth': 'depth_topic',
}
"""Topic of a camera without a name -> the argument for it."""


@dataclass(frozen=True)
class NodePlan:
    """
    How the node is started.

    Attributes:
        name: of the node.
        namespace: as given, relative or absolute.
        params_file: what the user, or the package, says.
        parameters: what wins over it.
        remappings: of topics, as pairs.
        respawn_delay_s: time until the node is started again, s; None: it is not.
        use_sim_time: whether rviz follows /clock, too.
        remarks: what to log.

    """

    name: str
    namespace: str
    params_file: Path
    parameters: Mapping[str, Any]
    remappings: tuple[Remapping, ...]
    respawn_delay_s: float | None
    use_sim_time: bool
    remarks: tuple[str, ...]


def plan_node(file: LaunchFile, given: Mapping[str, str], around: str = '') -> NodePlan:
    """
    Decide how the node is started: an argument wins over the file, and that over defaults.

    Args:
        file: whose defaults count.
        given: every argument; empty where nobody gave one that sets a parameter.
        around: namespace that the launch file is included in.

    Raises:
        ConfigError: an argument is not possible.

    """
    name = node_name(given['node_name'])
    path = parameter_file(given['params_file'])
    inside = FileParameters(path, full_name(name, around, given['namespace']))
    parameters = _parameters(file, given, inside.values)
    topics = camera_topics(given['camera_topics'])
    cameras = _cameras(file, given, inside.values, topics)
    if cameras != inside.values.get('cameras', ['']):
        parameters['cameras'] = cameras
    remappings, remarks = _remappings(given, cameras, topics)
    respawn_delay = respawn_delay_s(given['respawn_delay'])
    return NodePlan(
        name,
        given['namespace'],
        path,
        parameters,
        tuple(remappings),
        respawn_delay if given['respawn'] == 'true' else None,
        bool(parameters.get('use_sim_time', inside.values.get('use_sim_time', False))),
        tuple(filter(None, [inside.remark, *remarks])),
    )


def tf_remappings(given: Mapping[str, str]) -> list[Remapping]:
    """Return how transforms are taken in the namespace: without one, nothing changes."""
    if given['tf_in_namespace'] != 'true':
        return []
    return [('/tf', 'tf'), ('/tf_static', 'tf_static')]


def rviz_remappings(
    configuration: str, name: str, given: Mapping[str, str]
) -> tuple[Remapping, ...]:
    """
    Return what rviz has to remap to show what its configuration names.

    Args:
        configuration: text of a file of rviz whose topics begin with `segmentation/`.
        name: of the node.
        given: every argument.

    """
    topics = dict.fromkeys(re.findall(rf'Value: ({NAME}/\S+)', configuration))
    renamed = [(each, name + each.removeprefix(NAME)) for each in topics if name != NAME]
    return (('image_raw', given['image_topic']), *renamed, *tf_remappings(given))


def _parameters(
    file: LaunchFile, given: Mapping[str, str], inside: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters that win over those inside of the file."""
    texts = {name: value for name, value in file.defaults.items() if name not in inside}
    texts |= file.forced
    texts |= {name: given[name] for name in SET_BY_ARGUMENT if given[name]}
    parameters = {
        name: parameter_value(name, text)
        for name, text in texts.items()
        if name in SET_BY_ARGUMENT
    }
    if given['use_sim_time']:
        parameters['use_sim_time'] = given['use_sim_time'] == 'true'
    return parameters


def _cameras(
    file: LaunchFile,
    given: Mapping[str, str],
    inside: Mapping[str, Any],
    topics: Mapping[str, CameraTopics],
) -> list[str]:
    """Return the names of the cameras; one empty name for a camera without a name."""
    cameras = camera_names(given['cameras'])
    if not given['cameras']:
        in_file = inside.get('cameras')
        if isinstance(in_file, list) and in_file:
            cameras = in_file
        else:
            cameras = list(topics) or camera_names(file.defaults.get('cameras', ''))
    if unknown := [name for name in topics if name not in cameras]:
        msg = (
            f'launch argument camera_topics has {shown(unknown[0])}, which is none of the cameras '
            f'{shown(json.dumps(cameras))}: name it in cameras, too'
        )
        raise ConfigError(msg)
    return cameras


def _remappings(
    given: Mapping[str, str], cameras: list[str], topics: Mapping[str, CameraTopics]
) -> tuple[list[Remapping], list[str]]:
    """Return the remappings of topics, and what to tell about arguments that do nothing."""
    found, remarks = tf_remappings(given), []
    for topic, argument in _INPUTS.items():
        _check_topic(argument, given[argument])
        if '' in cameras:
            found.append((topic, given[argument]))
        elif given[argument] != topic:
            remarks.append(
                f'launch argument {argument} is for a camera without a name, and is ignored: say '
                f"camera_topics:='{{{cameras[0]}: ...}}'"
            )
    points = given['points_topic']
    if points:
        _check_topic('points_topic', points)
    for camera in cameras:
        of_camera = topics.get(camera, CameraTopics())
        usual = {
            'image_raw': of_camera.image,
            'camera_info': of_camera.camera_info,
            'depth': of_camera.depth,
            'points': of_camera.points or points,
        }
        prefix = f'{camera}/' if camera else ''
        found += [(prefix + name, topic) for name, topic in usual.items() if topic]
    return found, remarks


def _check_topic(argument: str, topic: str) -> None:
    if fault := topic_fault(topic):
        msg = f'launch argument {argument} is {shown(topic)}: {fault}'
        raise ConfigError(msg)
