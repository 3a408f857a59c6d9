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

"""Bars of long steps have a name, a total and the time left, and do not come before errors."""

from __future__ import annotations

import pytest
from tqdm import tqdm

from uhr_seg_ros.core import progress


def test_a_bar_names_its_step_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, 'DELAY_S', 0.0)
    assert list(progress.named_steps([1, 2], 'looking', unit='tile')) == [1, 2]
    said = capsys.readouterr().err
    assert 'looking: 2/2 tiles [' in said and ' left]' in said


def test_nothing_is_drawn_before_an_early_error(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(ValueError, match='wrong'),
        progress.named_bar('masks', 3, unit='mask') as b,
    ):
        b.update()
        tqdm.write('a line')
        raise ValueError('wrong')
    said = capsys.readouterr()
    assert (said.out, said.err) == ('a line\n', '')
