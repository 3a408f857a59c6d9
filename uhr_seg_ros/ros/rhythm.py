# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""How often something comes, and which silence is usual for it: 30 Hz or a frame in 10 s."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
import math

WINDOW_S = 10.0
"""How far back rates look, s; further where that holds less than `FEWEST` intervals."""

FEWEST = 5

UNUSUAL = 3.0
"""A silence is unusual when it is this many times as long as the usual one."""

MIN_SILENCE_S = 2.0
"""No shorter silence is unusual, s."""

FIRST_SILENCE_S = 30.0
"""A silence after the very first arrival, of which no interval is known, is unusual from here."""

_REMEMBERED = 20
_FEW = 4


def longest_usual(values: Iterable[float]) -> float:
    """Return the longest value but one, as one may be an outlier; of a few the longest, or 0."""
    ordered = sorted(values)
    if len(ordered) >= _FEW:
        return ordered[-2]
    return ordered[-1] if ordered else 0.0


class Rhythm:
    """
    Times of arrivals; all in s of the monotonic clock, which never jumps.

    Attributes:
        times: of the newest arrivals, those before an unusual silence left out.

    """

    def __init__(self, size: int = 1000) -> None:
        self.times: deque[float] = deque(maxlen=size)
        self._usual: deque[float] = deque(maxlen=_REMEMBERED)
        self._last = -math.inf

    def add(self, now: float) -> None:
        """Note an arrival."""
        silence = now - self._last
        if math.isfinite(silence):
            if silence > self.silence_limit():
                self.times.clear()
            self._usual.append(silence)
        self.times.append(now)
        while len(self.times) > FEWEST + 1 and self.times[0] < now - WINDOW_S:
            self.times.popleft()
        self._last = now

    def restart(self) -> None:
        """Begin again after nobody has listened; what was usual stays known."""
        self.times.clear()
        self._last = -math.inf

    @property
    def intervals(self) -> list[float]:
        """The times between arrivals, s."""
        return [later - earlier for earlier, later in pairwise(self.times)]

    @property
    def usual_silence(self) -> float:
        """The silence beyond which it is unusual, 0 as long as no interval is known, s."""
        return self.silence_limit() if self._usual else 0.0

    def silence(self, now: float) -> float:
        """Return how long ago the last arrival was, s; infinite if there was none."""
        return now - self._last

    def silence_limit(self, expected_frequency: float = 0.0) -> float:
        """
        Return the silence that is unusual, s.

        Args:
            expected_frequency: Hz; 0 = unknown.

        """
        usual = longest_usual(self._usual)
        if expected_frequency:
            usual = max(usual, 1.0 / expected_frequency)
        elif not self._usual:
            return FIRST_SILENCE_S
        return max(MIN_SILENCE_S, UNUSUAL * usual)

    def is_silent(self, now: float, expected_frequency: float = 0.0) -> bool:
        """Return whether nothing has come for unusually long."""
        return self.silence(now) > self.silence_limit(expected_frequency)

    def frequency(self, now: float) -> float:
        """Return arrivals per second, 0 if there were less than two, or it is silent now."""
        intervals = self.intervals
        if not intervals or self.is_silent(now):
            return 0.0
        # Two that came at once, after a pause, say less than the time since.
        total = max(sum(intervals), self.silence(now))
        return len(intervals) / total if total else 0.0
