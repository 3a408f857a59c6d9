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

"""Clouds that wait until tf2 knows where they were: transforms come a little later than points."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread
import time
from typing import NamedTuple

from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.ros.points.pairing import Pair
from uhr_seg_ros.ros.points.transforms import TransformNotYetError

POLL_S = 0.01
"""How often tf2 is asked while something waits, s: a question takes a quarter of a ms."""

MAX_UNCONNECTED = 64
"""Of so many pairs of frames it is remembered that waiting for their transform was in vain."""


class Search(NamedTuple):
    """
    A cloud whose pose is looked for.

    Attributes:
        pair: the cloud and its mask.
        frames: a number for the frames of both.
        stamp_ns: of the cloud.
        size: bytes of the cloud, without those of its mask.
        find: asks tf2; raises `TransformNotYetError` as long as waiting may help.

    """

    pair: Pair
    frames: int
    stamp_ns: int
    size: int
    find: Callable[[], Transform]


class _Waiting(NamedTuple):
    search: Search
    first: TransformNotYetError
    timeout: float
    deadline: float


class TransformWaiting:
    """
    Asks tf2 now and then for the poses of waiting clouds, in the order of their stamps.

    That is done by a thread that lives while something waits, so neither the worker nor the
    executor is held up, and nothing runs for static transforms. Time in which that thread does not
    get to run does not count: transforms are not received in it either.

    Args:
        on_found: gets a cloud and its pose.
        on_failed: gets a cloud that waits no longer, and why.
        max_bytes: of all clouds that wait; the oldest go first.
        limit: what to call that limit.

    Frames that nothing connects are waited for once: until tf2 connects them, the clouds that come
    after one that waited in vain fail at once.

    Attributes:
        late: clouds that waited until their time was over.

    """

    def __init__(
        self,
        on_found: Callable[[Search, Transform], None],
        on_failed: Callable[[Search, Exception], None],
        max_bytes: int,
        limit: str,
    ) -> None:
        self._on_found, self._on_failed = on_found, on_failed
        self._max_bytes, self._limit = max_bytes, limit
        self._lock = Lock()
        self._waiting: list[_Waiting] = []
        self._unconnected: set[int] = set()
        self._thread: Thread | None = None
        self._clock_s = 0.0
        self.late = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def find(self, search: Search, timeout: float) -> None:
        """Find the pose of a cloud now, or wait for it so many s at most."""
        self.look()  # what is found at last comes before what is found at once
        try:
            pose = search.find()
        except TransformNotYetError as error:
            # Its traceback would keep alive what it was raised in.
            self._wait(search, error.with_traceback(None), timeout)
        except Exception as error:
            self._on_failed(search, error)
        else:
            self._unconnected.discard(search.frames)
            self._on_found(search, pose)

    def look(self) -> None:
        """Ask now for those that wait."""
        with self._lock:
            self._look()

    def forget_after(self, stamp_ns: int | None = None) -> int:
        """Give up what is from after a time, ns, or everything; return how many that are."""
        with self._lock:
            before = len(self._waiting)
            self._waiting = [
                each
                for each in self._waiting
                if stamp_ns is not None and each.search.stamp_ns <= stamp_ns
            ]
            self._unconnected.clear()
            return before - len(self._waiting)

    def _wait(self, search: Search, error: TransformNotYetError, timeout: float) -> None:
        if error.lag_ns is not None:
            self._unconnected.discard(search.frames)
        if not timeout or search.frames in self._unconnected:
            self._on_failed(search, error)
            return
        with self._lock:
            deadline = self._clock_s + timeout
            self._waiting.append(_Waiting(search, error, timeout, deadline))
            self._waiting.sort(key=lambda each: each.search.stamp_ns)
            self._limit_memory()
            if self._thread is None and self._waiting:
                self._thread = Thread(target=self._run, name='pose_waiting', daemon=True)
                self._thread.start()

    def _run(self) -> None:
        last = time.monotonic()
        while True:
            with self._lock:
                now = time.monotonic()
                self._clock_s += min(now - last, 2 * POLL_S)
                last = now
                self._look()
                if not self._waiting:
                    self._thread = None
                    return
            time.sleep(POLL_S)

    def _look(self) -> None:
        # The callbacks are called under the lock: nothing comes after `forget_after`.
        late: set[int] = set()
        self._waiting = [each for each in self._waiting if self._waits_on(each, late)]

    def _waits_on(self, waiting: _Waiting, late: set[int]) -> bool:
        search = waiting.search
        if search.frames in late:  # an earlier one waits, so there is no use in asking
            return True
        try:
            pose = search.find()
        except TransformNotYetError as error:
            if self._clock_s < waiting.deadline:
                late.add(search.frames)
                return True
            self.late += 1
            if error.lag_ns is None and len(self._unconnected) < MAX_UNCONNECTED:
                self._unconnected.add(search.frames)
            self._on_failed(search, error.after(waiting.timeout, waiting.first))
        except Exception as error:  # whatever it is, the others wait on
            self._on_failed(search, error)
        else:
            self._unconnected.discard(search.frames)
            self._on_found(search, pose)
        return False

    def _limit_memory(self) -> None:
        while self._bytes() > self._max_bytes:
            oldest = self._waiting.pop(0)
            msg = (
                f'{oldest.first}. It is waited for no longer: clouds and masks that wait have '
                f'more bytes than {self._limit}'
            )
            self._on_failed(oldest.search, MessageError(msg))

    def _bytes(self) -> int:
        """Return how many bytes wait; clouds may share a mask."""
        searches = [each.search for each in self._waiting]
        masks = {id(each.pair.mask): each.pair.mask.size for each in searches}
        return sum(each.size for each in searches) + sum(masks.values())
