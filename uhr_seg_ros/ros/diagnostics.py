# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Counters and windows of time as a DiagnosticArray, with the keys that dashboards know."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
import math
from threading import Lock

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from uhr_seg_ros.ros.worker import Counts
from uhr_seg_ros.timing import LatencyWindow

CPU_STAGES = ('preprocess', 'semantic', 'detail', 'fusion', 'overlay')
GPU_STAGES = ('upload', 'engines', 'download')
STAGES = ('convert', *CPU_STAGES, *GPU_STAGES, 'publish', 'total')
"""Stages in the order in which a frame passes them, on either back end; `total` is all."""

TOLERANCE_PERCENT = 10.0
"""How far a frame interval may be from the expected one."""

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
            span = (self._stamps[-1] - self._stamps[0]) / 1e9 if self._stamps else 0.0
            delay, non_increasing = self._delay_ms, self._non_increasing
        mean = sum(intervals) / len(intervals) if intervals else 0.0
        norm = 1.0 / expected_frequency if expected_frequency else mean
        jitters = [abs(interval - norm) * 1e6 for interval in intervals] or [0.0]
        limit = norm * 1e6 * TOLERANCE_PERCENT / 100.0
        return fresh, {
            'frame_rate_node': f'{1.0 / mean if fresh and mean else 0.0:.3f}',
            'frame_rate_msg': f'{len(intervals) / span if fresh and span > 0 else 0.0:.3f}',
            'current_delay_from_realtime_ms': f'{delay:.3f}' if abs(delay) < _YEAR_MS else 'N/A',
            'expected_frequency': f'{expected_frequency:.3f}',
            'tolerance': f'{TOLERANCE_PERCENT:.1f}',
            'mean_abs_jitter_node': f'{sum(jitters) / len(jitters):.0f}',
            'max_abs_jitter_node': f'{max(jitters):.0f}',
            'num_jitter_outliers_node': str(sum(jitter > limit for jitter in jitters)),
            'num_non_increasing_msg': str(non_increasing),
        }


class StageWindows:
    """Latency windows of the stages, and of the way from arrival to publication."""

    def __init__(self) -> None:
        self._stages = {stage: LatencyWindow() for stage in STAGES}
        self._latency = LatencyWindow()

    def add(self, stage_times: Mapping[str, float], latency_ms: float) -> None:
        """Add what one frame took, in ms."""
        for stage, milliseconds in stage_times.items():
            if stage in self._stages:
                self._stages[stage].add(milliseconds)
        self._latency.add(latency_ms)

    def values(self) -> dict[str, str]:
        """Return keys such as `detail_p95_ms` and `latency_max_ms`."""
        windows = {**self._stages, 'latency': self._latency}
        return {
            f'{name}_{key}_ms': f'{value:.3f}'
            for name, window in windows.items()
            for key, value in window.percentiles().items()
            if key != 'max' or name == 'latency'
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
        self._rejected = 0

    def note(self, arrival: float, stamp_ns: int, now_ns: int, encoding: str) -> None:
        """Note a frame that arrived; see `ArrivalWindow.add`."""
        self._arrivals.add(arrival, stamp_ns, now_ns)
        self._encoding = encoding

    def status(self, counts: Counts, expected_frequency: float) -> DiagnosticStatus:
        """Return the status since the last call; `expected_frequency` in Hz, 0 = unknown."""
        fresh, timing = self._arrivals.take(expected_frequency)
        rejected, self._rejected = counts.rejected - self._rejected, counts.rejected
        rate = float(timing['frame_rate_node'])
        level, message = topic_level(fresh, rate, expected_frequency, rejected)
        values = {
            **timing,
            'total_dropped_frames': str(counts.dropped),
            **count_values([counts]),
            'encoding': self._encoding,
        }
        return make_status(self._topic_name, level, message, self._hardware_id, values)


def node_status(
    name: str, state: str, failure: str, counts: Iterable[Counts], values: Mapping[str, str]
) -> DiagnosticStatus:
    """
    Return the status of the node itself.

    Args:
        name: fully qualified name of the node.
        state: label of its lifecycle state.
        failure: why it could not be configured, or empty.
        counts: of every camera.
        values: what else to tell: stage times, back end, bundle; `fallback` says why a slower
            back end runs.

    """
    fallback = values.get('fallback', '')
    level = DiagnosticStatus.WARN if fallback else DiagnosticStatus.OK
    if failure:
        level = DiagnosticStatus.ERROR
    totals = count_values(counts)
    return make_status(f'{name}: segmentation', level, failure or fallback or state, name,
                       {'state': state, **totals, **values})


def count_values(counts: Iterable[Counts]) -> dict[str, str]:
    """Return the counters, summed; received = processed + dropped + rejected + pending."""
    counts = list(counts)
    return {
        f'frames_{field}': str(sum(getattr(count, field) for count in counts))
        for field in Counts._fields
    }


def make_status(
    name: str, level: bytes, message: str, hardware_id: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    """Return one DiagnosticStatus; `level` is a byte such as `DiagnosticStatus.OK`."""
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def topic_level(fresh: bool, rate: float, expected: float, rejected: int) -> tuple[bytes, str]:
    """
    Judge one input topic.

    Args:
        fresh: whether a frame came since the last report.
        rate: frames per second, as they arrive.
        expected: Hz, 0 = unknown.
        rejected: frames rejected since the last report.

    """
    if not fresh:
        return DiagnosticStatus.STALE, 'no frame since the last report'
    if rejected:
        return DiagnosticStatus.WARN, f'{rejected} frames rejected since the last report'
    if expected and rate and abs(rate - expected) > expected * TOLERANCE_PERCENT / 100.0:
        return DiagnosticStatus.WARN, f'frame rate {rate:.2f} Hz, expected {expected:.2f} Hz'
    return DiagnosticStatus.OK, 'OK'
