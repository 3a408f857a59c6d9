# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What `/diagnostics` tells about the frames of one camera."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import pairwise
import math
from threading import Lock
from types import MappingProxyType

from diagnostic_msgs.msg import DiagnosticStatus

from uhr_seg_ros.ros.diagnostics import count_values, make_status, Problem, worst
from uhr_seg_ros.ros.remarks import Remarks
from uhr_seg_ros.ros.worker import Counts

TOLERANCE_PERCENT = 10.0
"""How far a frame interval may be from the expected one, and how many frames may be dropped."""

WINDOW_S = 10.0
"""How far back rate and jitter look."""

_YEAR_MS = 365 * 24 * 3.6e6


class ArrivalWindow:
    """
    When the frames of the last 10 s arrived, and which stamps they bore.

    Stamps are only watched: one that is absurd, old or repeated never decides about a frame.

    Args:
        size: most frames in the window.

    """

    def __init__(self, size: int = 1000) -> None:
        self._lock = Lock()
        self._arrivals: deque[float] = deque(maxlen=size)
        self._stamps: deque[int] = deque(maxlen=size)
        self._non_increasing = 0
        self._delay_ms = math.nan
        self._fresh = False

    def add(self, arrival: float, stamp_ns: int, now_ns: int) -> None:
        """
        Note a frame.

        Args:
            arrival: monotonic clock, s.
            stamp_ns: stamp of its header, ns.
            now_ns: the node's clock, ns.

        """
        with self._lock:
            if self._stamps and stamp_ns <= self._stamps[-1]:
                self._non_increasing += 1
            self._arrivals.append(arrival)
            self._stamps.append(stamp_ns)
            while self._arrivals[0] < arrival - WINDOW_S:
                self._arrivals.popleft()
                self._stamps.popleft()
            self._delay_ms = (now_ns - stamp_ns) / 1e6
            self._fresh = True

    def take(self, expected_frequency: float) -> tuple[bool, dict[str, str]]:
        """
        Return whether a frame came since the last call, and the timing keys and values.

        Args:
            expected_frequency: Hz; 0 takes the mean of the window as the norm for the jitter.

        """
        with self._lock:
            fresh, self._fresh = self._fresh, False
            intervals = [later - earlier for earlier, later in pairwise(self._arrivals)]
            # Where a recording begins again, stamps jump back: that is no interval.
            steps = [b - a for a, b in pairwise(self._stamps) if b > a]
            delay, non_increasing = self._delay_ms, self._non_increasing
        mean = sum(intervals) / len(intervals) if intervals else 0.0
        norm = 1.0 / expected_frequency if expected_frequency else mean
        jitters = [abs(interval - norm) * 1e6 for interval in intervals] or [0.0]
        limit = norm * 1e6 * TOLERANCE_PERCENT / 100.0
        return fresh, {
            'frame_rate_node': f'{1.0 / mean if fresh and mean else 0.0:.3f}',
            'frame_rate_msg': f'{1e9 * len(steps) / sum(steps) if fresh and steps else 0.0:.3f}',
            'current_delay_from_realtime_ms': f'{delay:.3f}' if abs(delay) < _YEAR_MS else 'N/A',
            'expected_frequency': f'{expected_frequency:.3f}',
            'tolerance': f'{TOLERANCE_PERCENT:.1f}',
            'mean_abs_jitter_node': f'{sum(jitters) / len(jitters):.0f}',
            'max_abs_jitter_node': f'{max(jitters):.0f}',
            'num_jitter_outliers_node': str(sum(jitter > limit for jitter in jitters)),
            'num_non_increasing_msg': str(non_increasing),
        }


class CameraMonitor:
    """
    What `/diagnostics` tells about one input topic.

    Args:
        topic_name: resolved, starts with `/`; the name of the status.
        hardware_id: fully qualified name of the node.

    """

    def __init__(self, topic_name: str, hardware_id: str) -> None:
        self._arrivals = ArrivalWindow()
        self._encoding = ''
        self._topic_name = topic_name
        self._hardware_id = hardware_id
        self._last = Counts(0, 0, 0, 0, 0)
        self._reason = ''
        self._remarks = Remarks()

    def note_remark(self, text: str) -> bool:
        """Note what is odd about frames that are processed; return whether that is new."""
        return self._remarks.add(text)

    def note_rejected(self, reason: str) -> None:
        """Note why a frame was rejected."""
        self._reason = reason.partition('\n')[0]

    def note(self, arrival: float, stamp_ns: int, now_ns: int, encoding: str) -> None:
        """Note a frame that arrived; see `ArrivalWindow.add`."""
        self._arrivals.add(arrival, stamp_ns, now_ns)
        self._encoding = encoding

    def status(
        self,
        counts: Counts,
        expected_frequency: float,
        *,
        limited: bool = False,
        more: Mapping[str, str] = MappingProxyType({}),
        problem: Problem | None = None,
    ) -> DiagnosticStatus:
        """
        Return the status since the last call.

        Args:
            counts: of this camera.
            expected_frequency: Hz, 0 = unknown.
            limited: whether frames are dropped on purpose, to keep a rate.
            more: what else to tell.
            problem: what else is wrong.

        """
        fresh, timing = self._arrivals.take(expected_frequency)
        since = Counts(*(now - last for now, last in zip(counts, self._last, strict=True)))
        self._last = counts
        rate = float(timing['frame_rate_node'])
        level, message = worst(
            _stale(fresh),
            _rejecting(since, self._reason),
            _off_rate(rate, expected_frequency) if fresh else None,
            None if limited else _dropping(since),
            problem,
        )
        values = {
            **timing,
            'total_dropped_frames': str(counts.dropped),
            **count_values([counts]),
            'encoding': self._encoding,
            **more,
        }
        if remarks := str(self._remarks):
            values['remarks'] = remarks
        return make_status(self._topic_name, level, message, self._hardware_id, values)


def _stale(fresh: bool) -> Problem | None:
    return None if fresh else (DiagnosticStatus.STALE, 'no frame since the last report')


def _rejecting(since: Counts, reason: str) -> Problem | None:
    if not since.rejected:
        return None
    why = f': {reason}' if reason else ''
    if since.processed:
        text = f'{since.rejected} frames rejected since the last report{why}'
        return DiagnosticStatus.WARN, text
    return DiagnosticStatus.ERROR, f'every frame is rejected{why}'


def _off_rate(rate: float, expected: float) -> Problem | None:
    if not expected or not rate or abs(rate - expected) <= expected * TOLERANCE_PERCENT / 100.0:
        return None
    return DiagnosticStatus.WARN, f'frame rate {rate:.2f} Hz, expected {expected:.2f} Hz'


def _dropping(since: Counts) -> Problem | None:
    if since.dropped <= since.received * TOLERANCE_PERCENT / 100.0:
        return None
    text = (
        f'{since.dropped} of {since.received} frames dropped since the last report, as newer '
        'ones came: more than this machine can do; max_rate_hz says that it is intended'
    )
    return DiagnosticStatus.WARN, text
