# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""When frames are due."""

from __future__ import annotations

from collections.abc import Callable
from threading import Timer
import time

import pytest

from uhr_seg_ros.replay.pacing import AsRecorded, AtRate, Lockstep, Pace


@pytest.mark.parametrize('make', [AsRecorded, lambda: AtRate(10.0)])
def test_frames_keep_their_distance(make: Callable[[], Pace]) -> None:
    start = time.monotonic()
    pace = make()
    due = []
    for index in range(3):
        pace.wait(index, index * 100_000_000)
        due.append(time.monotonic() - start)
    for index, when in enumerate(due):
        assert when >= 0.1 * index - 0.001


@pytest.mark.parametrize('make', [AsRecorded, lambda: AtRate(10.0)])
def test_time_begins_with_the_first_frame(make: Callable[[], Pace]) -> None:
    pace = make()
    time.sleep(0.1)  # such as a large recording that is opened
    start = time.monotonic()
    pace.wait(0, 0)
    pace.wait(1, 100_000_000)
    assert time.monotonic() - start >= 0.099


def test_a_frame_goes_when_the_one_before_was_answered() -> None:
    pace = Lockstep(timeout_s=20.0)
    pace.wait(0, 0)  # nothing to wait for
    Timer(0.2, pace.answered).start()
    start = time.monotonic()
    pace.wait(1, 0)
    assert 0.15 < time.monotonic() - start < 15.0


def test_a_lost_frame_does_not_stop_the_rest() -> None:
    pace = Lockstep(timeout_s=0.05)
    pace.wait(0, 0)
    pace.wait(1, 0)  # nobody answers frame 0
    pace.answered()
    start = time.monotonic()
    pace.wait(2, 0)
    assert time.monotonic() - start < 5.0
