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

"""What became of the newest frames of a camera, and how many there should have been."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from uhr_seg_ros.ros.frame_rates import FEWEST, WINDOW_S
from uhr_seg_ros.ros.worker import Counts

_STEP_S = 1.0
_MAX_STEPS = 120


class _Step(NamedTuple):
    """Counters at a time, the seconds until then in which frames came, and the wanted frames."""

    time: float
    counts: Counts
    seconds: float
    wanted: float


class Done(NamedTuple):
    """
    What became of frames, while they came.

    Attributes:
        seconds: in which frames came.
        received: all of them.
        dropped: as newer ones came.
        finished: processed or rejected.
        wanted: how many should have been taken.

    """

    seconds: float
    received: int
    dropped: int
    finished: int
    wanted: float


class CountWindow:
    """Counters over the last 10 s, or over the last few frames where those took longer."""

    def __init__(self) -> None:
        self._counts = self._seen = Counts(0, 0, 0, 0, 0)
        self._seen_at = 0.0
        self._limit = 0.0
        self._steps: deque[_Step] = deque(maxlen=_MAX_STEPS)

    def restart(self, now: float) -> None:
        """Begin with what was noted last."""
        self._seen, self._seen_at = self._counts, now
        self._steps.clear()
        self._steps.append(_Step(now, self._counts, 0.0, 0.0))

    def add(self, now: float, counts: Counts, max_rate_hz: float) -> None:
        """
        Note the counters.

        Args:
            now: monotonic clock, s.
            counts: since the node was started.
            max_rate_hz: how many frames per second are wanted at most; 0 = all.

        """
        if not self._steps or max_rate_hz != self._limit:
            self.restart(now - _STEP_S)
        self._limit = max_rate_hz
        ignored = counts.ignored - self._counts.ignored
        self._counts = counts
        if ignored:  # on purpose, so what came meanwhile says nothing about this machine
            self.restart(now)
        if now - self._seen_at < _STEP_S:
            return
        if counts == self._seen:  # nothing comes
            self._seen_at = now
            return
        is_first = _finished(counts) == _finished(self._steps[0].counts)
        # As long as a frame is in work, one cannot tell whether the machine is slow or hangs.
        if not is_first and _finished(counts) == _finished(self._seen):
            return
        came, elapsed = counts.received - self._seen.received, now - self._seen_at
        self._seen, self._seen_at = counts, now
        # Until a first frame is done, nothing is known: engines warm up, or are built.
        if is_first:
            self._steps.clear()
            self._steps.append(_Step(now, counts, 0.0, 0.0))
            return
        wanted = min(came, max_rate_hz * elapsed) if max_rate_hz else came
        last = self._steps[-1]
        self._steps.append(_Step(now, counts, last.seconds + elapsed, last.wanted + wanted))
        while len(self._steps) > 2 and self._is_old(self._steps[1], now):
            self._steps.popleft()

    def rejected(self) -> tuple[int, int]:
        """Return how many frames of the window were rejected, and how many were finished."""
        return self._since(self._steps[0]) if self._steps else (0, 0)

    def newest_rejected(self, count: int) -> tuple[int, int]:
        """Return the same of the newest frames, at least `count` if there are so many."""
        for step in reversed(self._steps):
            found = self._since(step)
            if found[1] >= count:
                return found
        return self.rejected()

    def done(self) -> Done:
        """Return what became of the frames of the window."""
        if not self._steps:
            return Done(0.0, 0, 0, 0, 0.0)
        first, last = self._steps[0], self._steps[-1]
        return Done(
            last.seconds - first.seconds,
            last.counts.received - first.counts.received,
            last.counts.dropped - first.counts.dropped,
            _finished(last.counts) - _finished(first.counts),
            last.wanted - first.wanted,
        )

    def _is_old(self, step: _Step, now: float) -> bool:
        enough = _finished(self._counts) - _finished(step.counts) >= FEWEST
        return enough and step.time <= now - WINDOW_S

    def _since(self, step: _Step) -> tuple[int, int]:
        finished = _finished(self._counts) - _finished(step.counts)
        return self._counts.rejected - step.counts.rejected, finished


def _finished(counts: Counts) -> int:
    return counts.processed + counts.rejected
