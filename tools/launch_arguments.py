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
Read the arguments that a launch file declares, without the package `launch`, which ROS brings.

The file is executed with stand-ins for what imports `launch`. test/test_launch.py compares the
names with what the real package makes of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
import runpy
import sys
from types import ModuleType
from typing import Any

from uhr_seg_ros.ros.parameters.launch_table import arguments, LaunchFile

_ROOM = 'uhr_seg_ros.ros.parameters'
_STANDING_IN = ('launch', 'launch.actions', f'{_ROOM}.launch_description', f'{_ROOM}.launch_node')


@cache
def launch_arguments(path: Path) -> Mapping[str, Sequence[str]]:
    """
    Return the arguments of a launch file.

    Args:
        path: of the file, in the folder `launch` of the package.

    Returns:
        Name -> values that are allowed; empty where any is.

    """
    described: list[LaunchFile] = []
    with _standing_in({name: _module(name, described.append) for name in _STANDING_IN}):
        names = runpy.run_path(str(path))
        names['generate_launch_description']()
    rows = names['ARGUMENTS'] if not described else arguments(described[0], str(path.parents[1]))
    return {row.name: row.choices for row in rows}


@contextmanager
def _standing_in(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Put modules in the place of others; what is imported meanwhile stays."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _module(name: str, describe_node: Any) -> ModuleType:
    class Module(ModuleType):
        """Every name of it is a function that does nothing, but for the one that is given."""

        def __getattr__(self, name: str) -> Any:
            return describe_node if name == 'describe_node' else lambda *_, **__: None

    return Module(name)
