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

"""The total of a run of several steps, and what is shown as left of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import io

import pytest
from tqdm import tqdm

from uhr_seg_ros.benchmark import run_progress
from uhr_seg_ros.benchmark.run_progress import RunProgress, Work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what sets the time."""
    now = [0.0]
    monkeypatch.setattr(run_progress, 'perf_counter', lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


@pytest.fixture
def bar() -> Iterator[tqdm]:
    """Return a bar that nobody sees."""
    with tqdm(total=0, file=io.StringIO(), unit='second') as bar:
        yield bar


def test_total_is_of_all_steps(clock: Callable[[float], None], bar: tqdm) -> None:
    progress = RunProgress(bar)
    progress.plan('starting', Work(5.0))
    progress.plan('playing', Work(20.0))
    progress.plan('pictures', Work(frames=10))
    progress.begin('starting')
    assert bar.total == 5 + 20 + 10 * run_progress.FIRST_GUESS_S
    clock(1.0)
    progress.begin('playing')
    # It took less than planned, which changes nothing of the rest.
    assert (bar.n, bar.total, bar.desc) == (5, 30, 'playing')
    clock(11.0)
    progress.mask()
    assert (bar.n, bar.total, bar.postfix) == (15, 30, '1 masks')
    clock(50.0)
    progress.mask()
    # That is how long a picture may take, too, until one has come.
    assert (bar.n, bar.total) == (25, 25 + 10 * 39)
    progress.begin('pictures')
    clock(51.0)
    progress.mask()
    clock(55.0)
    progress.mask()
    # Ten frames of 4 s; 5 s are over.
    assert (bar.n, bar.total, progress.masks) == (30, 65, 4)
    assert str(bar).startswith('pictures: 30/65 seconds [')
    assert str(bar).endswith(', 00:35 left], 4 masks')


def test_a_search_that_takes_longer(clock: Callable[[float], None], bar: tqdm) -> None:
    progress = RunProgress(bar)
    progress.plan('searching', Work(10.0))
    progress.plan('at the peak', Work(10.0))
    for trial in range(3):
        clock(5.0 * trial)
        progress.begin('searching', Work(5.0))
        assert bar.n == 5 * trial
        assert bar.total == (20 if trial < 2 else 25)
    clock(15.0)
    progress.begin('at the peak', Work(5.0))
    assert (bar.n, bar.total) == (15, 25)
    progress.plan('at the peak', Work())
    assert (bar.n, bar.total) == (15, 20)
