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

"""Transitions: what goes wrong in one is told, and what one wants of the worker is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from functools import wraps
import math
from threading import Event
import time
import traceback
from typing import Any, NamedTuple, Protocol, TypeVar

from rclpy.exceptions import ParameterException
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Return

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.text import shortened
from uhr_seg_ros.ros.worker import Worker

_MAX_LINES = 30

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


class Failures:
    """
    What went wrong in a transition, in the log and until the next transition.

    Args:
        logger: of the node.

    Attributes:
        text: all of it, for `/diagnostics`; empty if nothing did.

    """

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self.text = ''

    def clear(self) -> None:
        """Begin another transition."""
        self.text = ''

    def add(self, what: str, error: Exception) -> None:
        """Log what went wrong and remember it."""
        if isinstance(error, NodeStoppedError):
            return
        text = f'{what}: {describe(error)}'
        self.text = f'{self.text}; {text}' if self.text else text
        self._logger.error(text)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Take a step of closing; what it raises is added, and the next one is taken."""
        try:
            yield
        except WorkerBusyError:
            raise
        except Exception as error:
            self.add(f'{what} failed', error)


class _Node(Protocol):
    failures: Failures


N = TypeVar('N', bound=_Node)


def reported(
    failure: str,
) -> Callable[[Callable[[N, LifecycleState], Return]], Callable[[N, LifecycleState], Return]]:
    """Report what a transition raises, and go to error processing: rclpy only does the latter."""

    def decorate(
        transition: Callable[[N, LifecycleState], Return],
    ) -> Callable[[N, LifecycleState], Return]:
        @wraps(transition)
        def guarded(node: N, state: LifecycleState) -> Return:
            try:
                return transition(node, state)
            except Exception as error:  # whatever it is, the node stays alive
                node.failures.add(failure, error)
                return Return.ERROR

        return guarded

    return decorate


def describe(error: Exception) -> str:
    """Return our own errors as they are, an unexpected one with where it came from."""
    if isinstance(error, UhrSegError | ParameterException):
        return shortened(str(error))
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return ''.join(shortened(line) for line in lines[-_MAX_LINES:])
