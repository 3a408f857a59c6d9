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

"""Stage times and latency percentiles."""

from __future__ import annotations

from threading import Thread
from time import sleep

import pytest

from uhr_seg_ros.core.timing import LatencyWindow, StageClock


def test_stage_times_add_up_in_order() -> None:
    clock = StageClock()
    for name in ('preprocess', 'detail', 'preprocess'):
        with clock.stage(name):
            sleep(0.005)
    assert list(clock.times) == ['preprocess', 'detail']
    assert clock.times['preprocess'] >= 10.0
    assert clock.times['detail'] >= 5.0


def test_stage_is_timed_when_it_fails() -> None:
    clock = StageClock()
    with pytest.raises(ValueError, match='inside'), clock.stage('detail'):
        raise ValueError('inside')
    assert 'detail' in clock.times


def test_percentiles() -> None:
    window = LatencyWindow(101)
    for value in range(101):
        window.add(float(value))
    assert window.percentiles() == {'p50': 50.0, 'p95': 95.0, 'p99': 99.0, 'max': 100.0}


def test_window_keeps_the_newest() -> None:
    window = LatencyWindow(2)
    assert window.percentiles() == {}
    for value in (100.0, 1.0, 3.0):
        window.add(value)
    assert len(window) == 2
    assert window.percentiles()['max'] == 3.0
    window.clear()
    assert window.percentiles() == {}


def test_one_thread_adds_while_another_reads() -> None:
    window = LatencyWindow(64)
    writer = Thread(target=lambda: [window.add(float(value)) for value in range(20000)])
    writer.start()
    while writer.is_alive():
        window.percentiles()
    writer.join()
    assert window.percentiles()['max'] == 19999.0
