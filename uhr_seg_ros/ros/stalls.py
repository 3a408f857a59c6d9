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

"""Whether a frame takes suspiciously long, measured by what is usual for its camera and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus

from uhr_seg_ros.core.text import shortened
from uhr_seg_ros.ros.frame_rates import Pace
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


def pace_limits(pace: Pace) -> tuple[float, float]:
    """Return from where on a frame is a warning and an error, s."""
    if not (usual := pace.usual):
        return UNKNOWN_S
    warning, error = (max(least, times * usual) for least, times in zip(MIN_S, TIMES, strict=True))
    return warning, error


def _describe(pace: Pace) -> str:
    """Return what is usual."""
    usual = pace.usual
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
    warning, error = pace_limits(pace)
    if seconds < warning:
        return None
    text = f'the node is inside one frame of {topic} for {seconds:.0f} s ({_describe(pace)})'
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
    warning, error = (limit + extra for limit in pace_limits(pace))
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
    Return for every camera why its masks do not come, if they do not.

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
