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

"""The linters of ROS 2, where they are installed, find nothing that ruff has missed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

CODE = ('uhr_seg_ros', 'launch', 'test', 'tools', 'setup.py')

#: Sections of docstrings are Google's, and ruff decides what is imperative and a first word.
GOOGLE = ('D401', 'D403', 'D406', 'D407', 'D413')

ARGUMENTS = {
    'copyright': ('.',),
    'flake8': ('--config', 'test/ament_flake8.ini', *CODE),
    'pep257': ('--add-ignore', *GOOGLE, '--', *CODE),
}


@pytest.mark.parametrize('linter', list(ARGUMENTS))
def test_linter_of_ros(linter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec(f'ament_{linter}') is None:
        pytest.skip(f'ament_{linter} is not installed: it comes with ROS 2')
    monkeypatch.chdir(ROOT)
    assert import_module(f'ament_{linter}.main').main(argv=list(ARGUMENTS[linter])) == 0
