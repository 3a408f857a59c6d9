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

"""A back end that runs the real engine, but only while a gate is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event

import numpy as np

from uhr_seg_ros.backends.engine import Engine

TIMEOUT_S = 60.0


class Gate:
    """
    Holds up engines.

    Attributes:
        reached: set as soon as an engine waits at the gate.
        failure: raised by the next run, once.
        spoil: changes the results of the next run that has the map, once.

    """

    def __init__(self) -> None:
        self.reached = Event()
        self.failure: Exception | None = None
        self.spoil: tuple[str, Callable[[np.ndarray], np.ndarray]] | None = None
        self._open = Event()
        self._open.set()

    def close(self) -> None:
        """Let the next run of an engine wait."""
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        """Let every engine run."""
        self._open.set()

    def pass_through(self) -> None:
        """Wait for the gate; called by the engines."""
        self.reached.set()
        assert self._open.wait(TIMEOUT_S)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def spoiled(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Change results; called by the engines."""
        name, change = self.spoil or ('', None)
        if name in results:
            self.spoil = None
            results[name] = change(results[name])
        return results

    def hold(self, engine: Engine) -> Engine:
        """Put an engine behind the gate."""
        return _GatedEngine(engine, self)


class _GatedEngine:
    def __init__(self, engine: Engine, gate: Gate) -> None:
        self.name = engine.name
        self.input_shapes = engine.input_shapes
        self.output_shapes = engine.output_shapes
        self.provenance = engine.provenance
        self.close = engine.close
        self._engine = engine
        self._gate = gate

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        self._gate.pass_through()
        return self._gate.spoiled(self._engine.run(feeds, outputs))
