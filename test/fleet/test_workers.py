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
Workers in other processes, and as actors of Ray: the results of one process.

Slow: each starts processes that import the package, Ray some of its own. What survives when they
are killed is shown by `python -m tools.fleet_trial`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from test_batch import batch, contents, picture

from uhr_seg_ros.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture
def words(tiny_bundle: Path, tmp_path: Path) -> list[str]:
    for index in range(6):
        picture(tmp_path / 'in' / f'{index}.png', index % 3)
    (tmp_path / 'in' / '7.png').write_bytes(b'no picture')
    assert batch(tiny_bundle, tmp_path / 'one', tmp_path / 'in', '--unit-frames', 2) == 1
    options = ['--bundle', tiny_bundle, '--backend', 'onnxruntime', '--unit-frames', 2]
    return [str(each) for each in ('batch', tmp_path / 'in', *options)]


@pytest.mark.parametrize('where', ['local', 'ray'])
def test_two_workers_give_what_one_gives(where: str, words: list[str], tmp_path: Path) -> None:
    if where == 'ray' and find_spec('ray') is None:  # not imported before `batch` does
        pytest.skip('ray is not installed')
    output = tmp_path / where
    assert main([*words, '--output', str(output), '--on', where, '--workers', '2']) == 1
    assert contents(output) == contents(tmp_path / 'one')
