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

"""This tree as if it were installed: in the ament index, with programs that start it."""

from __future__ import annotations

from collections.abc import Iterable
import os
from pathlib import Path
import sys

ROOT = Path(__file__).resolve().parents[2]

PROGRAMS = (('uhr_seg_ros', 'uhr_seg'), ('uhr_seg_ros', 'segmentation_node'))

START = """\
#!{python}
import sys
sys.path.insert(0, '{root}')
from uhr_seg_ros.ros.node import main
main()
"""
"""A program that starts the node of this tree."""


def install_tree(folder: Path, *more: tuple[str, str]) -> str:
    """
    Let the package be found in a folder, and more (package, executable) beside it.

    Returns:
        What AMENT_PREFIX_PATH has to be.

    """
    for package, executable in (*PROGRAMS, *more):
        index = folder / 'share/ament_index/resource_index/packages'
        program = folder / 'lib' / package / executable
        for each in (index, program.parent):
            each.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        program.write_text(START.format(python=sys.executable, root=ROOT))
        program.chmod(0o755)
    (folder / 'share/uhr_seg_ros').symlink_to(ROOT)
    return _joined([str(folder), os.environ.get('AMENT_PREFIX_PATH', '')])


def _joined(paths: Iterable[str]) -> str:
    return os.pathsep.join(filter(None, paths))
