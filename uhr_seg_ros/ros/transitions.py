# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What goes wrong in a transition: rclpy would tell nobody, so the node does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
import traceback
from typing import Protocol, TypeVar

from rclpy.exceptions import ParameterException
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Return

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.text import shortened
from uhr_seg_ros.ros.waiting import NodeStoppedError, WorkerBusyError

_MAX_LINES = 30


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
