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

"""What every program of this package does around its work: exit codes, errors, the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
import logging
import sys

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.interruption import (
    exit_code,
    progress_note,
    signals_end_the_block,
    Terminated,
)

#: Exit codes: all good; something went wrong and was said; wrong usage or an error.
OK, INCOMPLETE, FAILED = 0, 1, 2

#: Package whose name is not what is installed -> how to get it.
PACKAGES = {
    'cv2': 'pip install opencv-python-headless, or the python3-opencv of the distribution',
    'yaml': 'pip install PyYAML',
    'rclpy': 'source a ROS 2 installation',
}

#: The logger above those of all modules.
LOGGER = 'uhr_seg_ros'


class TerminalHandler(logging.Handler):
    """
    Writes records as plain lines: progress to stdout, warnings and errors to stderr.

    The streams are those of the moment, and progress bars of tqdm are redrawn below the line.
    Errors get the prefix that all errors of a program have.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a stream that is gone raises, as `print` does."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            text = f'uhr_seg: error: {text}'
        if bars := sys.modules.get('tqdm'):
            bars.tqdm.write(text, file=stream)
        else:
            print(text, file=stream)
        stream.flush()


@contextmanager
def terminal_logging() -> Iterator[None]:
    """Show what the modules of this package log, from INFO on, while the block runs."""
    logger = logging.getLogger(LOGGER)
    if any(isinstance(each, TerminalHandler) for each in logger.handlers):
        yield
        return
    handler, earlier = TerminalHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(earlier)
        logger.removeHandler(handler)


def guarded(run: Callable[[], int], command: str) -> int:
    """
    Run what a user has called, and say in one line what ended it early.

    Args:
        run: the work; returns the exit code.
        command: how it was called, for the text of errors.

    Returns:
        Exit code: that of the work, 2 for an error, 130 for Ctrl-C, 143 for SIGTERM, 129 for
        SIGHUP; the last four with one line on stderr, which says what was done until then.

    """
    with signals_end_the_block(), terminal_logging():
        return _guarded(run, command)


def _guarded(run: Callable[[], int], command: str) -> int:
    try:
        return run()
    except UhrSegError as err:
        return _fail(str(err), err)
    except ModuleNotFoundError as err:
        if err.name is None or err.name.partition('.')[0] == 'uhr_seg_ros':
            raise
        return _fail(_missing_package(command, err.name.partition('.')[0]))
    except OSError as err:  # such as a folder that cannot be written
        return _fail(f'{err.filename}: {err.strerror}' if err.filename else str(err), err)
    except MemoryError as err:
        return _fail(f'out of memory: {err}' if str(err) else 'out of memory', err)
    except (KeyboardInterrupt, Terminated) as err:
        with suppress(OSError):  # the terminal may be gone
            print(_with_done(f'uhr_seg: ended by {str(err) or "Ctrl-C"}', err), file=sys.stderr)
        return exit_code(err)


def _missing_package(command: str, package: str) -> str:
    wanted = PACKAGES.get(package, f'pip install {package}')
    level = 'test' if package in ('torch', 'onnx') else 'run'
    return (
        f'`{command}` needs the Python package {package}, which is not installed: {wanted}; '
        f'in a clone, bash scripts/setup {level}'
    )


def _fail(text: str, error: BaseException | None = None) -> int:
    print(_with_done(f'uhr_seg: error: {text}', error), file=sys.stderr)
    return FAILED


def _with_done(text: str, error: BaseException | None) -> str:
    done = progress_note(error) if error else ''
    return f'{text}; {done}' if done else text
