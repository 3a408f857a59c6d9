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

"""A file of parameters as ROS reads it: whether it is there, and what in it is for a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
import re
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import shown

EVERY_NODE = '/**/**'
"""Stands for every node, as `/**` does; but no file has it, and what comes later wins by name."""


def parameter_file(text: str, argument: str = 'launch argument params_file') -> Path:
    """
    Check the path of a parameter file; `launch_ros` starts nodes without what is missing.

    Args:
        text: path; `~` is the home folder.
        argument: what it is given by.

    Raises:
        ConfigError: there is no such file.

    """
    try:
        path = Path(text).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError, RuntimeError):  # too long; a NUL; the home of nobody
        path, is_file, is_folder = Path(text), False, False
    if is_file:
        return path
    what = 'is a folder' if is_folder else 'is not there'
    msg = (
        f'{argument} is {shown(str(path.absolute()), 300)}, which {what}: give a '
        'YAML file of parameters, such as a copy of config/drone.yaml or config/vehicle.yaml'
    )
    raise ConfigError(msg)


class FileParameters:
    """
    What a file of parameters has for a node; what cannot be read is left to the node to tell.

    Args:
        path: the file.
        node: fully qualified name of the node, such as `/robot/segmentation`.

    Attributes:
        values: name -> value, such as `mask.scale` -> 0.5; of several the last one, as in ROS.
        remark: what to tell if nothing is for the node, in one line; ROS passes over that
            without a word.

    """

    def __init__(self, path: Path, node: str) -> None:
        self.values: dict[str, Any] = {}
        self.remark = ''
        try:
            content = yaml.safe_load(path.read_bytes())
        except (OSError, ValueError, yaml.YAMLError):
            return
        sections = list(_sections(content))
        fitting = [values for name, values in sections if _pattern(name).fullmatch(node)]
        for values in fitting:
            self.values |= dict(_flat(values))
        if not fitting:
            self.remark = _nothing_for(path, node, [name for name, _ in sections])


def full_name(name: str, *namespaces: str) -> str:
    """Return the fully qualified name of a node; an absolute namespace replaces those before."""
    around = ''
    for namespace in namespaces:
        around = namespace if namespace.startswith('/') else f'{around}/{namespace}'
    return '/'.join(['', *filter(None, around.split('/')), name])


def write_parameters(values: Mapping[str, Any]) -> Path:
    """
    Write a file of parameters that wins over every file before it, whatever its sections are.

    A node takes of several sections those whose names fit, in the order in which the names were
    seen first: so a section of the same name as one before would lose to what follows that.

    Returns:
        The file, in the folder for temporary files; the node reads it whenever it is started.

    """
    with NamedTemporaryFile('w', prefix='uhr_seg_', suffix='.yaml', delete=False) as file:
        yaml.safe_dump({EVERY_NODE: {'ros__parameters': dict(values)}}, file)
    return Path(file.name)


def _nothing_for(path: Path, node: str, names: list[str]) -> str:
    found = (
        f'has parameters of {", ".join(map(shown, names[:5]))}'
        if names
        else 'has no ros__parameters'
    )
    return (
        f'params_file {shown(str(path), 300)} {found}, and none for {node}: the node runs with '
        f'its defaults. Begin the file with /**: or {node}:, and ros__parameters: below it'
    )


def _sections(content: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """Return the nodes that a file is for, such as `/**`, and what it has for each."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == 'ros__parameters':
            yield name, value
        elif isinstance(key, str):
            yield from _sections(value, f'{name}/{key.strip("/")}')


def _flat(content: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """Return parameters by their full names, such as `mask.scale`."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict):
            yield from _flat(value, f'{name}{key}.')
        else:
            yield f'{name}{key}', value


def _pattern(name: str) -> re.Pattern[str]:
    """Turn the name of a node with wildcards into what it stands for, as rcl does."""
    wild = {'**': r'(?:/\w+)*', '*': r'/\w+'}
    parts = name.split('/')[1:]
    return re.compile(''.join(wild.get(part, f'/{re.escape(part)}') for part in parts))
