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

"""What other packages import from `uhr_seg_ros`."""

from __future__ import annotations

import ast
import doctest
from pathlib import Path
import subprocess
import sys

import pytest

import uhr_seg_ros
from uhr_seg_ros.pipelines import segmenter

PACKAGE = Path(uhr_seg_ros.__file__).parent
HEAVY = ('cv2', 'numpy', 'onnxruntime', 'rclpy', 'torch', 'yaml')


def test_every_name_is_there() -> None:
    names = {name: getattr(uhr_seg_ros, name) for name in uhr_seg_ros.__all__}
    assert all(each.__module__.startswith('uhr_seg_ros.') for each in names.values())
    assert set(names) <= set(dir(uhr_seg_ros))
    assert (PACKAGE / 'py.typed').is_file()


def test_type_checkers_and_the_interpreter_see_the_same() -> None:
    tree = ast.parse((PACKAGE / '__init__.py').read_text(encoding='utf-8'))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    typed = {
        alias.name: node.module
        for node in imports
        if node.module.startswith('uhr_seg_ros.')
        for alias in node.names
    }
    lazy = {name: f'uhr_seg_ros.{module}' for name, module in uhr_seg_ros._MODULES.items()}
    assert typed == lazy
    assert sorted(lazy) == sorted(uhr_seg_ros.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'uhr_seg_ros' has no attribute 'Segmentor'"):
        _ = uhr_seg_ros.Segmentor


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f'import sys, uhr_seg_ros; print([n for n in {HEAVY} if n in sys.modules])'
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == '[]'


def test_a_segmenter_needs_neither_torch_nor_ros() -> None:
    code = (
        'import sys; from uhr_seg_ros import Segmenter, EngineOptions; '
        "print([n for n in ('rclpy', 'torch') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize('module', [uhr_seg_ros, segmenter], ids=lambda each: each.__name__)
def test_the_examples_of_the_docstrings(module: object) -> None:
    failed, tried = doctest.testmod(module)
    assert tried > 1 and not failed
