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

"""The table of the launch files: what differs between them, and every argument of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import json
from typing import Any

import yaml

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import one_line, shown
from uhr_seg_ros.ros.parameters.declaration import fitted
from uhr_seg_ros.ros.parameters.launch_texts import bundles_text, street_text
from uhr_seg_ros.ros.parameters.settings import SPECS

BOOL = ('true', 'false')

SET_BY_ARGUMENT = (
    'bundle',
    'camera_view',
    'backend',
    'precision',
    'input_size',
    'image_transport',
    'max_rate_hz',
    'detail',
    'latency.budget_ms',
    'mask.scale',
    'autostart',
)
"""Parameters of the node that have an argument of the same name."""

_SPECS = {spec.name: spec for spec in SPECS}


@dataclass(frozen=True)
class LaunchFile:
    """
    What one launch file of the node does in its own way.

    Attributes:
        name: of the file, such as `drone.launch.py`.
        params: name of the parameter file in the folder `config`.
        defaults: argument -> value where nobody gives one and the parameter file has none.
        forced: likewise, but the parameter file does not count.
        rviz: name of the configuration of rviz in the folder `config`; empty: none.
        needs_bundle: no bundle that comes with the package fits.
        manager: Nav2's lifecycle manager configures and activates the node.

    """

    name: str
    params: str = 'drone.yaml'
    defaults: Mapping[str, str] = field(default_factory=dict)
    forced: Mapping[str, str] = field(default_factory=dict)
    rviz: str = ''
    needs_bundle: bool = False
    manager: bool = False


@dataclass(frozen=True)
class Argument:
    """An argument; a `default` of None is none: it has to be given."""

    name: str
    text: str
    default: str | None = ''
    choices: tuple[str, ...] = ()


def arguments(file: LaunchFile, share: str) -> list[Argument]:
    """
    Return the arguments of a launch file of the node.

    Those that set a parameter are empty by default, which leaves it to the parameter file: so a
    launch file that includes this one can hand an argument on that nobody gave.

    Args:
        file: which one.
        share: the share folder of the package.

    """
    texts = {
        'bundle': 'Model bundle: a folder, or the name of an installed model, which are: '
        f'{bundles_text()}.',
        'camera_view': 'How the cameras look: nadir is straight down, oblique down at an angle, '
        'forward along the ground. A bundle for other views is a warning.',
    }
    rows = [_of_parameter(file, name, texts.get(name, '')) for name in SET_BY_ARGUMENT]
    rows.append(
        Argument(
            'cameras',
            "Names of the cameras, such as '[front, rear]' or '[robot/front]': images on "
            f'<camera>/image_raw, results on ~/<camera>/mask. {_otherwise(file, "cameras")}',
        )
    )
    rows += [
        Argument(
            'camera_topics',
            'Topics of the cameras where they have other names: '
            "'{front: /sensing/front/image_rect_color}', or of each a mapping with image, "
            'camera_info, depth and points. camera_info is beside the images unless given.',
        ),
        Argument(
            'image_topic',
            'Topic of the images of a camera without a name (sensor_msgs/Image). Compressed '
            'images are expected on <image_topic>/compressed.',
            'image_raw',
        ),
        Argument(
            'camera_info_topic',
            'Topic of its calibration, by default the one beside the images; nothing waits for '
            'it.',
            'camera_info',
        ),
        Argument(
            'depth_topic',
            'Topic of its depth images, to label where cloud.source is depth, their camera_info '
            'beside them. Named cameras have theirs on <camera>/depth.',
            'depth',
        ),
        Argument(
            'points_topic',
            'Topic of the points to label (sensor_msgs/PointCloud2), one for all cameras; empty: '
            'points, or <camera>/points of each. Used with cloud.enabled.',
            file.defaults.get('points_topic', ''),
        ),
        Argument(
            'tf_in_namespace',
            'Take /tf and /tf_static in the namespace of the node, as Nav2 does; false: the '
            'global ones.',
            'true',
            BOOL,
        ),
        Argument('namespace', 'Namespace of the node, its topics and its images.'),
        Argument('node_name', 'Name of the node, and first part of its topics.', 'segmentation'),
        Argument(
            'params_file',
            'YAML file with the parameters of the node; arguments that are given win.',
            f'{share}/config/{file.params}',
        ),
        Argument('bag', 'A rosbag2 recording to play; empty: none.'),
        Argument(
            'respawn',
            'Start the node again whenever its process ends; else its end ends the launch, with '
            'its exit code.',
            'false',
            BOOL,
        ),
        Argument(
            'respawn_delay', 'Seconds between the end of a process and the next start.', '2.0'
        ),
        Argument(
            'use_sim_time',
            'Follow /clock, as played by a bag or a simulator. Empty: as params_file says, else '
            'false.',
            '',
            ('', *BOOL),
        ),
        Argument(
            'log_level',
            'Least severe messages to log.',
            'info',
            ('debug', 'info', 'warn', 'error', 'fatal'),
        ),
    ]
    if file.rviz:
        rows.append(
            Argument(
                'rviz',
                f'Show the results in rviz, as config/{file.rviz} arranges them.',
                'false',
                BOOL,
            )
        )
    return rows


def parameter_value(name: str, text: str) -> Any:
    """
    Read an argument that sets a parameter.

    Args:
        name: of both.
        text: as it was typed.

    Raises:
        ConfigError: it is no value of the parameter; ranges are left to the node.

    """
    spec = _SPECS[name]
    value: Any = text
    if not isinstance(spec.default, str):
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as err:
            msg = f'launch argument {name} is {shown(text)}: {one_line(err, 100)}'
            raise ConfigError(msg) from err
    try:
        value = fitted(spec, value)
    except ConfigError as err:
        msg = f'launch argument: {err}'
        raise ConfigError(msg) from err
    if fault := spec.objection(value):
        msg = f'launch argument {fault}'
        raise ConfigError(msg)
    return value


def _of_parameter(file: LaunchFile, name: str, text: str) -> Argument:
    spec = _SPECS[name]
    choices = tuple(map(str, spec.choices)) or (BOOL if isinstance(spec.default, bool) else ())
    if name == 'bundle' and file.needs_bundle:
        return Argument(name, f'{text} It has to be given: {street_text()}.', None)
    choices = ('', *choices) if choices else ()
    return Argument(name, f'{text or spec.description} {_otherwise(file, name)}', '', choices)


def _otherwise(file: LaunchFile, name: str) -> str:
    """Return what holds where an argument is not given."""
    if name in file.forced:
        return f'Empty: {file.forced[name]}.'
    default = file.defaults.get(name)
    if default is None:
        value = _SPECS[name].default
        default = value if isinstance(value, str) else json.dumps(value)
    if name == 'cameras':
        default = default if name in file.defaults else 'one without a name'
    return f'Empty: as params_file says, else {default}.'
