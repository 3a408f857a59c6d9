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

"""What the launch files say and check before the node starts; needs neither launch nor rclpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
import re
from typing import Any

import yaml

from uhr_seg_ros.core.bundle import installed_bundles, peek_domain
from uhr_seg_ros.core.config_reader import quoting_hint
from uhr_seg_ros.core.errors import ConfigError, UhrSegError
from uhr_seg_ros.core.resources import share_folders
from uhr_seg_ros.core.text import one_line, printable, shortened, shown

#: The fixed name of the node.
NODE = 'segmentation'

#: Longest list of bundles, characters.
MAX_TEXT = 2000

#: Longest delay before the node starts again, s.
MAX_DELAY_S = 3600.0

_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


def bundles_text() -> str:
    """Return the installed bundles in one line, each with what it is for."""
    text = '; '.join(map(_bundle_text, installed_bundles().items())) or 'none'
    return shortened(printable(text), MAX_TEXT)


def _bundle_text(bundle: tuple[str, Path]) -> str:
    name, path = bundle
    try:
        return f'{name} ({peek_domain(path)})'
    except UhrSegError as err:  # a launch file lists what there is, whatever state it is in
        return f'{name} (not usable: {one_line(err, 200)})'


def street_text() -> str:
    """Return the two commands that make a bundle for forward views."""
    command = 'ros2 run uhr_seg_ros uhr_seg'
    recipe = 'config/train/hlrc_s_street.yaml'
    found = (share / recipe for share in share_folders() if (share / recipe).is_file())
    return (
        'To make one for streets: (1) with the weights that were published for Cityscapes, '
        f'`{command} convert WEIGHTS.pth --network hlrc_cityscapes --output city`, then '
        f'bundle:=city; (2) with labeled images, `{command} train --config '
        f'{next(found, recipe)} --root IMAGES --output run`, then bundle:=run/bundle '
        '(docs/training.md; with your own images: a copy of that file with `dataset: folder`)'
    )


def camera_fault(names: Sequence[str]) -> str:
    """Return what is wrong with the names of cameras, or return an empty text."""
    if list(names) in ([], ['']):
        return ''
    if bad := [name for name in names if not _CAMERA_NAME.fullmatch(name)]:
        return f'cameras has {shown(bad[0])}: a name is letters, digits and _, a letter first'
    if len(set(names)) < len(names):
        return f'cameras {shown(list(names))} names a camera twice'
    return ''


def camera_names(text: str) -> list[str]:
    """
    Read the launch argument `cameras`.

    Args:
        text: a list in YAML, such as `[front, rear]`; empty: one camera without a name.

    Returns:
        The names; one empty name for the camera without a name.

    Raises:
        ConfigError: it is no such list, or a name is none.

    """
    expected = "expected a list of names, such as cameras:='[front, rear]'"
    try:
        names = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as err:  # a date that there is not is a ValueError
        problem = one_line(getattr(err, 'problem', None) or err, 100)
        msg = f'launch argument cameras is {shown(text)} ({problem}): {expected}'
        raise ConfigError(msg) from err
    if names is None or names == []:
        return ['']
    if isinstance(names, str) and _CAMERA_NAME.fullmatch(names):
        expected = f"expected a list, for one camera cameras:='[{names}]'"
    if not isinstance(names, list):
        msg = f'launch argument cameras is {shown(text)}: {expected}'
        raise ConfigError(msg)
    for name in names:
        if not isinstance(name, str):
            hint = quoting_hint(name)
            msg = f'launch argument cameras is {shown(text)}, {shown(name)} is no name{hint}'
            raise ConfigError(f'{msg}; {expected}')
    if fault := camera_fault(names):
        msg = f'launch argument {fault}; {expected}'
        raise ConfigError(msg)
    return names


def parameter_file(text: str) -> Path:
    """
    Check the launch argument `params_file`; `launch_ros` starts nodes without what is missing.

    Args:
        text: path; `~` is the home folder.

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
        f'launch argument params_file is {shown(str(path.absolute()), 300)}, which {what}: give a '
        'YAML file of parameters, such as a copy of config/drone.yaml or config/vehicle.yaml'
    )
    raise ConfigError(msg)


def file_remark(path: Path, namespace: str) -> str:
    """
    Say if nothing in a parameter file is for the node; ROS passes over that without a word.

    Args:
        path: the file; what cannot be read is left to the node, which says why.
        namespace: of the node.

    Returns:
        One line; empty where something is for the node.

    """
    try:
        content = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError):
        return ''
    names = list(_nodes(content))
    node = '/'.join(['', *filter(None, namespace.split('/')), NODE])
    if any(_pattern(name).fullmatch(node) for name in names):
        return ''
    found = (
        f'has parameters of {", ".join(map(shown, names[:5]))}'
        if names
        else ('has no ros__parameters')
    )
    return (
        f'params_file {shown(str(path), 300)} {found}, and none for {node}: the node runs with '
        f'its defaults. Begin the file with /**: or {node}:, and ros__parameters: below it'
    )


def _nodes(content: Any, name: str = '') -> Iterator[str]:
    """Name the nodes that a parameter file is for, such as `/**`."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == 'ros__parameters':
            yield name
        elif isinstance(key, str):
            yield from _nodes(value, f'{name}/{key.strip("/")}')


def _pattern(name: str) -> re.Pattern[str]:
    """Turn the name of a node with wildcards into what it stands for, as rcl does."""
    wild = {'**': r'(?:/\w+)*', '*': r'/\w+'}
    parts = name.split('/')[1:]
    return re.compile(''.join(wild.get(part, f'/{re.escape(part)}') for part in parts))


def respawn_delay_s(text: str) -> float:
    """
    Read the launch argument `respawn_delay`, s.

    Raises:
        ConfigError: it is no number from 0 to `MOST_DELAY_S`.

    """
    try:
        delay = float(text)
    except ValueError:
        delay = -1.0
    if not 0.0 <= delay <= MAX_DELAY_S:
        msg = (
            f'launch argument respawn_delay is {shown(text)}: expected seconds, 0 to '
            f'{MAX_DELAY_S:g}'
        )
        raise ConfigError(msg)
    return delay
