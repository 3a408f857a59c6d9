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

"""Counters and windows of time as a DiagnosticArray, with the keys that dashboards know."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus

from uhr_seg_ros.core.timing import LatencyWindow
from uhr_seg_ros.ros.topics.status import make_status, Problem, worst
from uhr_seg_ros.ros.worker import Counts

# If nobody takes them; a report is made every second.
_MAX_RECENT = 1000


class Recent(NamedTuple):
    """
    What is judged of a frame.

    Attributes:
        latency_ms: from its arrival to its publication.
        total_ms: of that, its processing.
        refined_share: how much of its boundaries was refined; None if that was not asked for.

    """

    latency_ms: float
    total_ms: float = 0.0
    refined_share: float | None = None


class StageWindows:
    """
    Latency windows of the stages, and of the way from arrival to publication.

    A stage has a window as soon as a frame has the stage, whatever it is called: there is no
    list of stages that one could be missing from.
    """

    def __init__(self) -> None:
        self._stages: dict[str, LatencyWindow] = {}
        self._order: list[str] = []
        self._latency = LatencyWindow()
        self._lock = Lock()
        self._detail = LatencyWindow()
        self._recent: deque[Recent] = deque(maxlen=_MAX_RECENT)

    def add(
        self,
        stage_times: Mapping[str, float],
        latency_ms: float,
        refined_share: float | None = None,
        detail_share: float = 1.0,
    ) -> None:
        """
        Add one frame.

        Args:
            stage_times: ms of every stage that it had, in their order.
            latency_ms: from its arrival to its publication.
            refined_share: how much of its boundaries was refined; None if that was not asked for.
            detail_share: how much of it was seen at full resolution.

        """
        total_ms = stage_times.get('total', 0.0)
        with self._lock:
            self._place(stage_times)
            self._recent.append(Recent(latency_ms, total_ms, refined_share))
        self._detail.add(detail_share)
        for stage, milliseconds in stage_times.items():
            self._stages[stage].add(milliseconds)
        self._latency.add(latency_ms)

    def add_cloud(self, milliseconds: float) -> None:
        """Add what the points of a camera took; no part of a frame, they may come later."""
        with self._lock:
            window = self._stages.setdefault('cloud', LatencyWindow())
        window.add(milliseconds)

    def take_recent(self) -> list[Recent]:
        """Return what is judged of the frames since the last call."""
        with self._lock:
            recent = list(self._recent)
            self._recent.clear()
        return recent

    def values(self) -> dict[str, str]:
        """Return keys such as `detail_p95_ms`, the stages in their order, and `detail_share`."""
        with self._lock:
            windows = {name: self._stages[name] for name in self._order}
            if cloud := self._stages.get('cloud'):
                windows['cloud'] = cloud
        windows['latency'] = self._latency
        values = {
            f'{name}_{key}_ms': f'{value:.3f}'
            for name, window in windows.items()
            for key, value in window.percentiles().items()
            if key != 'max' or name == 'latency'
        }
        if shares := self._detail.percentiles():
            values['detail_share'] = f'{shares["p50"]:.4f}'
        return values

    def _place(self, stages: Iterable[str]) -> None:
        """Make windows of new stages, and let each follow the one before it in its frame."""
        place = 0
        for stage in stages:
            if stage not in self._stages:
                self._stages[stage] = LatencyWindow()
                self._order.insert(place, stage)
            place = self._order.index(stage) + 1


_SHARE_OVER_BUDGET = 0.05
# A target is met on average, not by every frame.
_OVER_BUDGET = 1.25


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
        problems: what is wrong, see `check_failure`, `check_duplicate_name`, `check_latency` and
            the like.

    """
    level, message = worst(*problems, otherwise=state)
    totals = count_values(counts)
    return make_status(
        f'{name}: segmentation', level, message, name, {'state': state, **totals, **values}
    )


def check_failure(failure: str) -> Problem | None:
    """Judge a node that cannot be configured or activated, for this reason."""
    return (DiagnosticStatus.ERROR, failure) if failure else None


IGNORES = 'frames are ignored, as ~/enable was called with false'


def check_enabled(ignores: bool) -> Problem | None:
    """Judge a node that ignores its frames: that is intended, but has to be said."""
    return (DiagnosticStatus.OK, IGNORES) if ignores else None


def check_domain(misfit: str) -> Problem | None:
    """Judge a bundle that is for other cameras than these, for this reason."""
    return (DiagnosticStatus.WARN, misfit) if misfit else None


def check_fallback(fallback: str) -> Problem | None:
    """Judge a back end that is not the fastest there could be, for this reason."""
    return (DiagnosticStatus.WARN, fallback) if fallback else None


def check_cache(reason: str) -> Problem | None:
    """Judge engines that have to be built again at the next start, for this reason."""
    return (DiagnosticStatus.WARN, reason) if reason else None


def check_duplicate_name(name: str, count: int) -> Problem | None:
    """Judge how many nodes have the same fully qualified name."""
    if count < 2:
        return None
    text = (
        f'{count} nodes are called {name}: masks come twice and services answer for either; '
        'rename one with -r __node:=, or give it a namespace'
    )
    return DiagnosticStatus.WARN, text


def check_latency(latencies_ms: Sequence[float], budget_ms: float) -> Problem | None:
    """Judge latencies since the last report; more than 5 % may not be over the budget, ms."""
    late = [latency for latency in latencies_ms if latency > budget_ms]
    if not budget_ms or len(late) <= _SHARE_OVER_BUDGET * len(latencies_ms):
        return None
    text = (
        f'{len(late)} of {len(latencies_ms)} frames took longer than '
        f'latency.budget_ms {budget_ms:g}, the longest {max(late):.0f} ms'
    )
    return DiagnosticStatus.WARN, text


def check_frame_budget(totals_ms: Sequence[float], budget_ms: float) -> Problem | None:
    """Judge what processing took, ms, where it was to be held to a budget; 0 is none."""
    late = [total for total in totals_ms if total > _OVER_BUDGET * budget_ms]
    if not budget_ms or len(late) <= _SHARE_OVER_BUDGET * len(totals_ms):
        return None
    text = (
        f'{len(late)} of {len(totals_ms)} frames took over {_OVER_BUDGET:g} times '
        f'latency.budget_ms {budget_ms:g}, the longest {max(late):.0f} ms: decoding, the semantic '
        'branch and one tile are the least that a frame takes; allow more, or smaller frames'
    )
    return DiagnosticStatus.WARN, text


def check_detail(reason: str) -> Problem | None:
    """Judge a frame budget that is not kept, for this reason."""
    return (DiagnosticStatus.WARN, f'detail is budget, but {reason}') if reason else None


def check_refinement_budget(shares: Sequence[float | None], budget_ms: float) -> Problem | None:
    """Judge how much of their boundaries was refined; None where that was not asked for."""
    short = [share for share in shares if share is not None and share < 1]
    if not short:
        return None
    text = (
        f'refine_budget_ms {budget_ms:g} ended before the boundaries of {len(short)} of '
        f'{len(shares)} frames, of one after {min(short):.0%}: the rest is as the network gave it'
    )
    return DiagnosticStatus.WARN, text


def check_temperature(temperature_c: float | None, limit_c: float) -> Problem | None:
    """Judge the temperature of the GPU, degrees C; a limit of 0 is none."""
    if not limit_c or temperature_c is None or temperature_c < limit_c:
        return None
    text = (
        f'GPU at {temperature_c:.0f} degrees C, diagnostics.gpu_temperature_limit is '
        f'{limit_c:.0f}: it slows down when it gets hotter; look at its cooling and power mode'
    )
    return DiagnosticStatus.WARN, text


def count_values(counts: Iterable[Counts]) -> dict[str, str]:
    """Return the counters, summed; `frames_received` is the sum of the others."""
    counts = list(counts)
    return {
        f'frames_{field}': str(sum(getattr(count, field) for count in counts))
        for field in Counts._fields
    }
