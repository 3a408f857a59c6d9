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

"""One thread that serves the newest frame of every camera in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
import math
from threading import Condition, Thread
import time
from typing import Any, NamedTuple

_REMEMBERED = 8
_EARLY = 0.75
"""A frame may be done after this share of what the quickest of the last ones took."""

# A frame that is held back is looked at again at least this often, so that a changed limit counts.
_MAX_WAIT_S = 0.5


class Counts(NamedTuple):
    """Frames of one camera; `received` is the sum of the others at any moment."""

    received: int
    processed: int
    dropped: int
    rejected: int
    pending: int
    ignored: int = 0


class InWork(NamedTuple):
    """A frame that the worker has begun: of which camera, and when (`time.monotonic`, s)."""

    camera: str
    since: float


class _Job(NamedTuple):
    future: Future
    run: Callable[[], Any]
    what: str


@dataclass
class _Slot:
    """The newest frame of a camera that waits, and what became of the earlier ones."""

    frame: Any = None
    received: int = 0
    processed: int = 0
    dropped: int = 0
    rejected: int = 0
    ignored: int = 0
    last_taken: float = -math.inf
    last_processed: float | None = None

    def counts(self) -> Counts:
        done = self.processed + self.dropped + self.rejected + self.ignored
        pending = self.received - done
        return Counts(
            self.received, self.processed, self.dropped, self.rejected, pending, self.ignored
        )

    def empty(self) -> None:
        if self.frame is not None:
            self.frame = None
            self.dropped += 1


class Worker:
    """
    Runs jobs and frames on one daemon thread, so that engines belong to one thread.

    Each camera has one slot: a frame that arrives while another waits takes its place, and the
    older one counts as dropped. Cameras are served in turn; jobs come before frames.

    Args:
        cameras: names of the cameras.
        process: gets (camera, frame); a frame counts as processed when it returns, as rejected
            when it raises. It may return the rest of its work: that is called, and counts, before
            the thread waits for anything, but behind the beginning of the next frame if there is
            one.
        on_error: gets (camera, exception) for a rejected frame.
        min_interval: gives the least time between two frames of one camera, in s.
        note_inside: gets the frame that is inside, see `in_work`, whenever it is another one.

    Attributes:
        cameras: names of the cameras.

    """

    def __init__(
        self,
        cameras: Sequence[str],
        process: Callable[[str, Any], Callable[[], None] | None],
        on_error: Callable[[str, Exception], None],
        min_interval: Callable[[], float] = lambda: 0.0,
        note_inside: Callable[[InWork | None], None] = lambda frame: None,
    ) -> None:
        self.cameras = tuple(cameras)
        self._process = process
        self._on_error = on_error
        self._min_interval = min_interval
        self._note_inside = note_inside
        self._slots = {camera: _Slot() for camera in cameras}
        self._order = deque(cameras)
        self._jobs: deque[_Job] = deque()
        self._job: tuple[str, float] | None = None
        self._changed = Condition()
        self._unfinished: deque[tuple[str, Callable[[], None]]] = deque()
        self._begun: deque[tuple[InWork, int | None]] = deque()  # with the frame's stamp
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self._paused = False
        self._ignores = False
        self._stopping = False
        # A daemon: an inference that takes seconds must not hold up the end of the process.
        self._thread = Thread(target=self._run, name='segmentation_worker', daemon=True)
        self._thread.start()

    def put(self, camera: str, frame: Any) -> None:
        """Count a frame and put it in the camera's slot, in place of one that still waits."""
        with self._changed:
            slot = self._slots[camera]
            slot.received += 1
            if self._ignores:
                slot.ignored += 1
                return
            slot.empty()
            slot.frame = frame
            if self._paused:
                slot.empty()
            self._changed.notify()

    def skip(self, camera: str) -> None:
        """Count a frame that did not come here, as `time_to_turn` was too long."""
        with self._changed:
            slot = self._slots[camera]
            slot.received += 1
            if self._ignores:
                slot.ignored += 1
            else:
                slot.dropped += 1

    def reject(self, camera: str, error: Exception) -> None:
        """Count a frame that was rejected before it came here, such as one not decoded."""
        with self._changed:
            self._slots[camera].received += 1
            self._slots[camera].rejected += 1
        self._on_error(camera, error)

    def time_to_turn(self, camera: str) -> float:
        """Return how long, s, at least the frame in the camera's slot will wait; 0 for none."""
        with self._changed:
            slot = self._slots[camera]
            if slot.frame is None:
                return 0.0
            turn = slot.last_taken + self._min_interval()
            if self._begun and self._durations:
                turn = max(turn, self._begun[0][0].since + _EARLY * min(self._durations))
            return max(turn - time.monotonic(), 0.0)

    def call(self, job: Callable[[], Any], what: str = 'a job') -> Future:
        """
        Run a job on the thread, after the frame in work and the jobs before it.

        Args:
            job: what to do.
            what: for `occupation`, such as `loading a bundle`.

        Returns:
            Its outcome. As long as it has not begun, cancelling withdraws it.

        """
        future: Future = Future()
        with self._changed:
            if self._stopping:
                future.cancel()
            else:
                self._jobs.append(_Job(future, job, what))
                self._changed.notify()
        return future

    def pause(self) -> None:
        """Drop the frames that wait and those to come; jobs are run all the same."""
        with self._changed:
            self._paused = True
            for slot in self._slots.values():
                slot.empty()

    def resume(self) -> None:
        """Take frames again."""
        with self._changed:
            self._paused = False

    def ignore(self, ignores: bool) -> None:
        """Count the frames to come, and those that wait, as ignored; False: take them again."""
        with self._changed:
            self._ignores = ignores
            for slot in self._slots.values() if ignores else ():
                slot.ignored += slot.frame is not None
                slot.frame = None

    @property
    def ignores(self) -> bool:
        """Whether frames are counted and nothing else."""
        return self._ignores

    def counts(self, camera: str) -> Counts:
        """Return the camera's counters, taken in one moment."""
        with self._changed:
            return self._slots[camera].counts()

    def in_work(self) -> InWork | None:
        """Return the frame that is inside now, the one begun first if they overlap, or None."""
        with self._changed:
            return self._begun[0][0] if self._begun else None

    def occupation(self) -> str:
        """Return what the thread is inside and for how long, for a message; empty for nothing."""
        inside, frame = self._job, self.in_work()
        if inside is None and frame is not None:
            camera = f' of camera {frame.camera}' if frame.camera else ''
            inside = f'a frame{camera}', frame.since
        if inside is None:
            return ''
        what, since = inside
        return f'{what} for {time.monotonic() - since:.0f} s'

    def stamps(self, camera: str) -> list[int]:
        """Return the stamps, ns, of the frames that are inside and of the one that waits."""
        with self._changed:
            inside = [stamp for begun, stamp in self._begun if begun.camera == camera]
            waiting = _stamp_ns(self._slots[camera].frame)
        return [stamp for stamp in (*inside, waiting) if stamp is not None]

    def last_processed(self, camera: str) -> float | None:
        """Return when a frame of the camera was processed last, s (`time.monotonic`), or None."""
        with self._changed:
            return self._slots[camera].last_processed

    def stop(self, timeout: float) -> bool:
        """
        Take no more work and wait for the frame in work.

        Args:
            timeout: s to wait at most.

        Returns:
            Whether the thread has ended.

        """
        self.pause()
        with self._changed:
            self._stopping = True
            while self._jobs:
                self._jobs.popleft().future.cancel()
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work  # or the frame would stay in memory until the next one comes
        while self._unfinished:
            self._finish_oldest()

    def _next(self) -> Callable[[], None] | None:
        """Wait for work; None tells the thread to end."""
        with self._changed:
            while not self._stopping:
                if len(self._unfinished) > 1 or (self._unfinished and self._jobs):
                    return self._finish_oldest
                if self._jobs:
                    job = self._jobs.popleft()
                    return lambda: self._run_job(job)
                now = time.monotonic()
                interval = self._min_interval()
                camera = self._due(now, interval)
                if camera is not None:
                    return self._take(camera, now)
                if self._unfinished:
                    return self._finish_oldest
                self._changed.wait(self._time_to_next(now, interval))
        return None

    def _due(self, now: float, interval: float) -> str | None:
        """Return the camera whose turn it is; the one without a name is an empty string."""
        for camera in self._order:
            slot = self._slots[camera]
            if slot.frame is not None and slot.last_taken + interval <= now:
                return camera
        return None

    def _take(self, camera: str, now: float) -> Callable[[], None]:
        self._order.remove(camera)
        self._order.append(camera)
        slot = self._slots[camera]
        frame, slot.frame = slot.frame, None
        slot.last_taken = now
        self._begun.append((InWork(camera, now), _stamp_ns(frame)))
        return lambda: self._run_frame(camera, frame)

    def _time_to_next(self, now: float, interval: float) -> float | None:
        """Return how long to wait, in s, if frames are held back by the rate limit."""
        due = [slot.last_taken for slot in self._slots.values() if slot.frame is not None]
        if not due:
            return None
        return min(min(due) + interval - now, _MAX_WAIT_S)

    def _run_job(self, job: _Job) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        self._job = job.what, time.monotonic()
        try:
            result = job.run()
        except BaseException as error:  # whoever waits for the future gets it
            self._job = None
            job.future.set_exception(error)
        else:
            self._job = None
            job.future.set_result(result)

    def _run_frame(self, camera: str, frame: Any) -> None:
        self._note_inside(self.in_work())
        rest = self._guarded(camera, lambda: self._process(camera, frame))
        if rest is not None:
            self._unfinished.append((camera, rest))
            return
        with self._changed:  # an earlier one may wait for its end
            self._note_duration(self._begun.pop()[0])
        self._note_inside(self.in_work())

    def _finish_oldest(self) -> None:
        self._guarded(*self._unfinished.popleft())
        with self._changed:
            self._note_duration(self._begun.popleft()[0])
        self._note_inside(self.in_work())

    def _note_duration(self, ended: InWork) -> None:
        self._durations.append(time.monotonic() - ended.since)

    def _guarded(
        self, camera: str, work: Callable[[], Callable[[], None] | None]
    ) -> Callable[[], None] | None:
        """Do a part of a frame's work; the frame counts with its last part, or when one fails."""
        try:
            rest = work()
        except Exception as error:  # no frame may end the thread
            with self._changed:
                self._slots[camera].rejected += 1
            self._on_error(camera, error)
            return None
        if rest is None:
            with self._changed:
                self._slots[camera].processed += 1
                self._slots[camera].last_processed = time.monotonic()
        return rest


def _stamp_ns(frame: Any) -> int | None:
    """Return the stamp of a frame; what has none is None, such as a slot without a frame."""
    return getattr(frame, 'stamp_ns', None)
