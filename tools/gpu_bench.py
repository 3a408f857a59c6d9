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

"""Memory, copies and times on a real GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from tools.gpu_cases import Result, Scale
from tools.gpu_machine import Machine

#: No more buffers than this, however large the cache is.
_MOST_SETS = 64


class Bench:
    """
    A context on which work is timed.

    What is timed goes through so many buffers that none is in the cache when its turn comes
    again, and is launched as one CUDA graph, so that Python is not what is timed.

    Args:
        machine: the GPU.
        scale: how much is measured.

    """

    def __init__(self, machine: Machine, scale: Scale) -> None:
        self._scale, self._l2 = scale, machine.l2_bytes()
        self._cuda = machine.cuda()
        self._stream = self._cuda.stream()
        self._taken: list[int] = []

    def copies(self) -> Iterator[tuple[str, Callable[[], Result]]]:
        """Time copies: each way, both at once, from pageable memory, filling."""
        for name in ('pinned upload', 'pinned download', 'both at once', 'pageable upload'):
            yield name, partial(self._copy, name)
        yield 'fill', self._fill

    def close(self) -> None:
        """Free everything."""
        self._cuda.close()

    def _copy(self, name: str) -> Result:
        size, other = self._scale.copied, self._cuda.stream()
        with self._memory():
            up, down = (self._cuda.pinned(size) for _ in range(2))
            if name == 'pageable upload':
                up = np.ones(size, np.uint8)
            up[:], down[:] = 1, 0
            there, here = self._take(size), self._take(size)
            forked, joined = self._cuda.event(), self._cuda.event()

            def work() -> None:
                if 'download' in name or 'both' in name:
                    self._cuda.record(forked, self._stream)
                    self._cuda.wait(other, forked)
                    self._cuda.download(down, here, other)
                    self._cuda.record(joined, other)
                if 'upload' in name or 'both' in name:
                    self._cuda.upload(there, up, self._stream)
                if 'download' in name or 'both' in name:
                    self._cuda.wait(self._stream, joined)

            milliseconds = self._time(work, 8)
        moved = size * (2 if 'both' in name else 1)
        return speed(milliseconds, moved)

    def _fill(self) -> Result:
        size = max(self._scale.copied, 4 * self._l2)
        with self._memory():
            address = self._take(size)
            return speed(
                self._time(lambda: self._cuda.clear(address, size, self._stream), 16), size
            )

    def _upload(self, values: np.ndarray) -> int:
        address = self._take(values.nbytes)
        self._cuda.upload(address, values, self._stream)
        self._cuda.synchronize(self._stream)
        return address

    def _get(self, address: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        values: np.ndarray = np.empty(shape, dtype)
        self._cuda.download(values, address, self._stream)
        self._cuda.synchronize(self._stream)
        return values

    def _take(self, size: int) -> int:
        self._taken.append(self._cuda.allocate(size))
        return self._taken[-1]

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Free what the block takes."""
        first = len(self._taken)
        try:
            yield
        finally:
            while len(self._taken) > first:
                self._cuda.free(self._taken.pop())

    def _sets(self, moved: int) -> int:
        """Count the sets of buffers that are four times the cache together."""
        return min(max(2, -(-4 * self._l2 // moved)), _MOST_SETS)

    def _per_launch(self, works: Sequence[Callable[[], Any]]) -> float:
        """Return the time of one launch, ms: the sets in turn, captured as one graph."""
        launches = max(self._scale.launches, len(works))

        def all_of_them() -> None:
            for place in range(launches):
                works[place % len(works)]()

        graph = self._cuda.capture(self._stream, all_of_them)
        milliseconds = self._time(lambda: graph.launch(self._stream), 3)
        graph.close()
        return milliseconds / launches

    def _time(self, work: Callable[[], None], count: int) -> float:
        """Return the time of one call among many, ms."""
        for _ in range(2):
            work()
        start, end = self._cuda.event(), self._cuda.event()
        self._cuda.record(start, self._stream)
        for _ in range(count):
            work()
        self._cuda.record(end, self._stream)
        self._cuda.finish(end)
        return self._cuda.elapsed_ms(start, end) / count


def speed(milliseconds: float, moved: int) -> Result:
    return {'ms': round(milliseconds, 4), 'gb_per_s': round(moved / milliseconds / 1e6, 1)}
