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

"""A command that is told to end: signals become exceptions, so that everything is cleared away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
import signal
import sys
from threading import current_thread, main_thread
from types import FrameType

#: Signal -> what handles it in a Python process that nobody changed.
ENDING: dict[signal.Signals, Callable[[int, FrameType | None], None] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}

#: What asks a child for its early end: SIGINT is ignored by what a shell runs in the background.
END_EARLY = signal.SIGUSR1

#: So many signals end the process at once; the second one lets the first finish its clean-up.
_IMPATIENT = 3


class Terminated(BaseException):
    """
    SIGTERM or SIGHUP has arrived; like KeyboardInterrupt, no `except Exception` takes it.

    Attributes:
        number: of the signal.

    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Taker:
    """What the handlers know: how many signals came, and whether they have to wait."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.count = 0
        self.held = 0
        self.waiting = 0
        self.asked: Asked | None = None

    def take(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:  # a forked child, such as a loader of data
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.count += 1
        if self.count >= _IMPATIENT:
            os._exit(128 + number)
        if self.asked is not None and not self.held:
            self._ask(self.asked, number)
            return
        if self.count > 1:
            return
        if self.held:
            self.waiting = number
        else:
            _raise(number)

    def _ask(self, asked: Asked, number: int) -> None:
        if self.count > 1:
            _raise(asked.number)
        asked.number = number
        # Not with print, which the signal may have interrupted.
        os.write(sys.stderr.fileno() if _has_number(sys.stderr) else 2, asked.notice)


class Asked:
    """
    Whether a signal has asked a block to come to its end.

    Args:
        notice: line for the user who sent it.

    Attributes:
        number: of the signal, 0 for none.
    """

    def __init__(self, notice: str = '') -> None:
        self.number = 0
        self.notice = f'\n{notice}\n'.encode() if notice else b''

    def __bool__(self) -> bool:
        return self.number != 0


_taker = _Taker()


@contextmanager
def signals_end_the_block(*also: signal.Signals) -> Iterator[None]:
    """
    Let SIGINT, SIGTERM and SIGHUP raise in the main thread while the block runs.

    The first one raises `KeyboardInterrupt` or `Terminated`; the second one is ignored, so that
    it does not disturb the clean-up; the third one ends the process. A signal that is ignored, as
    by nohup, or that somebody else takes, stays so. Not in processes that torchrun started: their
    peers may be gone, and a clean-up that talks to them would hang.

    Args:
        also: further signals, which raise `KeyboardInterrupt`.

    """
    global _taker
    has_peers = os.environ.get('WORLD_SIZE', '').strip() not in ('', '0', '1')
    if has_peers or current_thread() is not main_thread():
        yield
        return
    ending = {**dict.fromkeys(also, signal.SIG_DFL), **ENDING}
    taken = [each for each, usual in ending.items() if signal.getsignal(each) == usual]
    earlier, _taker = _taker, _Taker()
    try:
        for each in taken:
            signal.signal(each, _taker.take)
        yield
    finally:
        for each in taken:
            signal.signal(each, ending[each])
        _taker = earlier


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals wait until the block is done, such as one that starts a process to be ended."""
    if current_thread() is not main_thread():
        yield
        return
    taker = _taker
    taker.held += 1
    try:
        yield
    finally:
        taker.held -= 1
        if taker.waiting and not taker.held:
            number, taker.waiting = taker.waiting, 0
            _raise(number)


@contextmanager
def first_signal_asks(notice: str) -> Iterator[Asked]:
    """
    Let the first signal only ask the block to come to its end, and the second one raise.

    The exception of the first signal is raised after the block.

    Args:
        notice: line that is written to stderr when the first one comes.

    Yields:
        Truthy as soon as a signal has come. Never where others take the signals, such as torchrun.

    """
    asked, taker = Asked(notice), _taker
    if current_thread() is not main_thread():
        yield asked
        return
    taker.asked = asked
    try:
        yield asked
    finally:
        taker.asked = None
    if asked:
        _raise(asked.number)


@contextmanager
def note_progress(done: Callable[[], str]) -> Iterator[None]:
    """
    Note on whatever ends the block early what was done until then.

    Args:
        done: gives a few words, such as `3 of 25 images segmented`; empty: nothing to tell.

    """
    try:
        yield
    except BaseException as err:
        if not progress_note(err):
            err.progress_note = done()  # type: ignore[attr-defined]
        raise


def progress_note(error: BaseException) -> str:
    """Return what `note_progress` has noted on an exception; empty without a note."""
    return getattr(error, 'progress_note', '')


def exit_code(error: BaseException) -> int:
    """Return what a shell expects of a process that a signal has ended."""
    return 128 + (error.number if isinstance(error, Terminated) else signal.SIGINT)


def _has_number(stream: object) -> bool:
    """Tell if a stream is a file of the system, which that of a test is not."""
    try:
        return isinstance(stream.fileno(), int)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False


def _raise(number: int) -> None:
    if number in (signal.SIGTERM, signal.SIGHUP):
        raise Terminated(number)
    raise KeyboardInterrupt
