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

"""Reading files that somebody named: regular ones only, and not more than there should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import hashlib
import os
from pathlib import Path
import stat
from typing import BinaryIO

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.text import printable, shortened

#: What a path may lead to, and what it is called.
_KINDS = (
    (stat.S_ISDIR, 'a folder'),
    (stat.S_ISFIFO, 'a named pipe'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)

_PIECE = 1 << 20


class FileFault(UhrSegError):
    """
    A file that cannot be read.

    Args:
        path: the file.
        reason: in a few words.

    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f'{shortened(printable(str(path)), 300)} cannot be read ({reason})')
        self.reason = reason


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """
    Open a regular file for reading; opening never waits, as a pipe makes it.

    Raises:
        FileFault: there is no such file, it may not be read, or it is something else.

    """
    try:
        # Before it is opened, too: opening alone makes some devices act.
        _check(path, os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as err:
        raise FileFault(path, err.strerror or type(err).__name__) from err
    except ValueError as err:  # a NUL, or half of a surrogate pair
        raise FileFault(path, 'no file can have this name') from err
    with open(descriptor, 'rb') as file:
        _check(path, os.fstat(descriptor))
        yield file


def read_regular(path: Path, most: int) -> bytes:
    """
    Read a regular file as a whole.

    Args:
        path: the file.
        most: largest size, bytes.

    Raises:
        FileFault: as `open_regular`, or it is larger.

    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # One byte more tells of a file that grows, or whose size nobody knows.
        content = b'' if size > most else _read(path, file, most + 1)
        if (size := max(size, len(content))) > most:
            raise FileFault(path, f'it has {size} bytes, at most {most} are read')
        return content


def file_sha256(path: Path) -> str:
    """
    Return the sha256 of a regular file as 64 hexadecimal digits.

    Raises:
        FileFault: as `open_regular`.

    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := _read(path, file, _PIECE):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path, file: BinaryIO, most: int) -> bytes:
    try:
        return file.read(most)
    except OSError as err:
        raise FileFault(path, err.strerror or type(err).__name__) from err


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        found = next((name for test, name in _KINDS if test(status.st_mode)), 'something else')
        raise FileFault(path, f'it is {found}, expected a regular file')
