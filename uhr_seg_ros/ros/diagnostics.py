# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Counters and windows of time as a DiagnosticArray, with the keys that dashboards know."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from threading import Lock

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from uhr_seg_ros.ros.worker import Counts
from uhr_seg_ros.timing import LatencyWindow

KIND_STAGES = {
    'two_branch': ('preprocess', 'semantic', 'detail', 'fusion'),
    'deformed': ('reduce', 'saliency', 'sample', 'network', 'enlarge'),
    'single': ('preprocess', 'network', 'enlarge'),
    'patches': ('reduce', 'contexts', 'patches', 'merge'),
    'uniform': ('preprocess', 'network', 'enlarge'),
}
"""Kind of bundle -> the stages of its frames on the CPU."""

GPU_STAGES = ('upload', 'engines', 'download')

STAGES = tuple(dict.fromkeys((
    'convert', *chain(*KIND_STAGES.values()), *GPU_STAGES, 'refine', 'overlay', 'publish',
    'total', 'cloud',
)))  # fmt: skip
"""
All stages in the order in which a frame passes those that it has; `total` is all before it.

`cloud` is no part of a frame: points may come later than their mask.
"""

Problem = tuple[bytes, str]
"""A level such as `DiagnosticStatus.WARN`, and what is wrong."""

_SHARE_OVER_BUDGET = 0.05

# If nobody takes them; a report is made every second.
_MOST_RECENT = 1000


class StageWindows:
    """Latency windows of the stages, and of the way from arrival to publication."""

    def __init__(self) -> None:
        self._stages = {stage: LatencyWindow() for stage in STAGES}
        self._latency = LatencyWindow()
        self._lock = Lock()
        self._recent: deque[tuple[float, float | None]] = deque(maxlen=_MOST_RECENT)

    def add(
        self,
        stage_times: Mapping[str, float],
        latency_ms: float,
        refined_share: float | None = None,
    ) -> None:
        """Add what one frame took, in ms, and how much of its boundaries was refined."""
        for stage, milliseconds in stage_times.items():
            if stage in self._stages:
                self.add_stage(stage, milliseconds)
        self._latency.add(latency_ms)
        with self._lock:
            self._recent.append((latency_ms, refined_share))

    def add_stage(self, stage: str, milliseconds: float) -> None:
        """Add what one of the stages took, in ms."""
        self._stages[stage].add(milliseconds)

    def take_recent(self) -> list[tuple[float, float | None]]:
        """Return latency, ms, and refined share of the frames since the last call."""
        with self._lock:
            recent = list(self._recent)
            self._recent.clear()
        return recent

    def values(self) -> dict[str, str]:
        """Return keys such as `detail_p95_ms` and `latency_max_ms`."""
        windows = {**self._stages, 'latency': self._latency}
        return {
            f'{name}_{key}_ms': f'{value:.3f}'
            for name, window in windows.items()
            for key, value in window.percentiles().items()
            if key != 'max' or name == 'latency'
        }


def node_status(
    name: str,
    state: str,
    counts: Iterable[Counts],
    values: Mapping[str, str],
    *problems: Problem | None,
) -> DiagnosticStatus:
    """
    Return the status of the node itself.

    Args:
        name: fully qualified name of the node.
        state: label of its lifecycle state.
        counts: of every camera.
        values: what else to tell: stage times, back end, bundle.
        problems: what is wrong, see `failed`, `not_alone`, `over_budget` and the
            like.

    """
    level, message = worst(*problems, otherwise=state)
    totals = count_values(counts)
    return make_status(f'{name}: segmentation', level, message, name,
                       {'state': state, **totals, **values})


def worst(*problems: Problem | None, otherwise: str = 'OK') -> Problem:
    """Return the highest level and every problem, the worst first."""
    found = sorted(filter(None, problems), key=lambda problem: problem[0], reverse=True)
    if not found:
        return DiagnosticStatus.OK, otherwise
    return found[0][0], '; '.join(text for _, text in found)


def failed(failure: str) -> Problem | None:
    """Judge a node that cannot be configured or activated, for this reason."""
    return (DiagnosticStatus.ERROR, failure) if failure else None


def out_of_domain(misfit: str) -> Problem | None:
    """Judge a bundle that is for other cameras than these, for this reason."""
    return (DiagnosticStatus.WARN, misfit) if misfit else None


def fallen_back(fallback: str) -> Problem | None:
    """Judge a back end that is not the fastest there could be, for this reason."""
    return (DiagnosticStatus.WARN, fallback) if fallback else None


def not_kept(reason: str) -> Problem | None:
    """Judge engines that have to be built again at the next start, for this reason."""
    return (DiagnosticStatus.WARN, reason) if reason else None


def not_alone(name: str, count: int) -> Problem | None:
    """Judge how many nodes have the same fully qualified name."""
    if count < 2:
        return None
    text = (
        f'{count} nodes are called {name}: masks come twice and services answer for either; '
        'rename one with -r __node:=, or give it a namespace'
    )
    return DiagnosticStatus.WARN, text


def over_budget(latencies_ms: Sequence[float], budget_ms: float) -> Problem | None:
    """Judge latencies since the last report; more than 5 % may not be over the budget, ms."""
    late = [latency for latency in latencies_ms if latency > budget_ms]
    if not budget_ms or len(late) <= _SHARE_OVER_BUDGET * len(latencies_ms):
        return None
    text = (
        f'{len(late)} of {len(latencies_ms)} frames since the last report took longer than '
        f'latency.budget_ms {budget_ms:g}, the longest {max(late):.0f} ms'
    )
    return DiagnosticStatus.WARN, text


def cut_short(shares: Sequence[float | None], budget_ms: float) -> Problem | None:
    """Judge how much of their boundaries was refined; None where that was not asked for."""
    short = [share for share in shares if share is not None and share < 1]
    if not short:
        return None
    text = (
        f'refine_budget_ms {budget_ms:g} ended before the boundaries of {len(short)} of '
        f'{len(shares)} frames, of one after {min(short):.0%}: the rest is as the network gave it'
    )
    return DiagnosticStatus.WARN, text


def hot(temperature_c: float | None, limit_c: float) -> Problem | None:
    """Judge the temperature of the GPU, degrees C; a limit of 0 is none."""
    if not limit_c or temperature_c is None or temperature_c < limit_c:
        return None
    text = (
        f'GPU at {temperature_c:.0f} degrees C, diagnostics.gpu_temperature_limit is '
        f'{limit_c:.0f}: it slows down when it gets hotter; look at its cooling and power mode'
    )
    return DiagnosticStatus.WARN, text


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
