# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Whether a frame takes suspiciously long, measured by what is usual for its camera and size."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus

from uhr_seg_ros.ros.diagnostics import Problem
from uhr_seg_ros.ros.rhythm import longest_usual

UNKNOWN_S = (15.0, 60.0)
"""A frame of a size that is new is a warning and an error from here, s."""

LEAST_S = (3.0, 10.0)
"""No frame is a warning or an error before, s."""

TIMES = (3.0, 10.0)
"""So many times as long as usual is a warning and an error."""

SILENT_BUILD_S = 1800.0
"""A build of engines is an error when it has not told of progress for so long, s."""

_REMEMBERED = 20


class Build(NamedTuple):
    """What a build of engines told last, and when (monotonic clock, s)."""

    phase: str
    told: float


class Pace:
    """How long the frames of a camera take, as long as their size is the same."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._is_first = True
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)

    def begin(self, size: tuple[int, int]) -> None:
        """Note the height and width of a frame that is begun; a new size takes what it takes."""
        if size != self._size:
            self.forget()
            self._size = size

    def forget(self) -> None:
        """Begin anew, as with other engines."""
        self._size, self._is_first = None, True
        self._seconds.clear()

    def add(self, seconds: float) -> None:
        """Note what a frame took; not the first one of its size, which warms up or builds."""
        if not self._is_first:
            self._seconds.append(seconds)
        self._is_first = False

    @property
    def usual(self) -> float:
        """What a frame takes at most, s; 0 where that is not known."""
        return longest_usual(self._seconds)

    def limits(self) -> tuple[float, float]:
        """Return from where on a frame is a warning and an error, s."""
        if not self._seconds:
            return UNKNOWN_S
        warning, error = (
            max(least, times * self.usual) for least, times in zip(LEAST_S, TIMES, strict=True)
        )
        return warning, error

    def describe(self) -> str:
        """Say what is usual."""
        return f'usual is {self.usual:.1f} s' if self._seconds else 'the first one of its size'


def stalled(
    pace: Pace, since: float, now: float, topic: str, build: Build | None = None
) -> Problem | None:
    """
    Judge the frame in work.

    Args:
        pace: of its camera.
        since: when it was begun; as `now` and `build` monotonic, s.
        now: the time.
        topic: where it came from.
        build: of engines, the newest one.

    """
    seconds = now - since
    warning, error = pace.limits()
    if seconds < warning:
        return None
    if build is not None and build.told >= since:
        silence = now - build.told
        text = (
            f'a frame of {topic} needs engines that are being built for {seconds:.0f} s: masks '
            f'come when that is done; {build.phase} {silence:.0f} s ago'
        )
        level = DiagnosticStatus.ERROR if silence >= SILENT_BUILD_S else DiagnosticStatus.WARN
        return level, text
    text = f'inside one frame of {topic} for {seconds:.0f} s ({pace.describe()}), no mask until it'
    if seconds < error:
        return DiagnosticStatus.WARN, f'{text} ends'
    return DiagnosticStatus.ERROR, f'{text} ends: if the engine hangs, restart the node'


def starved(
    pace: Pace, waited: float, extra: float, shared: int
) -> Problem | None:
    """
    Judge a camera whose frames wait though none of any camera is in work.

    Args:
        pace: of the camera.
        waited: how long none was finished though they come, s.
        extra: how long that is intended, s.
        shared: how many cameras there are.

    """
    warning, error = (limit * shared + extra for limit in pace.limits())
    if waited < warning:
        return None
    text = f'no mask for {waited:.0f} s though frames come: the node is busy with something else'
    return (DiagnosticStatus.ERROR if waited >= error else DiagnosticStatus.WARN), text
