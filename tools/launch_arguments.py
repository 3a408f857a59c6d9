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

The file is executed with stand-ins for `launch` and `launch_ros` that only keep what they are
called with. test/test_launch.py compares the names with what the real package makes of the files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
import runpy
import sys
from types import ModuleType
from typing import Any


class _Kept:
    """Takes any call and any attribute; tells what it was made with."""

    def __init__(self, *values: Any, **named: Any) -> None:
        self.values, self.named = values, named

    def __getattr__(self, name: str) -> Any:
        return _Kept

    def __call__(self, *values: Any, **named: Any) -> Any:
        return _Kept(*values, **named)


@cache
def launch_arguments(path: Path) -> Mapping[str, Sequence[str]]:
    """
    Return the arguments of a launch file, with those of the files that it includes.

    Args:
        path: of the file; what it includes lies beside it.

    Returns:
        Name -> values that are allowed; empty where any is.

    """
    declared: dict[str, Sequence[str]] = {}
    included: list[str] = []

    class Argument(_Kept):
        """An argument."""

        def __init__(self, name: str, *values: Any, **named: Any) -> None:
            super().__init__(name, *values, **named)
            declared[name] = named.get('choices') or ()

    class Joined(_Kept):
        """A path, maybe of another launch file."""

        def __init__(self, parts: Sequence[Any]) -> None:
            super().__init__(parts)
            included.extend(each for each in parts[-1:] if str(each).endswith('.launch.py'))

    kinds = {'DeclareLaunchArgument': Argument, 'PathJoinSubstitution': Joined}
    with _standing_in({name: _module(name, kinds) for name in _imported(path)}):
        runpy.run_path(str(path))['generate_launch_description']()
    for name in included:
        declared = {**launch_arguments(path.with_name(name)), **declared}
    return declared


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


def _module(name: str, kinds: Mapping[str, type]) -> ModuleType:
    class Module(ModuleType):
        """Every name of it is a class."""

        def __getattr__(self, name: str) -> Any:
            return kinds.get(name) or type(name, (_Kept,), {})

    return Module(name)


def _imported(path: Path) -> set[str]:
    """Return the modules of ROS that a launch file imports."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    names = {node.module or '' for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {
        each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names
    }
    return {name for name in names if name.partition('.')[0] in ('launch', 'launch_ros')}
