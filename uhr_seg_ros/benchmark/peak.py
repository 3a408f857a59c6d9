# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Find the highest rate that a node keeps up with.

As ros2_benchmark does: halve an interval until it is narrow, then go up in small steps. The rule
is a relative one, though, since a slack of 5 or 10 Hz says nothing about a node of a few frames
per second.
"""

from __future__ import annotations

from collections.abc import Callable

#: Share of the first estimate: where halving ends, and how large the steps are afterwards.
NARROW, STEP = 0.1, 0.025

#: How often a bound is moved when it turns out to be none.
_LARGEST_DOUBLINGS = 8


def find_peak(keeps_up: Callable[[float], bool], estimate_hz: float) -> float:
    """
    Search.

    Args:
        keeps_up: tries a rate in Hz.
        estimate_hz: such as the rate when each frame waits for the answer to the one before.

    Returns:
        The highest rate that was kept up with, Hz; 0 if none was, down to 1/256 of the estimate.
    """
    lower, upper = _bounds(keeps_up, estimate_hz)
    while lower and upper - lower > NARROW * estimate_hz:
        middle = (lower + upper) / 2
        if keeps_up(middle):
            lower = middle
        else:
            upper = middle
    step = STEP * estimate_hz
    while lower and lower + step < upper and keeps_up(lower + step):
        lower += step
    return lower


def _bounds(keeps_up: Callable[[float], bool], estimate_hz: float) -> tuple[float, float]:
    """Return a rate that is kept up with, or 0, and one that is not."""
    if keeps_up(estimate_hz):
        rate = estimate_hz
        for _ in range(_LARGEST_DOUBLINGS):
            if not keeps_up(2 * rate):
                break
            rate *= 2
        return rate, 2 * rate
    rate = estimate_hz
    for _ in range(_LARGEST_DOUBLINGS):
        if keeps_up(rate / 2):
            return rate / 2, rate
        rate /= 2
    return 0.0, rate
