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

"""The processes that this package starts: nothing of the current folder runs in them."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import shutil
import sys
from typing import Any

_STARTER = Path(__file__).absolute().with_name('child.py')

#: Lists of folders, in which an empty entry means the current one.
_LISTS = ('PYTHONPATH', 'LD_LIBRARY_PATH', 'PATH')


def python_child(
    module: str, *arguments: object, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """
    Describe a process that runs a module of this package, for `subprocess.Popen` and `run`.

    The process gets SIGTERM when the thread that starts it ends, so also when this process is
    killed.

    Example:
        >>> subprocess.run(**python_child('uhr_seg_ros.cli', 'cache', 'list'))

    Args:
        module: with its package.
        arguments: of the module.
        env: environment; None: that of this process. Of lists of folders, empty entries are left
            out: `PYTHONPATH=/opt/lib:` ends in one, and means the current folder by accident.

    Returns:
        `args` and `env`.

    """
    environment = dict(os.environ if env is None else env)
    for name in _LISTS:
        if name in environment:
            folders = environment[name].split(os.pathsep)
            environment[name] = os.pathsep.join(filter(None, folders))
    return {'args': [*_starter(), module, *map(str, arguments)], 'env': environment}


def program_child(program: str, *arguments: str) -> list[str]:
    """
    Return the arguments of a process that runs a program, and ends as `python_child` says.

    Args:
        program: its path; nothing is searched.
        arguments: of the program.

    """
    return [*_starter(), '--exec', program, *arguments]


def _starter() -> list[str]:
    return [sys.executable, str(_STARTER), '--end-with', str(os.getpid())]


def find_tool(name: str, *more: Path) -> str | None:
    """
    Find a program in the folders of PATH, leaving out those that depend on the current one.

    Args:
        name: of the program.
        more: folders to look into after those of PATH.

    """
    folders = os.environ.get('PATH', os.defpath).split(os.pathsep)
    folders += map(str, more)
    return shutil.which(name, path=os.pathsep.join(filter(os.path.isabs, folders)))
