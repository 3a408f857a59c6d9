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

"""The life of a process that holds one node: start, signals, and an end within two seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import faulthandler
import logging
import os
import signal
import sys
from threading import Event, Thread
import traceback

import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.program import LOGGER
from uhr_seg_ros.ros.parameters.declaration import explained
from uhr_seg_ros.ros.watchdog import Watchdog

RCLError = rclpy_implementation.RCLError
"""What the C layer of rclpy raises."""

# Each thread that takes frames keeps a heap with buffers of their size.
THREADS = 2
"""Of the executor: one may take a frame or wait in a transition while the other one answers."""

WATCH_PERIOD_S = 0.5
"""How often the watchdog is asked."""

WORKER_GRACE_S = 0.5
"""How long the end of the process waits for the frame in work."""

REPORT_S = 1.5
"""How long a node that has to end lives on, so that its diagnostics tell why."""

# A descriptor: `sys.stderr` may have none.
_STDERR = 2


class StoppableNode(LifecycleNode):
    """
    A node that has threads of its own.

    Attributes:
        watchdog: looks at them.
        fatal: why nothing works any more but in a new process; empty as long as that is not so.

    """

    watchdog: Watchdog
    fatal: str = ''

    def stop(self, timeout: float) -> bool:
        """Begin nothing more; tell whether the threads have ended within `timeout` s."""
        raise NotImplementedError


class RosLogHandler(logging.Handler):
    """Hands what the package logs on to the logger of a node, in its level."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record."""
        text = self.format(record)
        # rclpy knows a call by its line, which has to keep to one level.
        if record.levelno >= logging.CRITICAL:
            self._logger.fatal(text)
        elif record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


@contextmanager
def ros_logging(logger: RcutilsLogger) -> Iterator[None]:
    """Let a node log what the package logs, from information on, while the block runs."""
    package, handler = logging.getLogger(LOGGER), RosLogHandler(logger)
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)


def run(make_node: Callable[[], StoppableNode], args: list[str] | None = None) -> int:
    """
    Spin a node until a signal, a failure, its watchdog or its own word; return the exit code.

    The signals are SIGINT, SIGTERM and SIGHUP.

    The executor runs on a thread of its own and the signals are taken here, on the main thread:
    so a signal interrupts no callback, the context outlives the node's last publication, and
    another Ctrl-C does not disturb the clean-up.
    """
    stop = Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else nohup has started it
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    except Exception as error:  # such as a refused parameter, told without a traceback
        print(f'segmentation_node: {explained(error)}', file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    with ros_logging(node.get_logger()):
        return _spin_until_the_end(node, stop, numbers)


def _spin_until_the_end(node: StoppableNode, stop: Event, numbers: list[signal.Signals]) -> int:
    """Spin a node until something sets `stop` or fails, and clean up; return the exit code."""
    executor = MultiThreadedExecutor(num_threads=THREADS)
    executor.add_node(node)
    failures: list[BaseException] = []
    spinner = Thread(target=spin, args=(executor, stop, failures), name='executor', daemon=True)
    spinner.start()
    node.watchdog.end_process()
    while not stop.wait(WATCH_PERIOD_S):
        if overdue := node.watchdog.overdue():
            faulthandler.dump_traceback(file=_STDERR)  # where it hangs
        if reason := overdue or node.fatal:
            node.get_logger().error(f'{reason}: the process ends with code 1')
            failures.append(ProcessError(reason))
            if node.fatal:
                stop.wait(REPORT_S)
            break
    for number in numbers:  # the end has begun, and takes care of itself
        signal.signal(number, signal.SIG_IGN)
    has_ended = node.stop(WORKER_GRACE_S)
    try:
        executor.shutdown()
        spinner.join(WORKER_GRACE_S)
        node.destroy_node()
        rclpy.try_shutdown()
    except Exception as error:  # the process ends all the same
        failures.append(error)
        traceback.print_exc()
    code = 1 if failures else 0
    if node.fatal or not has_ended:
        _exit_at_once(node, code)
    return code


def _exit_at_once(node: StoppableNode, code: int) -> None:
    """
    End the process although a thread is inside an engine, or engines cannot be closed any more.

    That thread cannot be ended, and the interpreter could abort when it comes back to it. What a
    lost GPU has left is the driver's to clear away.
    """
    # rclpy leaves a node's state machine to the garbage collector, and with it the DDS
    # participant and its shared memory; no transition is under way any more.
    state_machine = getattr(node, '_state_machine', None)
    if state_machine is not None:
        state_machine.destroy_when_not_in_use()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def spin(executor: Executor, stop: Event, failures: list[BaseException]) -> None:
    """
    Spin until the executor is shut down, whatever rclpy raises on the way.

    Args:
        executor: holds the node.
        stop: ends the spinning; set at the end in any case.
        failures: gets what ended it, if that is no shutdown.

    """
    try:
        while not stop.is_set() and executor.context.ok():
            try:
                executor.spin()
            except InvalidHandle:
                # A topic was closed while the executor was about to wait for it.
                continue
            except RCLError as error:
                # Humble and Jazzy raise it for a transition that the state does not allow.
                get_logger('segmentation').error(f'request refused: {error}')
    except ExternalShutdownException:
        pass
    except BaseException as error:
        failures.append(error)
        raise
    finally:
        stop.set()
