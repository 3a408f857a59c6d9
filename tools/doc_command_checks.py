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

"""
Check a command of a document against what would take it: parsers, recipes, launch files.

Nothing is run. Programs that are not of this package are in `OF_OTHERS`, each with its reason; one
that is in no table is a fault, so that none is left out unnoticed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import cache
from importlib import import_module
import io
import logging
import re

from tools.doc_command_ros import check_launch, check_node, check_parameter, check_topics
from tools.doc_command_scripts import check_module, check_python, check_script
from tools.doc_commands import Command, ROOT
from uhr_seg_ros.cli.main import command_parser, COMMANDS, leaves
from uhr_seg_ros.comparison.plan import read_plan
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.networks.presets import NETWORKS
from uhr_seg_ros.training.config import read_config

#: First words of commands of others -> why they are not checked.
OF_OTHERS = {
    '7z': '7-Zip',
    'cd': 'the shell',
    'check-jsonschema': 'check-jsonschema',
    'colcon': 'colcon builds a workspace of ROS 2',
    'docker': 'Docker (test/test_platforms.py reads the compose file)',
    'export': 'the shell',
    'hadolint': 'hadolint',
    'git': 'git',
    'pip': 'pip: what is installed changes the environment',
    'pipx': 'pipx',
    'pre-commit': 'pre-commit',
    'python3 -m venv': 'Python',
    'ray start': 'Ray, which would stay',
    'ros2 bag': 'ros2 bag, whose topics are checked',
    'ros2 launch': 'launch files of others',
    'ros2 lifecycle': 'ros2 lifecycle',
    'ros2 param describe': 'ros2 param',
    'ros2 pkg': 'ros2 pkg',
    'ros2 run diagnostic_aggregator': 'diagnostic_aggregator',
    'ros2 run plotjuggler': 'PlotJuggler',
    'ros2 run tf2_ros': 'tf2_ros',
    'ros2 service': 'ros2 service (test/ros/test_services.py)',
    'ros2 security': 'ros2 security (test/ros/test_security.py)',
    'rosdep': 'rosdep',
    'source': 'the shell',
    'sudo': 'the system',
    'sysctl': 'the kernel',
    'trtexec': 'TensorRT, on a GPU',
    'yolo': 'YOLO26 of ultralytics, which is no dependency: AGPL',
}


def fault(command: Command) -> str:
    """Return what is wrong with a command in one line, or an empty string."""
    for beginning, check in CHECKS.items():
        if re.match(rf'{beginning}(?=\s|$)', command.text):
            return check(command)
    if other(command):
        return check_topics(command.words) if command.words[:2] == ('ros2', 'bag') else ''
    return f'neither a check nor an entry of OF_OTHERS for `{command.words[0]}`'


def other(command: Command) -> str:
    """Return why a command of another program is not checked, or an empty string."""
    found = [why for name, why in OF_OTHERS.items() if f'{command.text} '.startswith(f'{name} ')]
    return found[0] if found else ''


def uhr_seg_words(command: Command) -> tuple[str, ...]:
    """Return what follows `uhr_seg`, however the document calls it; nothing for other programs."""
    words = command.words
    if 'uhr_seg_ros.cli' in words:
        return words[words.index('uhr_seg_ros.cli') + 1 :]
    if words[:2] == ('bash', 'scripts/demo'):
        return ('demo', *words[2:])
    if words[:4] == ('ros2', 'run', 'uhr_seg_ros', 'uhr_seg'):
        return words[4:]
    return words[1:] if words[0].rpartition('/')[2] == 'uhr_seg' else ()


def _check_uhr_seg(command: Command) -> str:
    name, *words = uhr_seg_words(command) or ('',)
    if name not in COMMANDS:
        return f'`uhr_seg {name}` is no command' if name else ''
    module = import_module(COMMANDS[name][0])
    warnings = _Warnings()
    logging.getLogger('uhr_seg_ros').addHandler(warnings)
    try:
        if hasattr(module, 'update_words') and words:
            words = list(module.update_words(words))
        found, text = _parse(_parser(name, command.whole), words)
    finally:
        logging.getLogger('uhr_seg_ros').removeHandler(warnings)
    if found is None:
        return text
    return '; '.join(warnings.texts) or _check_files(found)


@cache
def _parser(name: str, whole: bool) -> CommandParser:
    """Return the parser of a command; that of a part of one requires nothing."""
    parser = command_parser(name)
    if not whole:
        for each in (parser, *leaves(parser)):
            each._old_places.clear()
            for action in each._actions:
                action.required = False
    return parser


def _parse(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[argparse.Namespace | None, str]:
    """Return what a parser makes of words, or None with its complaint."""
    said = io.StringIO()
    with redirect_stderr(said):
        try:
            return parser.parse_args(words), ''
        except SystemExit:
            return None, said.getvalue().strip().splitlines()[-1]


def _check_files(arguments: argparse.Namespace) -> str:
    """Read recipe and plan, and look up the network, as the command would do first."""
    try:
        for name, read in (('config', _read_recipe), ('plan', read_plan)):
            path = getattr(arguments, name, None)
            if path and str(path).startswith('config/'):
                read(ROOT / path, *([arguments.effort] if name == 'config' else []))
    except UhrSegError as err:
        return str(err)
    network = getattr(arguments, 'network', None) or ''
    unknown = network and ':' not in network and network not in NETWORKS
    return f'--network {network} is none of networks/presets.py' if unknown else ''


_read_recipe = cache(read_config)


class _Warnings(logging.Handler):
    """Keeps what is said of names of the last release."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _check_script(command: Command) -> str:
    return check_script(command, _check_uhr_seg)


#: Beginning of a command, a regular expression -> what checks it. The first one that fits does.
CHECKS: dict[str, Callable[[Command], str]] = {
    r'(\.venv/bin/)?uhr_seg': _check_uhr_seg,
    'ros2 run uhr_seg_ros uhr_seg': _check_uhr_seg,
    'bash scripts/demo': _check_uhr_seg,
    r'torchrun .*-m uhr_seg_ros\.cli': _check_uhr_seg,
    r'python3? -m uhr_seg_ros\.cli': _check_uhr_seg,
    r'bash (src/uhr_seg_ros/scripts/\w+|scripts/\w+|\.ci/run)': _check_script,
    r'(\.venv/bin/)?python3? -m (tools|uhr_seg_ros)\.\w+\S*': check_module,
    r'(\.venv/bin/)?python3? (-c|scripts/\w+)': check_python,
    'ros2 launch uhr_seg_ros': lambda command: check_launch(command.words[3:]),
    'ros2 run uhr_seg_ros segmentation_node': lambda command: check_node(command.words[4:]),
    'segmentation_node': lambda command: check_node(command.words[1:]),
    'ros2 param set': lambda command: check_parameter(command.words[4:]),
    'ros2 topic (echo|hz|info)': lambda command: check_topics(command.words),
}
