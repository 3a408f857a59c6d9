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

"""Workers in processes of this machine."""

from __future__ import annotations

from collections.abc import Mapping
import json
import selectors
import signal
import subprocess
from types import TracebackType
from typing import Any, IO

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import signals_held
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.fleet.pools import Answer, Starts
from uhr_seg_ros.fleet.units import Outcome, Unit

_PROGRAM = 'uhr_seg_ros.fleet.process_worker'
#: A worker that is told to end has so long, s.
_PATIENCE_S = 5.0


class Processes:
    """
    A number of processes, of which one that ends is replaced.

    Each reads a line of JSON for every unit, and answers with a line.

    Args:
        options: `BatchOptions` as a dict.
        count: of the processes.

    """

    def __init__(self, options: Mapping[str, Any], count: int) -> None:
        self._options, self._starts = options, Starts()
        self._selector = selectors.DefaultSelector()
        self._workers: set[_Process] = set()
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self._end()
            raise

    @property
    def has_room(self) -> bool:
        return any(worker.is_free for worker in self._workers)

    def submit(self, ticket: int, unit: Unit) -> None:
        """Send a unit to a process that waits."""
        worker = next(worker for worker in self._workers if worker.is_free)
        worker.ticket = ticket
        worker.send(unit.as_dict())

    def wait(self) -> list[Answer]:
        """Wait for lines of processes, or their ends."""
        answers = []
        for key, _ in self._selector.select():
            worker: _Process = key.data
            line = worker.output.readline()
            if line.endswith(b'\n'):
                answers += self._read(worker, json.loads(line))
            else:
                answers += self._replace(worker)
        return answers

    def _read(self, worker: _Process, message: dict[str, Any]) -> list[Answer]:
        if 'fatal' in message:
            raise ConfigError(message['fatal'])
        if 'ready' in message:
            worker.is_ready = True
            self._starts.good()
            return []
        assert worker.ticket is not None  # it answers what it was asked
        ticket, worker.ticket = worker.ticket, None
        return [Answer(ticket, Outcome.from_dict(message))]

    def _replace(self, worker: _Process) -> list[Answer]:
        self._selector.unregister(worker.output)
        self._workers.remove(worker)
        reason = worker.how_it_ended()
        if not worker.is_ready:
            self._starts.bad(reason)
        self._start()
        return [] if worker.ticket is None else [Answer(worker.ticket, None, reason)]

    def _start(self) -> None:
        with signals_held():
            worker = _Process(self._options)
            self._workers.add(worker)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)

    def _end(self) -> None:
        for worker in self._workers:
            worker.end()
        self._selector.close()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()


class _Process:
    """A process; `ticket` is that of the unit it has."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            **python_child(_PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.is_ready = False
        self.ticket: int | None = None
        self.send(options)

    @property
    def output(self) -> IO[bytes]:
        """Where it answers."""
        assert self._process.stdout is not None  # it is a pipe
        return self._process.stdout

    @property
    def is_free(self) -> bool:
        return self.is_ready and self.ticket is None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a line; a process that has ended is noticed by its output."""
        assert self._process.stdin is not None  # it is a pipe
        try:
            self._process.stdin.write(json.dumps(message).encode() + b'\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def how_it_ended(self) -> str:
        """Return how, for people."""
        self._close()
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            hint = ', as it does where memory ends' if name == 'SIGKILL' else ''
            return f'{name}{hint}'
        return f'exit code {code}'

    def end(self) -> None:
        """End it; what it is writing has no final name yet."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None  # both are pipes
            try:
                pipe.close()
            except BrokenPipeError:
                pass
