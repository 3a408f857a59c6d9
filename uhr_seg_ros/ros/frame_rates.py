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

"""When the frames of a camera come, how long they take, and when their masks are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
import math
from threading import Lock

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
_SIZES = 8

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
    def usual_interval(self) -> float:
        """The longest interval that is usual, infinite as long as none is known, s."""
        return longest_usual(self._usual) if self._usual else math.inf

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

    def add_frame(self, arrival: float, stamp_ns: int, now_ns: int) -> None:
        """
        Note a frame.

        Args:
            arrival: monotonic clock, s.
            stamp_ns: stamp of its header, ns.
            now_ns: the node's clock, ns.

        """
        if self._stamps and stamp_ns <= self._stamps[-1]:
            self._non_increasing += 1
        self.add(arrival)
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


class Pace:
    """How long the frames of a camera take, by their size: a camera may take turns with two."""

    def __init__(self) -> None:
        # The first time of a size is left out: it warms up, or builds engines.
        self._times: dict[tuple[int, int], deque[float] | None] = {}
        self._size = (0, 0)
        self._lock = Lock()

    def begin(self, size: tuple[int, int]) -> None:
        """Note the height and width of a frame that is begun; a new size takes what it takes."""
        with self._lock:
            times = self._times.pop(size, None)
            while len(self._times) >= _SIZES:
                del self._times[next(iter(self._times))]  # the one that was seen longest ago
            self._times[size] = times
            self._size = size

    def forget(self) -> None:
        """Begin anew, as with other engines."""
        with self._lock:
            self._times.clear()

    def add(self, size: tuple[int, int], seconds: float) -> None:
        """Note what a frame of this height and width took; the next one may have begun before."""
        with self._lock:
            times = self._times.get(size)
            if times is None:
                self._times[size] = deque(maxlen=_REMEMBERED)
            else:
                times.append(seconds)

    @property
    def usual(self) -> float:
        """What a frame takes at most, s; 0 where that is not known."""
        with self._lock:
            return longest_usual(self._times.get(self._size) or ())


class FrameLog:
    """
    What is noted of the frames of one camera, and of the masks that they become.

    Attributes:
        pace: how long its frames take; for the worker's thread, which adds to it.

    """

    def __init__(self) -> None:
        self.pace = Pace()
        self._lock = Lock()
        self._arrivals = ArrivalWindow()
        self._masks = Rhythm()
        self._waiting_since: float | None = None
        self._encoding = ''
        self._reason = ''

    def note(self, arrival: float, stamp_ns: int, now_ns: int, encoding: str | None) -> None:
        """Note a frame that arrived, None: of unknown encoding; see `ArrivalWindow.add_frame`."""
        with self._lock:
            self._arrivals.add_frame(arrival, stamp_ns, now_ns)
            if encoding is not None:
                self._encoding = encoding
            if self._waiting_since is None:
                self._waiting_since = arrival

    def note_rejected(self, reason: str) -> None:
        """Note why a frame was rejected."""
        with self._lock:
            self._reason = reason.partition('\n')[0]
            self._waiting_since = None

    def note_mask(self, now: float, size: tuple[int, int], seconds: float) -> None:
        """Note when a frame was done, s (monotonic), its height and width, and what it took, s."""
        with self._lock:
            self._masks.add(now)
            self._waiting_since = None
        self.pace.add(size, seconds)

    @property
    def usual_silence(self) -> float:
        """Which silence is usual for this camera, s; 0 as long as no interval is known."""
        with self._lock:
            return self._arrivals.usual_silence

    @property
    def usual_interval(self) -> float:
        """The longest interval between frames that is usual, infinite while unknown, s."""
        with self._lock:
            return self._arrivals.usual_interval

    def waited(self, now: float) -> float:
        """Return for how long frames have come of which none was finished, s."""
        with self._lock:
            return 0.0 if self._waiting_since is None else now - self._waiting_since
