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

"""Work that may be skipped, on a thread beside the worker: of each kind the newest is done."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread

CLOSE_S = 5.0
"""So long, s, a job may hold up closing: far more than encoding a picture takes."""


class LatestJobs:
    """
    Runs jobs one after the other on a daemon thread that lives while there are any.

    A job takes the place of an older one of its kind that still waits, so whoever hands them in is
    never held up, and what is behind gets no further behind. May be used from several threads.

    Args:
        name: of the thread.
        on_error: gets what a job has raised, on that thread.

    Attributes:
        skipped: jobs in whose place a newer one was done.

    """

    def __init__(self, name: str, on_error: Callable[[Exception], None]) -> None:
        self._name, self._on_error = name, on_error
        self._lock = Lock()
        self._jobs: dict[str, Callable[[], object]] = {}  # the one that waits longest first
        self._thread: Thread | None = None
        self._is_closed = False
        self.skipped = 0

    def put(self, kind: str, job: Callable[[], object]) -> None:
        """Do a job soon, in place of the one of its kind that waits; nothing once closed."""
        with self._lock:
            if self._is_closed:
                return
            self.skipped += kind in self._jobs
            self._jobs[kind] = job
            if self._thread is None:
                self._thread = Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Give up what waits, for good, and wait some seconds for the job that is being done."""
        with self._lock:
            self._is_closed = True
            self._jobs.clear()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_S)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:  # the other kinds go on
                self._on_error(error)
            del job  # or what it holds would stay in memory until the next one comes

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            if not self._jobs:
                self._thread = None
                return None
            return self._jobs.pop(next(iter(self._jobs)))
