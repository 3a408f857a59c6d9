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

"""When frames are due: neither earlier nor later, also where the clock of a recording jumps."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import pytest

from uhr_seg_ros.replay import pacing
from uhr_seg_ros.replay.pacing import AsRecorded, AtRate, Lockstep, Pace, Timeline

S = 1_000_000_000
TODAY = 1_700_000_000 * S


class Clock:
    """Stands in for the module `time`: sleeping takes what it says, nothing else takes time."""

    def __init__(self) -> None:
        self.now = 5000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        # A signal that comes when a sleep is about to begin is taken at its end.
        assert 0 <= seconds <= pacing.SIGNALS_S
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that paces look at."""
    clock = Clock()
    monkeypatch.setattr(pacing, 'time', clock)
    return clock


@pytest.mark.parametrize('make', [AsRecorded, lambda: AtRate(10.0)])
def test_frames_keep_their_distance(make: Callable[[], Pace], clock: Clock) -> None:
    pace = make()
    start, due = clock.now, []
    for index in range(4):
        clock.now += 0.03  # such as the frame before being sent
        pace.wait(index, index * 100_000_000)
        due.append(clock.now - start)
    assert due == pytest.approx([0.03, 0.13, 0.23, 0.33])


@pytest.mark.parametrize('make', [AsRecorded, lambda: AtRate(10.0)])
def test_time_begins_with_the_first_frame(make: Callable[[], Pace], clock: Clock) -> None:
    pace = make()
    clock.now += 7  # such as a large recording that is opened
    start = clock.now
    pace.wait(0, 0)
    assert clock.now == start
    pace.wait(1, 100_000_000)
    assert clock.now - start == pytest.approx(0.1)


@pytest.mark.parametrize('make', [AsRecorded, lambda: AtRate(10.0)])
def test_a_late_frame_goes_at_once_and_the_next_in_time(
    make: Callable[[], Pace], clock: Clock
) -> None:
    pace = make()
    pace.wait(0, 0)
    start = clock.now
    clock.now += 0.15
    pace.wait(1, 100_000_000)
    assert clock.now - start == pytest.approx(0.15)
    assert pace.late_s == pytest.approx(0.05 if make is AsRecorded else 0.0)
    pace.wait(2, 200_000_000)
    assert clock.now - start == pytest.approx(0.2)
    assert pace.late_s == 0.0


def test_a_frame_goes_when_the_one_before_was_answered() -> None:
    pace = Lockstep(timeout_s=60.0)
    pace.wait(0, 0)  # nothing to wait for
    check_goes_with_an_answer(pace, 1)


def test_a_lost_frame_does_not_stop_the_rest() -> None:
    pace = Lockstep(timeout_s=0.05)
    pace.wait(0, 0)
    pace.wait(1, 0)  # nobody answers frame 0
    pace = _with_timeout(pace, 3600.0)
    pace.answered()
    pace.wait(2, 0)  # or else this would wait for an hour


def test_so_many_frames_are_sent_ahead_as_a_stream_holds_back() -> None:
    pace = Lockstep(timeout_s=3600.0, behind=2)
    for index in range(3):
        pace.wait(index, 0)
    pace.answered()
    pace.wait(3, 0)
    check_goes_with_an_answer(pace, 4)


def check_goes_with_an_answer(pace: Lockstep, index: int) -> None:
    """Check that a frame waits for the next answer, and no longer."""
    gone = Event()

    def wait() -> None:
        pace.wait(index, 0)
        gone.set()

    thread = Thread(target=wait)
    thread.start()
    assert not gone.wait(0.1)
    pace.answered()
    assert gone.wait(20)
    thread.join()


def _with_timeout(pace: Lockstep, seconds: float) -> Lockstep:
    pace._timeout_s = seconds
    return pace


def test_a_player_does_not_wait_for_a_clock_that_went_back(clock: Clock) -> None:
    pace = AsRecorded()
    start = clock.now
    for index, elapsed in enumerate((0, 20_000_000, -3600 * S, -3600 * S + 20_000_000)):
        pace.wait(index, elapsed)
    assert clock.now - start == pytest.approx(0.04)


@pytest.mark.parametrize(
    ('times', 'elapsed'),
    [
        ([5 * S, 6 * S, 16 * S], [0, S, 11 * S]),  # 10 s are waited for
        ([S, 2 * S, TODAY, TODAY + S], [0, S, 2 * S, 3 * S]),  # from 1970 to today
        ([TODAY, TODAY + S, TODAY - 3600 * S, TODAY - 3599 * S], [0, S, S, 2 * S]),
        ([0, 2**63 - 1, 0, 2**64], [0, S, S, 2 * S]),
        ([7, 7, 7], [0, 0, 0]),
    ],
)
def test_time_goes_on(times: list[int], elapsed: list[int]) -> None:
    timeline = Timeline()
    assert [timeline.advance(each) for each in times] == elapsed
    # And again: the second round is as long as the first.
    timeline.begin_again()
    start = timeline.elapsed_ns
    assert elapsed[-1] < start <= elapsed[-1] + 10 * S
    assert [timeline.advance(each) - start for each in times] == elapsed


def test_each_kind_of_jump_is_told_once_with_both_times() -> None:
    told: list[str] = []
    timeline = Timeline(told.append)
    for _ in range(2):
        for each in (S // 2, TODAY, S, TODAY):
            timeline.advance(each)
        timeline.begin_again()
    forward, back = told
    assert 'from 1970-01-01 00:00:00.500 UTC to 2023-11-14 22:13:20.000 UTC' in forward
    assert 'pause of 1 s' in forward and 'more than 10 s' in forward
    assert 'back from 2023-11-14 22:13:20.000 UTC to 1970-01-01 00:00:01.000 UTC' in back
