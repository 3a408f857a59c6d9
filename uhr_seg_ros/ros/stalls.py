# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Whether a frame takes suspiciously long, measured by what is usual for its camera and size."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from threading import Lock
from typing import NamedTuple, TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus

from uhr_seg_ros.core.text import shortened
from uhr_seg_ros.ros.frame_rates import longest_usual
from uhr_seg_ros.ros.topics.status import Problem

if TYPE_CHECKING:
    from uhr_seg_ros.ros.camera_monitor import CameraMonitor
    from uhr_seg_ros.ros.worker import Worker

UNKNOWN_S = (15.0, 60.0)
"""A frame of a size that is new is a warning and an error from here, s."""

MIN_S = (3.0, 10.0)
"""No frame is a warning or an error before, s."""

TIMES = (3.0, 10.0)
"""So many times as long as usual is a warning and an error."""

SILENT_BUILD_S = 1800.0
"""A build of engines is an error when it has told nothing for so long, s; TensorRT 8 is silent."""

_REMEMBERED = 20
_SIZES = 8


class Sign(NamedTuple):
    """
    What a frame that takes long has told last.

    Attributes:
        text: what it does.
        told: when (monotonic clock, s).
        builds: whether engines may be built, which takes minutes.

    """

    text: str
    told: float
    builds: bool


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

    def limits(self) -> tuple[float, float]:
        """Return from where on a frame is a warning and an error, s."""
        if not (usual := self.usual):
            return UNKNOWN_S
        warning, error = (
            max(least, times * usual) for least, times in zip(MIN_S, TIMES, strict=True)
        )
        return warning, error

    def describe(self) -> str:
        """Return what is usual."""
        usual = self.usual
        return f'usual is {usual:.2g} s' if usual else 'the first one of its size'


def stalled(
    pace: Pace, since: float, now: float, topic: str, sign: Sign | None = None
) -> Problem | None:
    """
    Judge the frame in work.

    Args:
        pace: of its camera.
        since: when it was begun; as `now` and `sign` monotonic, s.
        now: the time.
        topic: where it came from.
        sign: what was told last, by this frame or by an earlier one.

    """
    seconds = now - since
    warning, error = pace.limits()
    if seconds < warning:
        return None
    text = f'the node is inside one frame of {topic} for {seconds:.0f} s ({pace.describe()})'
    silence = seconds
    if sign is not None and sign.told >= since:
        silence = now - sign.told
        error = SILENT_BUILD_S if sign.builds else max(error, UNKNOWN_S[1])
        text = f'{text}, {silence:.0f} s ago: {shortened(sign.text)}'
    if silence < error:
        return DiagnosticStatus.WARN, f'{text}; no mask until it ends'
    return DiagnosticStatus.ERROR, f'{text}; no mask until it ends: does the engine hang?'


def starved(
    pace: Pace, waited: float, extra: float, topic: str, occupation: str
) -> Problem | None:
    """
    Judge a camera whose frames wait though none of any camera is in work.

    Args:
        pace: of the camera.
        waited: how long none was finished though they come, s.
        extra: how long that is intended, s.
        topic: of the camera.
        occupation: what the worker does instead; may be empty.

    """
    warning, error = (limit + extra for limit in pace.limits())
    if waited < warning:
        return None
    doing = f': the node is inside {occupation}' if occupation else ''
    text = f'no mask of {topic} for {waited:.0f} s though frames come{doing}'
    return (DiagnosticStatus.ERROR if waited >= error else DiagnosticStatus.WARN), text


def find_stalls(
    worker: Worker,
    monitors: Mapping[str, CameraMonitor],
    now: float,
    sign: Sign | None,
    max_rate_hz: float,
) -> dict[str, Problem | None]:
    """
    Tell for every camera why its masks do not come, if they do not.

    Args:
        worker: of the node.
        monitors: by the names of the cameras.
        now: monotonic clock, s.
        sign: see `stalled`.
        max_rate_hz: frames per second and camera that are processed at most, 0 = all.

    """
    frame = worker.in_work()
    if frame is not None:
        monitor = monitors[frame.camera]
        problem = stalled(monitor.pace, frame.since, now, monitor.topic_name, sign)
        return dict.fromkeys(monitors, problem)
    occupation = worker.occupation()
    pause = 1.0 / max_rate_hz if max_rate_hz else 0.0
    # The others may all have been served before, each as slowly as is usual.
    turns = sum(monitor.pace.usual for monitor in monitors.values())
    return {
        name: starved(each.pace, each.waited(now), pause + turns, each.topic_name, occupation)
        if worker.counts(name).pending
        else None
        for name, each in monitors.items()
    }
