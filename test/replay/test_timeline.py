# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Clocks of recordings that jump: time goes on, and not for years."""

from __future__ import annotations

import time

import pytest

from uhr_seg_ros.replay.pacing import AsRecorded, Timeline

S = 1_000_000_000
TODAY = 1_700_000_000 * S


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


def test_a_player_does_not_wait_for_a_clock_that_went_back() -> None:
    pace = AsRecorded()
    start = time.monotonic()
    for index, elapsed in enumerate((0, 20_000_000, -3600 * S, -3600 * S + 20_000_000)):
        pace.wait(index, elapsed)
    assert 0.039 < time.monotonic() - start < 5.0
