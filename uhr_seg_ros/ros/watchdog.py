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

"""Finds a frame that never ends, for a process that ends itself then, to be started anew."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import faulthandler
from threading import Lock
import time

from uhr_seg_ros.ros.worker import InWork

GRACE_S = 5.0
"""How much later, s, the process is ended without the interpreter, if that is what hangs."""

# A descriptor: `sys.stderr` may have none.
_STDERR = 2


class Watchdog:
    """
    Judges how long the worker has been inside one frame.

    An engine that hangs may hold the interpreter's lock, so that no Python code runs any more, on
    no thread. So there are two ways: `overdue` is asked by the process, which then ends in order;
    and as long as a frame is inside, a timer of `faulthandler`, which needs no lock, ends the
    process with code 1 and prints where every thread is.

    Args:
        limit: gives how long a frame may take, s; 0 = for ever.
        last_sign: gives when the building of an engine has shown progress last, s
            (`time.monotonic`).

    """

    def __init__(self, limit: Callable[[], float], last_sign: Callable[[], float]) -> None:
        self._limit = limit
        self._last_sign = last_sign
        self._frame: InWork | None = None
        self._ends_process = False
        self._deadline: float | None = None
        self._lock = Lock()

    def end_process(self) -> None:
        """Arm the timer from now on; a process that has other things to do leaves that."""
        self._ends_process = True

    def note(self, frame: InWork | None) -> None:
        """Take the frame that is inside now, the one begun first, or None."""
        self._frame = frame
        if self._ends_process:
            self._arm()

    def overdue(self) -> str:
        """Return what takes too long, or an empty string; call it now and then."""
        frame, limit = self._frame, self._limit()
        if self._ends_process:
            self._arm()  # the limit may have changed, and a build gone on
        if frame is None or not limit:
            return ''
        seconds = time.monotonic() - max(frame.since, self._last_sign())
        if seconds < limit:
            return ''
        camera = f'camera {frame.camera}: ' if frame.camera else ''
        return f'{camera}one frame has taken {seconds:.1f} s, watchdog_timeout is {limit:g}'

    def _arm(self) -> None:
        """Set the timer to what is known now."""
        with self._lock:
            frame, limit = self._frame, self._limit()
            deadline = None
            if frame is not None and limit:
                deadline = max(frame.since, self._last_sign()) + limit + GRACE_S
            if deadline == self._deadline:
                return
            self._deadline = deadline
            if deadline is None:
                faulthandler.cancel_dump_traceback_later()
                return
            left = max(deadline - time.monotonic(), 0.001)
            with suppress(RuntimeError):  # no more threads: `overdue` is left
                faulthandler.dump_traceback_later(left, exit=True, file=_STDERR)
