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

"""When the next frame of a recording is due, also where its clock has jumped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from threading import Condition
import time
from typing import Protocol

#: So often signals are looked at, s: one that comes when a sleep begins does not end it.
SIGNALS_S = 0.2

#: How long a frame is waited for that nobody answers, s.
ANSWER_TIMEOUT_S = 10.0


class Pace(Protocol):
    """
    Holds a player back.

    Attributes:
        late_s: how much later than recorded the last frame was ready; 0 where another rate is
            wanted.

    """

    late_s: float

    def wait(self, index: int, elapsed_ns: int) -> None:
        """
        Wait until a frame is due.

        Args:
            index: of the frame, from 0.
            elapsed_ns: from the first frame to this one, as recorded.

        """


class AsRecorded:
    """Keeps the times of the recording, as far as they can be waited for; see `Timeline`."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self._timeline = Timeline()
        self.late_s = 0.0

    def wait(self, index: int, elapsed_ns: int) -> None:
        """See `Pace`."""
        del index
        self.late_s = self._clock.sleep_until(self._timeline.advance(elapsed_ns) / 1e9)


class AtRate:
    """
    Keeps a fixed rate.

    Args:
        rate_hz: frames per second.

    """

    late_s = 0.0

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._clock = _Clock()

    def wait(self, index: int, elapsed_ns: int) -> None:
        """See `Pace`."""
        del elapsed_ns
        self._clock.sleep_until(index / self._rate_hz)


class Lockstep:
    """
    Lets a frame go when the one before it was answered: one is under way at any time.

    Args:
        timeout_s: how long an answer is waited for; then the frame counts as lost.
        behind: so many more frames are under way, since a stream with B-frames gives its pictures
            so many packets later.

    """

    late_s = 0.0

    def __init__(self, timeout_s: float = ANSWER_TIMEOUT_S, behind: int = 0) -> None:
        self._timeout_s, self._behind = timeout_s, behind
        self._changed = Condition()
        self._answers = 0

    def answered(self) -> None:
        """Count an answer; any thread may call it."""
        with self._changed:
            self._answers += 1
            self._changed.notify()

    def wait(self, index: int, elapsed_ns: int) -> None:
        """See `Pace`."""
        del elapsed_ns
        with self._changed:
            needed = index - self._behind
            if not self._changed.wait_for(lambda: self._answers >= needed, self._timeout_s):
                self._answers = needed  # an answer that comes later is not one for this frame


class _Clock:
    """Counts from the first frame on: what that one took to be read does not delay others."""

    def __init__(self) -> None:
        self._start: float | None = None

    def sleep_until(self, due_s: float) -> float:
        """Sleep, and return how much too late it was for that, s."""
        now = time.monotonic()
        if self._start is None:
            self._start = now - due_s
        due = self._start + due_s
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, SIGNALS_S))
        return max(now - due, 0.0)


#: A pause between two images that is longer than the first is played as the second, s.
MAX_PAUSE_S, SHORT_PAUSE_S = 10.0, 1.0

# Between the last image of a recording and its first one, played again, where it has only one.
_GAP_NS = 100_000_000

_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Timeline:
    """
    Times that go on from image to image, never back and never by more than `MAX_PAUSE_S`.

    Args:
        on_jump: called for the first pause that is shortened, and for the first step back, with
            a line that names both times.

    Attributes:
        elapsed_ns: from the first image to the last one so far.

    """

    def __init__(self, on_jump: Callable[[str], None] = lambda _: None) -> None:
        self._on_jump = on_jump
        self._reported: set[bool] = set()
        self._last: int | None = None
        self._steps = 0
        self._round_start_ns = 0
        self.elapsed_ns = 0

    def advance(self, time_ns: int) -> int:
        """Go on to an image that was recorded at a time, ns; return `elapsed_ns`."""
        if self._last is not None:
            self.elapsed_ns += self._step(self._last, time_ns)
            self._steps += 1
        self._last = time_ns
        return self.elapsed_ns

    def begin_again(self) -> None:
        """Go on to the first image, after the last one, by a usual distance."""
        passed = self.elapsed_ns - self._round_start_ns
        usual = passed // self._steps if self._steps else 0
        self.elapsed_ns += usual or _GAP_NS
        self._round_start_ns = self.elapsed_ns
        self._last, self._steps = None, 0

    def _step(self, last_ns: int, time_ns: int) -> int:
        step = time_ns - last_ns
        if 0 <= step <= MAX_PAUSE_S * _S:
            return step
        is_back = step < 0
        if is_back not in self._reported:
            self._reported.add(is_back)
            what = (
                'goes back from {} to {}: played on without a pause'
                if is_back
                else f'goes from {{}} to {{}} between two images: played as a pause of '
                f'{SHORT_PAUSE_S:.0f} s, as is every one of more than {MAX_PAUSE_S:.0f} s'
            )
            self._on_jump('the time of recording ' + what.format(_text(last_ns), _text(time_ns)))
        return 0 if is_back else round(SHORT_PAUSE_S * _S)


def _text(time_ns: int) -> str:
    moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return f'{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC'
