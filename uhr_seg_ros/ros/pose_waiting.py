# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Clouds that wait until tf2 knows where they were: transforms come a little later than points."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread
import time
from typing import NamedTuple

from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.ros.pairing import Pair
from uhr_seg_ros.ros.poses import PoseError, PoseNotYetError

POLL_S = 0.01
"""How often tf2 is asked while something waits, s: a question takes a quarter of a ms."""


class Search(NamedTuple):
    """
    A cloud whose pose is looked for.

    Attributes:
        pair: the cloud and its mask.
        frames: a number for the frames of both.
        stamp_ns: of the cloud.
        size: bytes of the cloud, without those of its mask.
        find: asks tf2; raises `PoseNotYetError` as long as waiting may help.

    """

    pair: Pair
    frames: int
    stamp_ns: int
    size: int
    find: Callable[[], Transform]


class _Waiting(NamedTuple):
    search: Search
    first: PoseNotYetError
    timeout: float
    deadline: float


class PoseWaiting:
    """
    Asks tf2 now and then for the poses of waiting clouds, in the order of their stamps.

    That is done by a thread that lives while something waits, so neither the worker nor the
    executor is held up, and nothing runs for static transforms.

    Args:
        on_found: gets a cloud and its pose.
        on_failed: gets a cloud that waits no longer, and why.
        max_bytes: of all clouds that wait; the oldest go first.
        limit: what to call that limit.

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
        self._thread: Thread | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, search: Search, first: PoseNotYetError, timeout: float) -> None:
        """Wait so many s at most for the pose of a cloud, which `first` says is not there yet."""
        with self._lock:
            deadline = time.monotonic() + timeout
            # Its traceback would keep alive what it was raised in.
            first = first.with_traceback(None)
            self._waiting.append(_Waiting(search, first, timeout, deadline))
            self._waiting.sort(key=lambda each: each.search.stamp_ns)
            self._limit_memory()
            if self._thread is None and self._waiting:
                self._thread = Thread(target=self._run, name='pose_waiting', daemon=True)
                self._thread.start()

    def look(self) -> None:
        """Ask now, so that what is found at last comes before what is found at once."""
        with self._lock:
            self._look()

    def forget_after(self, stamp_ns: int | None = None) -> int:
        """Give up what is from after a time, ns, or everything; return how many that are."""
        with self._lock:
            before = len(self._waiting)
            self._waiting = [
                each for each in self._waiting
                if stamp_ns is not None and each.search.stamp_ns <= stamp_ns
            ]  # fmt: skip
            return before - len(self._waiting)

    def _run(self) -> None:
        while True:
            with self._lock:
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
        except PoseNotYetError as error:
            if time.monotonic() < waiting.deadline:
                late.add(search.frames)
                return True
            self._on_failed(search, error.after(waiting.timeout, waiting.first))
        except Exception as error:  # whatever it is, the others wait on
            self._on_failed(search, error)
        else:
            self._on_found(search, pose)
        return False

    def _limit_memory(self) -> None:
        while self._bytes() > self._max_bytes:
            oldest = self._waiting.pop(0)
            msg = (f'{oldest.first}. It is waited for no longer: clouds and masks that wait have '
                   f'more bytes than {self._limit}')
            self._on_failed(oldest.search, PoseError(msg))

    def _bytes(self) -> int:
        """Return how many bytes wait; clouds may share a mask."""
        searches = [each.search for each in self._waiting]
        masks = {id(each.pair.mask): each.pair.mask.size for each in searches}
        return sum(each.size for each in searches) + sum(masks.values())
