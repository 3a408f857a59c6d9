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

"""One thread, one slot per camera, and counters that add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import current_thread, Event, Thread
import time

import pytest

from uhr_seg_ros.ros.worker import Counts, InWork, Worker

TIMEOUT_S = 30.0


class Desk:
    """A worker whose frames wait for permission; remembers in which order they were served."""

    def __init__(self, *cameras: str, interval: float = 0.0) -> None:
        self.served: list[tuple[str, object]] = []
        self.errors: list[tuple[str, str]] = []
        self.started = Event()
        self.permission = Event()
        self.permission.set()
        self.worker = Worker(
            cameras,
            self._process,
            lambda camera, error: self.errors.append((camera, str(error))),
            lambda: interval,
        )

    def _process(self, camera: str, frame: object) -> None:
        self.started.set()
        assert self.permission.wait(TIMEOUT_S)
        self.served.append((camera, frame))
        if frame == 'bad':
            msg = 'a bad frame'
            raise ValueError(msg)

    def occupy(self, camera: str) -> None:
        """Let the worker hang on a first frame until permission is given."""
        self.permission.clear()
        self.worker.put(camera, 'first')
        assert self.started.wait(TIMEOUT_S)

    def finish(self) -> None:
        """Return permission and wait until nothing is left."""
        self.permission.set()
        deadline = time.monotonic() + TIMEOUT_S
        while any(self.worker.counts(camera).pending for camera in self.worker.cameras):
            assert time.monotonic() < deadline
            time.sleep(0.002)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk('front', 'left', 'right')
    yield desk
    desk.permission.set()
    assert desk.worker.stop(TIMEOUT_S)


def test_newest_frame_wins(desk: Desk) -> None:
    desk.occupy('front')
    for number in range(5):
        desk.worker.put('front', number)
    assert desk.worker.counts('front') == Counts(6, 0, 4, 0, 2)
    desk.finish()
    assert desk.served == [('front', 'first'), ('front', 4)]
    assert desk.worker.counts('front') == Counts(6, 2, 4, 0, 0)


def test_how_long_a_frame_waits_at_least(desk: Desk) -> None:
    desk.worker._durations.extend([100.0, 400.0])
    desk.occupy('front')
    assert desk.worker.time_to_turn('front') == 0.0  # none waits yet
    desk.worker.put('front', 'waiting')
    desk.worker.put('left', 'waiting')
    assert 0.0 < 75.0 - desk.worker.time_to_turn('front') < TIMEOUT_S
    assert 0.0 < 75.0 - desk.worker.time_to_turn('left') < TIMEOUT_S
    desk.worker.skip('left')
    assert desk.worker.counts('left') == Counts(2, 0, 1, 0, 1)
    desk.finish()
    assert min(desk.worker._durations) < TIMEOUT_S
    assert desk.worker.time_to_turn('front') == 0.0


def test_cameras_are_served_in_turn(desk: Desk) -> None:
    desk.occupy('front')
    for camera in ('front', 'left', 'right'):
        desk.worker.put(camera, 'second')
    desk.finish()
    assert [camera for camera, _ in desk.served] == ['front', 'left', 'right', 'front']


def test_busy_camera_does_not_starve_the_others(desk: Desk) -> None:
    for number in range(10):
        desk.permission.clear()
        desk.started.clear()
        desk.worker.put('front', number)
        desk.worker.put('left', number)
        desk.permission.set()
    desk.finish()
    served = [camera for camera, _ in desk.served]
    assert 'left' in served
    assert not any(served[i : i + 3] == ['front'] * 3 for i in range(len(served) - 3))


def test_bad_frame_is_rejected_and_the_next_one_served(desk: Desk) -> None:
    desk.worker.put('left', 'bad')
    desk.finish()
    desk.worker.put('left', 'good')
    desk.finish()
    assert desk.errors == [('left', 'a bad frame')]
    assert desk.worker.counts('left') == Counts(2, 1, 0, 1, 0)


def test_pause_drops_what_waits_and_what_comes(desk: Desk) -> None:
    desk.occupy('front')
    desk.worker.put('left', 'waiting')
    desk.worker.pause()
    desk.worker.put('left', 'late')
    assert desk.worker.counts('left') == Counts(2, 0, 2, 0, 0)
    assert desk.worker.counts('front') == Counts(1, 0, 0, 0, 1)
    desk.finish()
    assert desk.worker.call(lambda: 'a job').result(TIMEOUT_S) == 'a job'
    desk.worker.resume()
    desk.worker.put('left', 'again')
    desk.finish()
    assert desk.served == [('front', 'first'), ('left', 'again')]


def test_jobs_run_on_the_same_thread_before_frames(desk: Desk) -> None:
    desk.occupy('front')
    desk.worker.put('left', 'after')
    job = desk.worker.call(lambda: (len(desk.served), current_thread().name))
    desk.finish()
    assert job.result(TIMEOUT_S) == (1, 'segmentation_worker')


def test_job_hands_on_its_exception(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError):
        desk.worker.call(lambda: 1 // 0).result(TIMEOUT_S)


def test_stop_during_work_gives_up_in_time() -> None:
    desk = Desk('')
    desk.occupy('')
    desk.worker.put('', 'waiting')
    waiting = desk.worker.call(lambda: None)
    assert not desk.worker.stop(0.01)
    assert waiting.cancelled()
    assert desk.worker.call(lambda: None).cancelled()
    desk.permission.set()
    assert desk.worker.stop(TIMEOUT_S)
    assert desk.worker.counts('') == Counts(2, 1, 1, 0, 0)


def test_rate_limit_takes_the_newest_frame_when_it_is_due() -> None:
    desk = Desk('', interval=0.2)
    start = time.monotonic()
    desk.worker.put('', 0)
    while not desk.served:
        time.sleep(0.001)
    for number in range(1, 4):
        desk.worker.put('', number)
    desk.finish()
    assert time.monotonic() - start >= 0.2
    assert desk.served == [('', 0), ('', 3)]
    assert desk.worker.stop(TIMEOUT_S)


def test_a_held_back_frame_is_due_after_the_interval_and_no_later() -> None:
    desk = Desk('')
    assert desk.worker.stop(TIMEOUT_S)  # nobody takes it
    slot = desk.worker._slots['']
    slot.frame, slot.last_taken = 'frame', 10.0
    assert desk.worker._due(10.19, 0.2) is None
    assert desk.worker._due(10.2, 0.2) == ''
    assert desk.worker._time_to_next(10.15, 0.2) == pytest.approx(0.05)
    assert desk.worker._time_to_next(10.15, 60.0) == pytest.approx(0.5)  # the limit may change


def test_frame_inside_is_told_and_when_the_last_one_was_done(desk: Desk) -> None:
    assert desk.worker.in_work() is None
    assert desk.worker.last_processed('front') is None
    before = time.monotonic()
    desk.occupy('front')
    camera, since = desk.worker.in_work()
    assert camera == 'front'
    assert before <= since <= time.monotonic()
    desk.finish()
    desk.worker.call(lambda: None).result(TIMEOUT_S)  # behind the frame's last step
    assert desk.worker.in_work() is None
    assert since <= desk.worker.last_processed('front') <= time.monotonic()
    done = desk.worker.last_processed('front')
    desk.worker.put('front', 'bad')
    desk.finish()
    desk.worker.call(lambda: None).result(TIMEOUT_S)
    assert desk.worker.in_work() is None
    assert desk.worker.last_processed('front') == done
    assert desk.worker.last_processed('left') is None


class Pipeline:
    """Frames in two parts, as on a GPU; the second part of `bad end` fails."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.inside: list[InWork] = []
        self.permission = Event()
        self.started = Event()
        self.errors: list[str] = []
        self.worker = Worker(['front'], self._begin, self._note)

    def _note(self, camera: str, error: Exception) -> None:
        self.errors.append(str(error))

    def _begin(self, camera: str, frame: str) -> Callable[[], None]:
        self.inside.append(self.worker.in_work())
        self.started.set()
        assert self.permission.wait(TIMEOUT_S)
        self.steps.append(f'begin {frame}')
        return lambda: self._end(frame)

    def _end(self, frame: str) -> None:
        self.inside.append(self.worker.in_work())
        self.steps.append(f'end {frame}')
        if frame == 'bad end':
            msg = 'a bad end'
            raise ValueError(msg)

    def wait_for(self, **expected: int) -> None:
        """Wait until the counters have these values."""
        deadline = time.monotonic() + TIMEOUT_S
        while any(
            getattr(self.worker.counts('front'), key) != value for key, value in expected.items()
        ):
            assert time.monotonic() < deadline, self.worker.counts('front')
            time.sleep(0.002)


def test_next_frame_begins_before_one_ends() -> None:
    line = Pipeline()
    line.worker.put('front', '1')
    assert line.started.wait(TIMEOUT_S)
    line.worker.put('front', '2')  # waits while 1 begins
    line.permission.set()
    line.wait_for(processed=2)
    assert line.steps == ['begin 1', 'begin 2', 'end 1', 'end 2']
    line.worker.put('front', '3')
    line.wait_for(processed=3)
    assert line.steps[-2:] == ['begin 3', 'end 3']
    first, meanwhile, first_end, second_end, *third = line.inside
    assert first == meanwhile == first_end  # the oldest of those that overlap
    assert first.since < second_end.since < third[0].since == third[1].since
    assert line.worker.stop(TIMEOUT_S)


def test_jobs_come_behind_frames_that_have_begun() -> None:
    line = Pipeline()
    line.worker.put('front', '1')
    assert line.started.wait(TIMEOUT_S)
    future = line.worker.call(lambda: line.steps.append('job'))
    line.worker.put('front', '2')
    line.permission.set()
    future.result(TIMEOUT_S)
    assert line.steps[:3] == ['begin 1', 'end 1', 'job']
    line.wait_for(processed=2)
    assert line.worker.stop(TIMEOUT_S)


def test_frame_that_fails_at_its_end_is_rejected() -> None:
    line = Pipeline()
    line.permission.set()
    line.worker.put('front', 'bad end')
    line.wait_for(rejected=1, pending=0)
    assert line.errors == ['a bad end']
    line.worker.put('front', 'good')
    line.wait_for(received=2, processed=1, rejected=1)
    assert line.worker.stop(TIMEOUT_S)


def test_stopping_finishes_what_has_begun() -> None:
    line = Pipeline()
    line.worker.put('front', '1')
    assert line.started.wait(TIMEOUT_S)
    stopped = Thread(target=line.worker.stop, args=(TIMEOUT_S,))
    stopped.start()
    line.permission.set()
    stopped.join(TIMEOUT_S)
    assert line.steps == ['begin 1', 'end 1']
    assert line.worker.counts('front').processed == 1


class Stamped:
    """A frame with a stamp."""

    def __init__(self, stamp_ns: int) -> None:
        self.stamp_ns = stamp_ns


def test_stamps_of_the_frames_that_are_inside_or_wait(desk: Desk) -> None:
    assert desk.worker.stamps('front') == []
    desk.occupy('left')
    desk.worker.put('front', Stamped(1))
    desk.worker.put('front', Stamped(2))
    assert desk.worker.stamps('front') == [2]
    desk.finish()
    desk.worker.call(lambda: None).result(TIMEOUT_S)
    assert desk.worker.stamps('front') == []
    desk.started.clear()
    desk.permission.clear()
    desk.worker.put('front', Stamped(3))
    assert desk.started.wait(TIMEOUT_S)
    desk.worker.put('front', Stamped(4))
    desk.worker.put('left', Stamped(5))
    assert desk.worker.stamps('front') == [3, 4]
    assert desk.worker.stamps('left') == [5]
    desk.worker.pause()
    assert desk.worker.stamps('front') == [3]
    desk.finish()


def test_stamps_while_the_work_of_two_frames_overlaps() -> None:
    seen: list[tuple[str, list[int]]] = []
    started, permission = Event(), Event()

    def begin(camera: str, frame: Stamped) -> Callable[[], None]:
        started.set()
        assert permission.wait(TIMEOUT_S)
        seen.append((f'begin {frame.stamp_ns}', worker.stamps(camera)))
        return lambda: seen.append((f'end {frame.stamp_ns}', worker.stamps(camera)))

    worker = Worker(['front'], begin, lambda camera, error: seen.append((str(error), [])))
    worker.put('front', Stamped(1))
    assert started.wait(TIMEOUT_S)
    worker.put('front', Stamped(2))
    permission.set()
    deadline = time.monotonic() + TIMEOUT_S
    while worker.counts('front').processed < 2:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert seen == [('begin 1', [1, 2]), ('begin 2', [1, 2]), ('end 1', [1, 2]), ('end 2', [2])]
    assert worker.stop(TIMEOUT_S)
