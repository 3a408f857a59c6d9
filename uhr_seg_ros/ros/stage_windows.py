# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""How long the stages of frames take, over the last of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from threading import Lock

from uhr_seg_ros.core.timing import LatencyWindow

# If nobody takes them; a report is made every second.
_MAX_RECENT = 1000


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
        self._recent: deque[tuple[float, float | None]] = deque(maxlen=_MAX_RECENT)

    def add(
        self,
        stage_times: Mapping[str, float],
        latency_ms: float,
        refined_share: float | None = None,
    ) -> None:
        """
        Add one frame.

        Args:
            stage_times: ms of every stage that it had, in their order.
            latency_ms: from its arrival to its publication.
            refined_share: how much of its boundaries was refined; None if that was not asked for.

        """
        with self._lock:
            self._place(stage_times)
            self._recent.append((latency_ms, refined_share))
        for stage, milliseconds in stage_times.items():
            self._stages[stage].add(milliseconds)
        self._latency.add(latency_ms)

    def add_cloud(self, milliseconds: float) -> None:
        """Add what the points of a camera took; no part of a frame, they may come later."""
        with self._lock:
            window = self._stages.setdefault('cloud', LatencyWindow())
        window.add(milliseconds)

    def take_recent(self) -> list[tuple[float, float | None]]:
        """Return latency, ms, and refined share of the frames since the last call."""
        with self._lock:
            recent = list(self._recent)
            self._recent.clear()
        return recent

    def values(self) -> dict[str, str]:
        """Return keys such as `detail_p95_ms` and `latency_max_ms`, the stages in their order."""
        with self._lock:
            windows = {name: self._stages[name] for name in self._order}
            if cloud := self._stages.get('cloud'):
                windows['cloud'] = cloud
        windows['latency'] = self._latency
        return {
            f'{name}_{key}_ms': f'{value:.3f}'
            for name, window in windows.items()
            for key, value in window.percentiles().items()
            if key != 'max' or name == 'latency'
        }

    def _place(self, stages: Iterable[str]) -> None:
        """Make windows of new stages, and let each follow the one before it in its frame."""
        place = 0
        for stage in stages:
            if stage not in self._stages:
                self._stages[stage] = LatencyWindow()
                self._order.insert(place, stage)
            place = self._order.index(stage) + 1
