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

"""The driver's loop: hands units to workers, tries again what failed, goes from stage to stage."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
import logging

from uhr_seg_ros.core.errors import ProcessError, WriteError
from uhr_seg_ros.fleet.pools import Answer, Pool
from uhr_seg_ros.fleet.units import FAILED, Outcome, Record, RESULT_OF, Unit

_LOG = logging.getLogger(__name__)


@dataclass
class _Chain:
    """
    The stages of an input that are still to come.

    Attributes:
        stages: the first is the one that comes next.
        open: units of the stage at work that are not done.
        is_broken: whether one has failed, so that nothing comes after its stage.

    """

    stages: deque[list[Unit]] = field(default_factory=deque)
    open: int = 0
    is_broken: bool = False


@dataclass
class _Job:
    unit: Unit
    chain: _Chain | None = None
    attempts: int = 1


class Scheduler:
    """
    Runs units on a pool.

    Only the units at work, and the stages of the inputs begun, are in memory.

    Args:
        pool: of workers.
        retries: so many times a unit that failed, or whose worker has ended, is tried again.
        is_finished: tells units that an earlier run has done.
        on_record: is called with what became of units, `done`, `kept` or `failed`.

    """

    def __init__(
        self,
        pool: Pool,
        retries: int,
        is_finished: Callable[[Unit], bool],
        on_record: Callable[[Record], object],
    ) -> None:
        self._pool, self._retries = pool, retries
        self._is_finished, self._on_record = is_finished, on_record
        self._ready: deque[_Job] = deque()
        self._at_work: dict[int, _Job] = {}
        self._tickets = count()

    def run(self, units: Iterator[Unit], on_unit: Callable[[int], object]) -> None:
        """
        Run units, and what follows them.

        Args:
            units: taken one by one as workers become free.
            on_unit: called after each unit, with how many more are known.

        Raises:
            UhrSegError: a fault that no unit would get around, or no worker can be started.

        """
        while True:
            while self._pool.has_room and (job := self._next(units)) is not None:
                ticket = next(self._tickets)
                self._at_work[ticket] = job
                self._pool.submit(ticket, job.unit)
            if not self._at_work and not self._ready:
                job = self._next(units)
                if job is None:
                    return
                self._ready.append(job)
            for answer in self._pool.wait():
                self._take(answer)
                on_unit(len(self._ready))

    def _next(self, units: Iterator[Unit]) -> _Job | None:
        if self._ready:  # what was begun comes first: its files make room
            return self._ready.popleft()
        unit = next(units, None)
        return None if unit is None else _Job(unit)

    def _take(self, answer: Answer) -> None:
        job = self._at_work.pop(answer.ticket)
        outcome = answer.outcome or Outcome(error=f'its worker has ended: {answer.lost}')
        if outcome.is_fatal:
            msg = f'{job.unit}: {outcome.error}'
            raise WriteError(msg)
        if not outcome.error:
            self._finish(job, outcome)
        elif job.attempts <= self._retries:
            _LOG.warning('%s: try %d failed: %s', job.unit, job.attempts, outcome.error)
            job.attempts += 1
            parts = _alone(job.unit) if answer.outcome is None else [job.unit]
            self._ready.extend(_Job(part, job.chain, job.attempts) for part in parts)
        else:
            self._give_up(job, outcome.error)

    def _finish(self, job: _Job, outcome: Outcome) -> None:
        for record in outcome.records:
            record.attempts = max(record.attempts, job.attempts)
            self._on_record(record)
        if outcome.stages:
            if job.chain is not None:
                msg = f'{job.unit}: a unit of a stage cannot have stages of its own'
                raise ProcessError(msg)
            self._begin_stage(_Chain(deque(outcome.stages)))
        elif job.chain is not None:
            self._close(job.chain)

    def _give_up(self, job: _Job, reason: str) -> None:
        images = job.unit.work.get('images')
        if images is None:
            record = Record.of(job.unit, status=FAILED, reason=reason, attempts=job.attempts)
            record.kind = RESULT_OF[job.unit.kind]
            # What is a step only: its result is what is not made.
            record.slot = job.unit.work.get('folder', job.unit.slot)
            self._on_record(record)
        for image in images or ():  # of which none came back
            record = Record('image', image['input'], image['name'], slot=image['slot'])
            record.status, record.reason, record.attempts = FAILED, reason, job.attempts
            self._on_record(record)
        if job.chain is not None:
            job.chain.is_broken = True
            self._close(job.chain)

    def _close(self, chain: _Chain) -> None:
        chain.open -= 1
        if not chain.open and not chain.is_broken:
            self._begin_stage(chain)

    def _begin_stage(self, chain: _Chain) -> None:
        """Put the units of the next stage that has unfinished ones before others."""
        while chain.stages:
            units = [unit for unit in chain.stages.popleft() if not self._is_finished(unit)]
            if units:
                chain.open = len(units)
                self._ready.extend(_Job(unit, chain) for unit in units)
                return


def _alone(unit: Unit) -> list[Unit]:
    """Part a shard whose worker has ended, so that the image that did it fails alone."""
    images = unit.work.get('images')
    if images is None:
        return [unit]
    return [replace(unit, input=each['input'], work={'images': [each]}) for each in images]
