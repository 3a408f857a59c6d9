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

"""The driver's loop: tries, stages, and workers that end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from uhr_seg_ros.core.errors import ProcessError, WriteError
from uhr_seg_ros.fleet.pools import Answer, MOST_FAILED_STARTS, Starts
from uhr_seg_ros.fleet.scheduler import Scheduler
from uhr_seg_ros.fleet.units import Outcome, Record, Unit


class ScriptedPool:
    """Two workers whose answers a test decides; the last unit that came is answered first."""

    def __init__(self, answer: Callable[[Unit, int], Outcome | None]) -> None:
        self._answer = answer
        self._waiting: list[tuple[int, Unit]] = []
        self.seen: list[str] = []

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < 2

    def submit(self, ticket: int, unit: Unit) -> None:
        self._waiting.append((ticket, unit))

    def wait(self) -> list[Answer]:
        ticket, unit = self._waiting.pop()
        self.seen.append(f'{unit.kind} {unit.name}')
        return [Answer(ticket, self._answer(unit, self.seen.count(self.seen[-1])), 'SIGKILL')]


def run(pool: ScriptedPool, units: list[Unit], finished: set[str] = frozenset()) -> list[Record]:
    records: list[Record] = []
    scheduler = Scheduler(pool, 1, lambda unit: unit.slot in finished, records.append)
    scheduler.run(iter(units), lambda ready: None)
    return records


def done(unit: Unit) -> Outcome:
    return Outcome([Record.of(unit)])


def test_a_unit_is_tried_again_and_then_given_up() -> None:
    pool = ScriptedPool(lambda unit, tries: done(unit) if tries == 2 else Outcome(error='busy'))
    (record,) = run(pool, [Unit('bag', 'a.mcap', 'a', slot='s')])
    assert (record.status, record.attempts) == ('done', 2)
    pool = ScriptedPool(lambda unit, tries: Outcome(error='broken'))
    (record,) = run(pool, [Unit('plan_bag', 'a.mcap', 'a', slot='s')])
    assert (record.status, record.reason, record.attempts) == ('failed', 'broken', 2)
    assert (record.kind, record.slot) == ('bag', 's')


def test_an_image_that_kills_its_worker_fails_alone() -> None:
    images = [{'input': f'{name}.png', 'name': name, 'slot': name} for name in 'abc']

    def answer(unit: Unit, tries: int) -> Outcome | None:
        names = [each['name'] for each in unit.work['images']]
        if 'b' in names:
            return None
        return Outcome([Record('image', f'{name}.png', name, slot=name) for name in names])

    records = run(ScriptedPool(answer), [Unit('images', 'a.png', 'a', '', {'images': images})])
    assert {each.name: each.status for each in records} == {
        'a': 'done',
        'b': 'failed',
        'c': 'done',
    }
    (failed,) = (each for each in records if each.status == 'failed')
    assert failed.reason == 'its worker has ended: SIGKILL'


def test_stages_wait_for_each_other() -> None:
    first = [Unit('rows', 'm.tif', f'r{n}', slot=f'r{n}') for n in range(3)]
    last = [Unit('raster', 'm.tif', 'm', slot='m')]

    def answer(unit: Unit, tries: int) -> Outcome:
        return Outcome(stages=[first, last]) if unit.kind == 'plan_raster' else done(unit)

    pool = ScriptedPool(answer)
    others = [Unit('images', f'{n}.png', str(n), '', {'images': []}) for n in range(2)]
    run(pool, [Unit('plan_raster', 'm.tif', 'm', slot='m'), *others], {'r1'})
    assert pool.seen.index('raster m') > max(map(pool.seen.index, ('rows r0', 'rows r2')))
    assert 'rows r1' not in pool.seen
    broken = ScriptedPool(
        lambda unit, tries: Outcome(error='no') if unit.name == 'r2' else answer(unit, tries)
    )
    records = run(broken, [Unit('plan_raster', 'm.tif', 'm', slot='m')])
    assert 'raster m' not in broken.seen
    assert [each.status for each in records if each.kind == 'raster'] == ['failed']


def test_a_full_disk_ends_all_of_it() -> None:
    full = Outcome(error='out/a.png: No space left on device', is_fatal=True)
    with pytest.raises(WriteError, match='No space left'):
        run(ScriptedPool(lambda unit, tries: full), [Unit('bag', 'a.mcap', 'a')])


def test_workers_that_never_start_end_it_too() -> None:
    starts = Starts()
    for _ in range(MOST_FAILED_STARTS - 1):
        starts.bad('exit code 1')
    starts.good()
    for _ in range(MOST_FAILED_STARTS - 1):
        starts.bad('exit code 1')
    with pytest.raises(ProcessError, match='could not be started: exit code 1'):
        starts.bad('exit code 1')
