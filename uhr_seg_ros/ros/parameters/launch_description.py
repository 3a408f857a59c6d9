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

"""What all launch files share: arguments that are checked first, and an end that is told."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterable, Mapping
import os
import sys
from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.logging import get_logger
from launch.substitutions import SubstitutionFailure
from launch_ros.substitutions import ExecutableInPackage

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.parameters.launch_arguments import check_known
from uhr_seg_ros.ros.parameters.launch_table import Argument

PACKAGE = 'uhr_seg_ros'

Start = Callable[[LaunchContext, Mapping[str, str], bool], list[LaunchDescriptionEntity]]
"""Makes processes of the arguments; told whether `ros2 launch` was asked for this very file."""


def describe(
    name: str, rows: Iterable[Argument], start: Start, *before: LaunchDescriptionEntity
) -> LaunchDescription:
    """
    Describe a launch file: every argument is checked before the first process starts.

    An exception after that would leave the processes that run already to themselves.

    Args:
        name: of the file.
        rows: its arguments.
        start: makes the processes.
        before: what comes before them, such as the environment.

    """
    rows = list(rows)

    def checked(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        given = {row.name: context.launch_configurations[row.name] for row in rows}
        is_asked_for = _is_asked_for(name, context)
        if is_asked_for:  # else the words are those of the launch file that includes this one
            check_known(context.argv, list(given), name)
        return start(context, given, is_asked_for)

    return LaunchDescription([*map(_declared, rows), *before, OpaqueFunction(function=checked)])


def _is_asked_for(name: str, context: LaunchContext) -> bool:
    """Tell whether the command line names this launch file, by its package or by its path."""
    path = context.get_locals_as_dict().get('current_launch_file_path')
    named = (PACKAGE, name) in zip(sys.argv, sys.argv[1:], strict=False)
    return named or any(os.path.abspath(word) == path for word in sys.argv)


def program(package: str, executable: str, advice: str, context: LaunchContext) -> str:
    """
    Return the path of an executable.

    Raises:
        ConfigError: it is not installed; ends with the advice.

    """
    try:
        path: str = ExecutableInPackage(executable, package).perform(context)
    except (LookupError, SubstitutionFailure) as err:
        msg = f'package {package} is not installed, or has no {executable}: {advice}'
        raise ConfigError(msg) from err
    return path


def ends_the_launch(is_asked_for: bool) -> Callable[[ProcessExited, LaunchContext], Any]:
    """
    Return what to do at the end of a process that nothing goes on without.

    Args:
        is_asked_for: end the launch, with the exit code of the process. If not, that is for the
            launch file that includes this one to decide.

    """

    def on_exit(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        if context.is_shutdown:
            return None
        code = event.returncode if event.returncode >= 0 else 128 - event.returncode
        reason = f'{event.process_name} has ended with code {event.returncode}'
        if not is_asked_for:
            get_logger(PACKAGE).error(f'{reason}; respawn:=true starts it again')
            return None
        atexit.register(_exit, code)
        return Shutdown(reason=reason)

    return on_exit


def _exit(code: int) -> None:
    """End the process of `ros2 launch` with this code: its own one is only ever 0 or 1."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _declared(row: Argument) -> DeclareLaunchArgument:
    more = {'choices': list(row.choices)} if row.choices else {}
    return DeclareLaunchArgument(row.name, default_value=row.default, description=row.text, **more)
