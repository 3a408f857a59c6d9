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

"""A node that somebody else wrote: started by a command, ended with all that it started."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
import os
from pathlib import Path
import re
import shlex
import signal
import subprocess
import time

import psutil

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.subprocesses import find_tool, program_child
from uhr_seg_ros.replay.node_process import clean_shared_memory, end_of_log

#: What the processes of a command get one after the other, and how long they have then, s.
ENDING = ((signal.SIGINT, 5.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))

_PLACEHOLDER = re.compile(r'\{([A-Za-z_]+)\}')
_POLL_S = 0.05


def command_words(command: str, values: Mapping[str, str]) -> list[str]:
    """
    Split a command as a shell does, without running one, and fill in its placeholders.

    Example:
        >>> command_words('ros2 run pkg node -r image:={image_topic}', {'image_topic': '/cam'})
        ['ros2', 'run', 'pkg', 'node', '-r', 'image:=/cam']

    Args:
        command: with placeholders such as `{image_topic}`; `{{` and `}}` stand for braces.
        values: placeholder -> text.

    Raises:
        ConfigError: it is empty, has an open quote, or a placeholder that is not known.

    """
    return [_filled(word, values) for word in split_command(command)]


def split_command(command: str) -> list[str]:
    """
    Split a command as a shell does; its placeholders stay.

    Raises:
        ConfigError: it is empty, or has an open quote.

    """
    try:
        words = shlex.split(command)
    except ValueError as err:
        msg = f'--command {command!r} cannot be split into words: {err}'
        raise ConfigError(msg) from err
    if not words:
        msg = '--command is empty: give the program of the node and its arguments'
        raise ConfigError(msg)
    return words


def _filled(word: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = ', '.join(f'{{{name}}}' for name in values)
            msg = (
                f'--command: {match[0]} is no placeholder: there are {known}; write '
                f'{{{match[0]}}} for the braces themselves'
            )
            raise ConfigError(msg)
        return values[match[1]]

    open_brace, close_brace = '\0', '\1'
    kept = word.replace('{{', open_brace).replace('}}', close_brace)
    return _PLACEHOLDER.sub(value, kept).replace(open_brace, '{').replace(close_brace, '}')


def uses(command: str, placeholder: str) -> bool:
    """Tell if a command has a placeholder."""
    return placeholder in _PLACEHOLDER.findall(command.replace('{{', '').replace('}}', ''))


class CommandProcess:
    """
    Starts a command in a process group of its own; as a context manager it ends the group too.

    Args:
        words: the program, which is searched in PATH, and its arguments; no shell reads them.
        folder: where the log goes.

    Attributes:
        log: what the command prints.

    Raises:
        ConfigError: there is no such program.

    """

    def __init__(self, words: list[str], folder: Path) -> None:
        self.log = folder / 'node.log'
        program = find_tool(words[0])
        if program is None:
            msg = f'--command: no program {words[0]} that can be run is in the folders of PATH'
            raise ConfigError(msg)
        with self.log.open('wb') as log:
            self._process = subprocess.Popen(
                program_child(os.path.abspath(program), *words[1:]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the command, which is that of its group, too; valid until `stop`."""
        return self._process.pid

    def is_running(self) -> bool:
        """Tell if the command has not ended."""
        return self._process.poll() is None

    def last_lines(self, count: int = 10) -> str:
        """Return the end of the log."""
        return end_of_log(self.log, count)

    def stop(self) -> int:
        """
        End the command and all that it started: by SIGINT, then SIGTERM, then SIGKILL.

        Each is tried for 5 s. What the command started is its process group, as Ctrl-C in a
        terminal has it, and its descendants in other groups.

        Returns:
            The exit code of the command, negative for a signal.

        """
        left = self._processes()
        for number, patience_s in ENDING:
            _send(left, number)
            deadline = time.monotonic() + patience_s
            while (left := self._living(left)) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            if not left:
                break
        if number == signal.SIGKILL:
            clean_shared_memory()
        return self._process.wait()

    def __enter__(self) -> CommandProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _processes(self) -> list[psutil.Process]:
        """Return all processes of the group, and the descendants of the command."""
        found = set(_group(self.pid))
        with suppress(psutil.Error):
            found.update(psutil.Process(self.pid).children(recursive=True))
        return list(found)

    def _living(self, processes: list[psutil.Process]) -> list[psutil.Process]:
        """Return those that have not ended, and what joined the group meanwhile."""
        self._process.poll()  # else it would stay as a zombie
        return [each for each in {*processes, *_group(self.pid)} if _lives(each)]


def _group(number: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(OSError):  # it has ended
            if os.getpgid(process.pid) == number and _lives(process):
                found.append(process)
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):  # it has ended, or is another one by now
            process.send_signal(number)
