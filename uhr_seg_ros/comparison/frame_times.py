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

"""What ``uhr_seg benchmark stages`` measured of a variant: time and memory of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from uhr_seg_ros.comparison.plan import Size
from uhr_seg_ros.core.config_reader import read_json
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.intervals import median_interval, PROCESSES

#: The way out of a file of a step that cannot be used.
REEXPORT_HINT = 'move it away, and the next call makes it again'


class FrameTime(NamedTuple):
    """
    Time of a frame in fresh processes.

    Attributes:
        median: Of the medians of the processes, ms.
        low: Lower end of the interval around it, ms; the median where one process measured.
        high: Upper end.
        peak_mb: Largest resident memory of a process.
        processes: How many measured.
    """

    median: float
    low: float
    high: float
    peak_mb: int
    processes: int

    @property
    def is_sure(self) -> bool:
        """Whether enough processes measured for an interval of 95 %."""
        return self.processes >= PROCESSES

    def __str__(self) -> str:
        if not self.is_sure:
            return f'{self.median:.0f} ms'
        return f'{self.median:.0f} [{self.low:.0f}, {self.high:.0f}] ms'


def join_times(found: Sequence[Mapping[Size, FrameTime]]) -> dict[Size, FrameTime]:
    """
    Join what processes measured, a file each; of one file it is what that says.

    Returns:
        Height and width of the frame, px, of those that all have -> its time.
    """
    if len(found) == 1:
        return dict(found[0])
    joined = {}
    for size in found[0]:
        times = [each[size] for each in found if size in each]
        if len(times) == len(found):
            median, low, high, _ = median_interval(time.median for time in times)
            peak = max(time.peak_mb for time in times)
            joined[size] = FrameTime(median, low, high, peak, len(times))
    return joined


def read_times(path: Path) -> dict[Size, FrameTime]:
    """
    Read the times of a variant.

    Args:
        path: What ``uhr_seg benchmark stages --json`` wrote, of one process or several.

    Returns:
        Height and width of the frame, px -> its time.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    report = read_json(path, ConfigError, REEXPORT_HINT)
    try:
        return dict(map(_time, report['sizes']))
    except (KeyError, TypeError, ValueError) as err:
        msg = f'{path} holds something else than `uhr_seg benchmark` writes: {REEXPORT_HINT}'
        raise ConfigError(msg) from err


def _time(found: Mapping[str, Any]) -> tuple[Size, FrameTime]:
    height, width = found['size']
    total = found['stage_ms']['total']
    median = total['median']
    low, high = total.get('low', median), total.get('high', median)
    processes = found.get('interval', {}).get('processes', 1)
    return (height, width), FrameTime(median, low, high, found['peak_mb'], processes)


def size_text(size: Size) -> str:
    """Write height and width as users do, width first."""
    height, width = size
    return f'{width}x{height}'
