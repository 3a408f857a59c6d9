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

"""`segmentation_node --help` answers and ends; everything else starts the node."""

from __future__ import annotations

import pytest

from uhr_seg_ros import __version__
from uhr_seg_ros.ros import node
from uhr_seg_ros.ros.parameters.settings import SPECS
from uhr_seg_ros.ros.parameters.usage import answer


def test_help_is_printed_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(node, 'run', lambda *_: pytest.fail('the node was started'))
    node.main(['--help'])
    text = capsys.readouterr().out
    assert text.startswith('usage: segmentation_node ')
    for spec in SPECS:
        assert f'\n  {spec.name} (' in text
    assert '\n  roi.rectangles (' in text
    assert max(map(len, text.splitlines())) < 100
    node.main(['--version'])
    assert capsys.readouterr().out == f'segmentation_node {__version__}\n'


@pytest.mark.parametrize(
    'words', [[], ['--ros-args', '-p', 'bundle:=x'], ['--ros-args', '-r', '--help:=x', '--help']]
)
def test_what_ros_is_given_starts_the_node(words: list[str]) -> None:
    assert answer(words) == ''
