# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What a transition wants of the worker: it waits for that, but not for ever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
import math
from threading import Event
import time
from typing import Any, NamedTuple

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.ros.worker import Worker

_POLL_S = 0.1


class NodeStoppedError(UhrSegError):
    """The node is stopped while a transition waits."""


class WorkerTimeoutError(UhrSegError):
    """The worker has not done in time what a transition wants of it."""


class WorkerBusyError(WorkerTimeoutError):
    """The worker is inside something else; it will not begin what was wanted."""


class WorkerHangsError(WorkerTimeoutError):
    """The worker has begun what was wanted, and is still inside."""


class Limit(NamedTuple):
    """
    How long to wait.

    Attributes:
        name: of the parameter, for the message.
        seconds: gives its value of this moment, s; 0 = for ever.

    """

    name: str
    seconds: Callable[[], float]


def run_and_wait(
    worker: Worker,
    job: Callable[[], Any],
    what: str,
    stopping: Event,
    *,
    to_begin: Limit,
    to_go_on: Limit,
    last_sign: Callable[[], float] = lambda: -math.inf,
) -> Any:
    """
    Run a job on the worker and return its result.

    Args:
        worker: runs it.
        job: what to do.
        what: what that is, such as `loading a bundle`.
        stopping: ends the waiting.
        to_begin: how long the worker may be inside something else.
        to_go_on: how long it may be inside the job without a sign of progress.
        last_sign: gives when there was one, s (`time.monotonic`).

    Raises:
        NodeStoppedError: the node is being stopped.
        WorkerBusyError: the job has not begun in time, and never will.
        WorkerHangsError: the job has begun, and may end later.
        Exception: the job has failed.

    """
    future = worker.call(job, what)
    since, has_begun = time.monotonic(), False
    while not wait([future], timeout=_POLL_S).done:
        if stopping.is_set():
            msg = 'the node is being stopped'
            raise NodeStoppedError(msg)
        now = time.monotonic()
        if not has_begun and future.running():
            has_begun, since = True, now
        if has_begun:
            silence, limit = now - max(since, last_sign()), to_go_on.seconds()
            if limit and silence >= limit:
                msg = (
                    f'{what} has shown no sign of progress for {silence:.1f} s ({to_go_on.name} '
                    f'{limit:g}): the worker stays inside and takes nothing else until it comes '
                    f'back; if it needs that long, raise {to_go_on.name}, else restart the process'
                )
                raise WorkerHangsError(msg)
        elif (limit := to_begin.seconds()) and now - since >= limit and future.cancel():
            msg = (
                f'{what} was not begun within {now - since:.1f} s ({to_begin.name} {limit:g}): '
                f'the worker is inside {worker.occupation() or "something else"}; try again '
                'later, or restart the process if that never ends'
            )
            raise WorkerBusyError(msg)
    return future.result()
