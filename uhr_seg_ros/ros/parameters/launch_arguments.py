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

"""What the arguments of the launch files say, and what is wrong with what they are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
import re
from typing import NamedTuple

import yaml

from uhr_seg_ros.core.config_reader import quoting_hint
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.text import one_line, shown

#: Longest delay before the node starts again, s.
MAX_DELAY_S = 3600.0

OF_LAUNCH = ('launch-prefix', 'launch-prefix-filter', 'sigterm_timeout', 'sigkill_timeout')
"""Arguments that `launch` itself reads, whatever a launch file declares."""

_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*(?:/[A-Za-z][A-Za-z0-9_]*)*')
_NODE_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')
_TOPIC = re.compile(r'(?:/|~/)?[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*')

_TOPICS_HELP = (
    "expected a topic for each camera, such as camera_topics:='{front: /front/image_rect}', or "
    "several: '{front: {image: /front/image_rect, camera_info: /front/info}}'"
)


class CameraTopics(NamedTuple):
    """The topics of one camera under their real names; empty: the usual one, `<camera>/...`."""

    image: str = ''
    camera_info: str = ''
    depth: str = ''
    points: str = ''


def camera_fault(names: Sequence[str]) -> str:
    """Return what is wrong with the names of cameras, or return an empty text."""
    if list(names) in ([], ['']):
        return ''
    if bad := [name for name in names if not _CAMERA_NAME.fullmatch(name)]:
        return (
            f'cameras has {shown(bad[0])}: a name is letters, digits and _, a letter first; parts '
            'of it may be joined by /'
        )
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


def camera_topics(text: str) -> dict[str, CameraTopics]:
    """
    Read the launch argument `camera_topics`.

    Args:
        text: a mapping in YAML from names of cameras to their image topics, or to mappings with
            the keys of `CameraTopics`.

    Raises:
        ConfigError: it is none, or a name or topic is none.

    """
    said = f'launch argument camera_topics is {shown(text)}'
    try:
        content = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError) as err:
        problem = one_line(getattr(err, 'problem', None) or err, 100)
        msg = f'{said} ({problem}): {_TOPICS_HELP}'
        raise ConfigError(msg) from err
    if not isinstance(content, dict):
        msg = f'{said}: {_TOPICS_HELP}'
        raise ConfigError(msg)
    topics = {}
    for name, value in content.items():
        given = value if isinstance(value, dict) else {'image': value}
        if not isinstance(name, str) or camera_fault([name]) or not name:
            msg = f'{said}, {shown(name)} is no name of a camera: {_TOPICS_HELP}'
            raise ConfigError(msg)
        if unknown := set(map(str, given)) - set(CameraTopics._fields):
            keys = ', '.join(CameraTopics._fields)
            msg = f'{said}: {shown(min(unknown))} is none of {keys}'
            raise ConfigError(msg)
        for topic in given.values():
            if not isinstance(topic, str) or topic_fault(topic):
                msg = f'{said}, {shown(topic)} is no topic of {name}: {_TOPICS_HELP}'
                raise ConfigError(msg)
        topics[name] = CameraTopics(**given)
    return topics


def topic_fault(text: str) -> str:
    """Return what is wrong with the name of a topic, or return an empty text."""
    if _TOPIC.fullmatch(text):
        return ''
    return 'a topic has parts of letters, digits and _, joined by /, such as /camera/image_raw'


def node_name(text: str) -> str:
    """
    Check the launch argument `node_name`.

    Raises:
        ConfigError: no node can have that name.

    """
    if not _NODE_NAME.fullmatch(text):
        msg = (
            f'launch argument node_name is {shown(text)}: a name is letters, digits and _, no '
            'digit first; what is before it is the namespace'
        )
        raise ConfigError(msg)
    return text


def check_known(words: Iterable[str], names: Sequence[str], file: str) -> None:
    """
    Refuse arguments that a launch file does not have; `ros2 launch` passes over them.

    Args:
        words: as they were typed, such as `bundle:=city`.
        names: of all arguments.
        file: name of the launch file.

    Raises:
        ConfigError: there is an unknown one.

    """
    given = [word.partition(':=')[0] for word in words]
    unknown = [name for name in given if name not in (*names, *OF_LAUNCH)]
    if not unknown:
        return
    parts = []
    for name in unknown:
        near = get_close_matches(name, names, 1)
        parts.append(f'{shown(name)} (is it {near[0]}?)' if near else shown(name))
    msg = (
        f'{file} has no argument {", ".join(parts)}: see them with ros2 launch uhr_seg_ros '
        f'{file} --show-args; every other parameter of the node goes into a file, params_file:='
    )
    raise ConfigError(msg)


def respawn_delay_s(text: str) -> float:
    """
    Read the launch argument `respawn_delay`, s.

    Raises:
        ConfigError: it is no number from 0 to `MAX_DELAY_S`.

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
