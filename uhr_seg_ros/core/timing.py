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

"""Stage times of one frame and latency percentiles over many."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import perf_counter

import numpy as np

NODE_STAGES = ('wait', 'convert', 'publish', 'total', 'cloud', 'latency')
"""
What the node itself does to a frame, or sums up.

Every other stage is the segmenter's, whatever it is called: kinds of bundles have stages of
their own.
"""


class StageClock:
    """
    Time the stages of one frame; a stage entered several times adds up.

    Example:
        >>> clock = StageClock()
        >>> with clock.stage('detail'):
        ...     pass
        >>> list(clock.times)
        ['detail']

    """

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside the `with` block to `times[name]`, in ms."""
        start = perf_counter()
        try:
            yield
        finally:
            self.add(name, (perf_counter() - start) * 1e3)

    def add(self, name: str, milliseconds: float) -> None:
        """Add a time that was measured elsewhere, such as on a GPU."""
        self.times[name] = self.times.get(name, 0.0) + milliseconds


class LatencyWindow:
    """
    Percentiles over the newest latencies; one thread may add while another reads.

    Args:
        size: how many of the newest values count.

    """

    def __init__(self, size: int = 512) -> None:
        self._values: deque[float] = deque(maxlen=size)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def add(self, milliseconds: float) -> None:
        """Add one latency in ms; the oldest one leaves a full window."""
        with self._lock:
            self._values.append(milliseconds)

    def clear(self) -> None:
        """Forget every value."""
        with self._lock:
            self._values.clear()

    def percentiles(self) -> dict[str, float]:
        """Return `p50`, `p95`, `p99` and `max` in ms; an empty window gives an empty mapping."""
        with self._lock:
            values = list(self._values)
        if not values:
            return {}
        p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
        return {'p50': p50, 'p95': p95, 'p99': p99, 'max': max(values)}
