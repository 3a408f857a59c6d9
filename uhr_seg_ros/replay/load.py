# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What the processes of a replay take of the machine."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
import time

import psutil

from uhr_seg_ros.core.memory import peak_resident_bytes
from uhr_seg_ros.replay.gpu_watch import GpuWatch

SAMPLE_PERIOD_S = 2.0
"""How often the memory of the node is noted."""


@dataclass(frozen=True)
class Load:
    """
    What a replay took.

    Attributes:
        seconds: while frames were played.
        cpu_percent: process -> share of one core, 100 for a core in full use.
        memory_mb: resident memory of the node before and after.
        memory_series: time since the start, s, and resident memory of the node, MB.
        peak_mb: the most it ever was.
        gpu: figure -> mean and max; see `GpuSample`.

    """

    seconds: float
    cpu_percent: dict[str, float]
    memory_mb: tuple[int, int]
    memory_series: list[tuple[float, float]]
    peak_mb: int
    gpu: dict[str, dict[str, float]]


class LoadMeter:
    """
    Measures from its construction on.

    Args:
        node_pid: process of the node.

    """

    def __init__(self, node_pid: int) -> None:
        self._node = psutil.Process(node_pid)
        self._start = time.monotonic()
        self._cpu_s = self._used()
        self._memory = self._node.memory_info().rss
        self._gpu = GpuWatch()
        self._series: list[tuple[float, float]] = []
        self._ended = Event()
        Thread(target=self._watch, daemon=True).start()

    def stop(self, player_cpu_s: float) -> Load:
        """Return what was taken since; the player has ended and knows itself what it took."""
        seconds = time.monotonic() - self._start
        self._ended.set()
        used = {name: now - self._cpu_s[name] for name, now in self._used().items()}
        used['player'] = player_cpu_s
        memory = self._node.memory_info().rss
        return Load(
            round(seconds, 3),
            {name: round(100 * cpu_s / seconds, 1) for name, cpu_s in used.items()},
            (self._memory >> 20, memory >> 20),
            self._series,
            (peak_resident_bytes(self._node.pid) or 0) >> 20,
            self._gpu.stop(),
        )

    def close(self) -> None:
        """Measure no longer; for a replay that failed."""
        self._ended.set()
        self._gpu.close()

    def _watch(self) -> None:
        """Note the memory of the node now and then."""
        with suppress(psutil.Error):  # the node has ended
            while True:
                seconds = round(time.monotonic() - self._start, 1)
                self._series.append((seconds, round(self._node.memory_info().rss / 2**20, 1)))
                if self._ended.wait(SAMPLE_PERIOD_S):
                    return

    def _used(self) -> dict[str, float]:
        node = self._node.cpu_times()
        return {'node': node.user + node.system, 'collector': time.process_time()}


def idle_percent(seconds: float = 1.0) -> float:
    """Watch the machine; give the share of its processor time that nobody takes."""
    return psutil.cpu_times_percent(seconds).idle
