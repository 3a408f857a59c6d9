# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""When the next frame of a recording is due."""

from __future__ import annotations

from threading import Condition
import time
from typing import Protocol

from uhr_seg_ros.replay.timeline import Timeline

#: How long a frame is waited for that nobody answers, s.
ANSWER_TIMEOUT_S = 10.0


class Pace(Protocol):
    """Holds a player back."""

    def wait(self, index: int, elapsed_ns: int) -> None:
        """
        Return when a frame is due.

        Args:
            index: of the frame, from 0.
            elapsed_ns: from the first frame to this one, as recorded.

        """


class AsRecorded:
    """Keeps the times of the recording, as far as they can be waited for; see `Timeline`."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self._timeline = Timeline()

    def wait(self, index: int, elapsed_ns: int) -> None:
        """See `Pace`."""
        del index
        self._clock.sleep_until(self._timeline.advance(elapsed_ns) / 1e9)


class AtRate:
    """
    Keeps a fixed rate.

    Args:
        rate_hz: frames per second.

    """

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

    """

    def __init__(self, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
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
            if not self._changed.wait_for(lambda: self._answers >= index, self._timeout_s):
                self._answers = index  # an answer that comes later is not one for this frame


class _Clock:
    """Counts from the first frame on: how long that one took to be read is no delay of others."""

    def __init__(self) -> None:
        self._start: float | None = None

    def sleep_until(self, due_s: float) -> None:
        now = time.monotonic()
        if self._start is None:
            self._start = now - due_s
        time.sleep(max(0.0, self._start + due_s - now))
