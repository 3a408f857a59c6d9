# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""When the frames of one camera arrive, with the keys of timing that dashboards know."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
import math

from uhr_seg_ros.ros.rhythm import longest_usual, Rhythm, UNUSUAL

TOLERANCE_PERCENT = 10.0
"""How far a frame interval may be from the expected one, and how many frames may be dropped."""

_YEAR_MS = 365 * 24 * 3.6e6


class ArrivalWindow(Rhythm):
    """
    When frames arrived, and which stamps they bore.

    Stamps are only watched: one that is absurd, old or repeated never decides about a frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stamps: deque[int] = deque(maxlen=self.times.maxlen)
        self._non_increasing = 0
        self._delay_ms = math.nan

    def add(self, arrival: float, stamp_ns: int, now_ns: int) -> None:
        """
        Note a frame.

        Args:
            arrival: monotonic clock, s.
            stamp_ns: stamp of its header, ns.
            now_ns: the node's clock, ns.

        """
        if self._stamps and stamp_ns <= self._stamps[-1]:
            self._non_increasing += 1
        super().add(arrival)
        self._stamps.append(stamp_ns)
        while len(self._stamps) > len(self.times):
            self._stamps.popleft()
        self._delay_ms = (now_ns - stamp_ns) / 1e6

    def values(self, now: float, expected_frequency: float) -> dict[str, str]:
        """
        Return the timing keys and values.

        Args:
            now: monotonic clock, s.
            expected_frequency: Hz; 0 takes the mean of the window as the norm for the jitter.

        """
        intervals, rate = self.intervals, self.frequency(now)
        mean = sum(intervals) / len(intervals) if intervals else 0.0
        norm = 1.0 / expected_frequency if expected_frequency else mean
        jitters = [abs(interval - norm) * 1e6 for interval in intervals] or [0.0]
        limit = norm * 1e6 * TOLERANCE_PERCENT / 100.0
        delay = self._delay_ms
        return {
            'frame_rate_node': f'{rate:.3f}',
            'frame_rate_msg': f'{self._stamp_rate() if rate else 0.0:.3f}',
            'current_delay_from_realtime_ms': f'{delay:.3f}' if abs(delay) < _YEAR_MS else 'N/A',
            'expected_frequency': f'{expected_frequency:.3f}',
            'tolerance': f'{TOLERANCE_PERCENT:.1f}',
            'mean_abs_jitter_node': f'{sum(jitters) / len(jitters):.0f}',
            'max_abs_jitter_node': f'{max(jitters):.0f}',
            'num_jitter_outliers_node': str(sum(jitter > limit for jitter in jitters)),
            'num_non_increasing_msg': str(self._non_increasing),
        }

    def _stamp_rate(self) -> float:
        """Return the rate by the stamps; where their clock jumps, there is no interval."""
        steps = [b - a for a, b in pairwise(self._stamps) if b > a]
        longest = UNUSUAL * longest_usual(steps)
        steps = [step for step in steps if step <= longest]
        return 1e9 * len(steps) / sum(steps) if steps else 0.0
