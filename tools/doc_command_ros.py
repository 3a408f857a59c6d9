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

"""Check commands of ROS 2 in documents: arguments of launch files, parameters and topics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
import re
from typing import Any

import yaml

from tools.doc_commands import ROOT
from tools.launch_arguments import launch_arguments
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.outputs import OUTPUTS
from uhr_seg_ros.ros.parameters.declaration import fitted
from uhr_seg_ros.ros.parameters.extrinsics import extrinsic_specs
from uhr_seg_ros.ros.parameters.regions import region_specs
from uhr_seg_ros.ros.parameters.settings import SPECS
from uhr_seg_ros.ros.parameters.spec import ParameterSpec
from uhr_seg_ros.ros.points.cloud_outputs import CLOUD_OUTPUTS

#: What the node subscribes to; documents remap these.
INPUTS = ('image_raw', 'camera_info', 'points', 'depth')

#: Topics of the node, below its name, that are no rows of a table.
_OTHER_TOPICS = {
    'label_info',
    'label_info_json',
    'ground_grid',
    'landing_sites',
    'landing_sites/detections',
    'objects',
    'segment/mask',
    'segment/status',
}


def check_launch(words: Sequence[str]) -> str:
    """Check a launch file and the arguments given to it: names, and values of which few are."""
    name, *given = words
    if not (ROOT / 'launch' / name).is_file():
        return f'no launch file {name}'
    declared = launch_arguments(ROOT / 'launch' / name)
    for word in given:
        argument, is_one, value = word.partition(':=')
        if not is_one:
            if word != '--show-args':
                return f'{word} is neither an argument nor --show-args'
        elif argument not in declared:
            return f'{name} has no argument {argument}'
        elif declared[argument] and value not in declared[argument]:
            return f'{argument}:={value}: expected one of {", ".join(declared[argument])}'
        elif argument in _specs() and (text := check_parameter([argument, value])):
            return text
    return ''


def check_node(words: Sequence[str]) -> str:
    """Check the arguments of the node: parameters, files of parameters and remapped topics."""
    left = list(words)
    while left:
        word = left.pop(0)
        if word in ('--ros-args', '--help', '--version'):
            continue
        if word not in ('-p', '-r', '--params-file', '--enclave') or not left:
            return f'the node does not know {word}'
        value = left.pop(0)
        if word == '-p':
            name, _, value = value.partition(':=')
            text = check_parameter([name, value])
        elif word == '-r':
            text = '' if value.partition(':=')[0] in INPUTS else f'no input to remap: {value}'
        else:
            text = _check_file(Path(value)) if word == '--params-file' else ''
        if text:
            return text
    return ''


def _check_file(path: Path) -> str:
    if not path.is_file():
        return f'no file {path}' if path.is_relative_to(ROOT) else ''
    # Files may hold parameters of other nodes too, deeper down.
    for node in yaml.safe_load(path.read_text(encoding='utf-8')).values():
        for name, value in _flat(node.get('ros__parameters', {})):
            if text := _objection(name, value):
                return f'{path.relative_to(ROOT)}: {text}'
    return ''


def _flat(values: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def check_parameter(words: Sequence[str]) -> str:
    """Check a name and a value, or what of them is there, as `ros2 param set` would."""
    if len(words) < 2:
        return ''
    return _objection(words[0], yaml.safe_load(words[1]))


def _objection(name: str, value: Any) -> str:
    """Return why the node refuses a value of a parameter, or an empty string."""
    spec = _specs().get(name)
    if spec is None:
        return f'the node has no parameter {name}'
    try:
        found = fitted(spec, value)
    except ConfigError as err:
        return str(err)
    if spec.limits and not spec.limits[0] <= found <= spec.limits[1]:
        return f'{name} is {found}: expected {spec.limits[0]} to {spec.limits[1]}'
    return spec.objection(found)


@cache
def _specs() -> Mapping[str, ParameterSpec]:
    every = (*SPECS, *region_specs(''), *extrinsic_specs(''))
    return {spec.name: spec for spec in every}


def check_topics(words: Sequence[str]) -> str:
    """Check names of topics of the node among words."""
    known = {each.name for each in OUTPUTS} | {each.name for each in CLOUD_OUTPUTS} | _OTHER_TOPICS
    names = (re.fullmatch(r'/segmentation/(.+)', word) for word in words)
    unknown = [found[1] for found in names if found and found[1] not in known]
    return f'the node has no topic ~/{", ~/".join(unknown)}' if unknown else ''
