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

"""
A graph run phase by phase, each in horizontal strips that fit the caches of the cores.

A core takes a strip of its own: no operator waits for the slowest part of it, and what one
operator writes the next one reads from the cache. Strips overlap by the rows that a result depends
on, so the result is the one of the whole frame; only sums over all positions are added in another
order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
import math
from sys import getrefcount
from threading import Lock

import numpy as np
import onnxruntime as ort

from uhr_seg_ros.onnx_graphs.strip_phases import INTERIOR, Phase

#: What the largest step of a strip may read and write, bytes: a few MB of cache for each core.
STRIP_BYTES = 6e6
#: A strip is at least this many times as high as what it shares with its neighbors.
MIN_HEIGHT = 8

#: Count of references to an array that nobody holds but the variable that is asked about.
UNUSED = 2

OpenSession = Callable[[bytes, int], ort.InferenceSession]


class StripRunner:
    """
    Run the phases of one graph.

    Args:
        phases: as `phases_of` gives them.
        open_session: opens a graph for a number of threads of one operator.
        threads: strips at the same time.

    """

    def __init__(
        self, phases: Sequence[Phase], open_session: OpenSession, threads: int
    ) -> None:
        self._phases = phases
        self._sessions = [open_session(phase.model.SerializeToString(), 1) for phase in phases]
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, 'strips')
        self._last_use = {
            name: place for place, phase in enumerate(phases) for name in phase.inputs
        }
        self._buffers: dict[str, np.ndarray] = {}

    def run(
        self, feeds: Mapping[str, np.ndarray], options: ort.RunOptions | None, *, keep: bool
    ) -> dict[str, np.ndarray]:
        """
        Run the graph once.

        Args:
            feeds: one image (1, channels, H, W).
            options: of every run of a session.
            keep: whether the memory of maps between phases is left to the next run.

        Returns:
            what no phase reads: output name -> array.

        """
        maps = dict(feeds)
        (image,) = feeds.values()
        for place, (phase, session) in enumerate(zip(self._phases, self._sessions, strict=True)):
            work = _PhaseRun(phase, session, maps, image.shape[2:], options, self._buffers)
            strips = _spans(phase, image.shape[2:], self._threads)
            list(self._pool.map(work.strip, range(len(strips)), strips))
            maps |= work.finish()
            for name in phase.inputs:
                if self._last_use[name] == place:
                    del maps[name]
        if not keep:
            self._buffers.clear()
        return maps

    def close(self) -> None:
        """End the threads and free the sessions."""
        self._pool.shutdown()
        self._sessions.clear()


class _PhaseRun:
    """One phase of one frame: its strips put together."""

    def __init__(
        self,
        phase: Phase,
        session: ort.InferenceSession,
        maps: Mapping[str, np.ndarray],
        size: tuple[int, ...],
        options: ort.RunOptions | None,
        buffers: dict[str, np.ndarray],
    ) -> None:
        self._phase, self._session, self._maps = phase, session, maps
        self._height, self._options, self._buffers = size[0], options, buffers
        self._whole: dict[str, np.ndarray] = {}
        self._parts: dict[int, list[np.ndarray]] = {}
        self._lock = Lock()

    def strip(self, index: int, span: tuple[int, int]) -> None:
        """Compute the rows from one px of the frame to another."""
        phase = self._phase
        up, down = (units * phase.unit for units in phase.reach)
        first, end = max(span[0] - up, 0), min(span[1] + down, self._height)
        feeds = {name: self._rows(name, first, end) for name in phase.inputs}
        if phase.sums:
            feeds[INTERIOR] = (np.array(span) - first) // phase.unit
        results = self._session.run(list(phase.outputs), feeds, self._options)
        if phase.sums:
            self._parts[index] = results
            return
        for name, values in zip(phase.outputs, results, strict=True):
            stride, axis = phase.strides[name], phase.row_axes[name]
            target = self._target(name, values, self._height // stride)
            inside = slice((span[0] - first) // stride, (span[1] - first) // stride)
            rows = slice(span[0] // stride, span[1] // stride)
            place = (slice(None),) * axis
            target[(*place, rows)] = values[(*place, inside)]

    def finish(self) -> dict[str, np.ndarray]:
        """Return the outputs of the phase."""
        if self._phase.sums:
            ordered = [self._parts[index] for index in sorted(self._parts)]
            sums = [sum(parts[1:], parts[0]) for parts in zip(*ordered, strict=True)]
            return dict(zip(self._phase.outputs, sums, strict=True))
        self._buffers |= self._whole
        return self._whole

    def _rows(self, name: str, first: int, end: int) -> np.ndarray:
        """Cut the rows of a strip out of a map; what has no rows is given whole."""
        values = self._maps[name]
        if name not in self._phase.strides:
            return values
        stride = self._phase.strides[name]
        place = (slice(None),) * self._phase.row_axes[name]
        return np.ascontiguousarray(values[(*place, slice(first // stride, end // stride))])

    def _target(self, name: str, values: np.ndarray, rows: int) -> np.ndarray:
        """Return the whole map, made when its first strip is done."""
        with self._lock:
            if name not in self._whole:
                shape = list(values.shape)
                shape[self._phase.row_axes[name]] = rows
                kept = self._buffers.pop(name, None)
                free = kept is not None and getrefcount(kept) <= UNUSED
                same = kept is not None and kept.shape == tuple(shape)
                self._whole[name] = kept if free and same else np.empty(shape, values.dtype)
            return self._whole[name]


def _spans(phase: Phase, size: tuple[int, ...], threads: int) -> list[tuple[int, int]]:
    """Divide the rows of a frame, px, into strips of nearly the same height."""
    height, width = size
    units = height // phase.unit
    tallest = STRIP_BYTES / (phase.row_bytes * width * phase.unit)
    tallest = max(tallest, MIN_HEIGHT * sum(phase.reach), 1)
    count = max(math.ceil(units / tallest), 1)
    # As many strips as threads take together, unless that makes them mostly overlap.
    count = min(math.ceil(count / threads) * threads, max(units // max(sum(phase.reach), 1), 1))
    edges = [index * units // count * phase.unit for index in range(count)] + [height]
    return list(zip(edges, edges[1:], strict=False))
