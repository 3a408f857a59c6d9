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

"""Folders at work: one run at a time in a folder of results, and drafts inside of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import errno
import fcntl
import os
from pathlib import Path
import shutil
from tempfile import TemporaryDirectory

from uhr_seg_ros.core.errors import WriteError

#: Is there while a run writes into its folder.
LOCK = '.uhr_seg.lock'

#: What file systems say that have no locks, such as some network drives.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """
    Make a folder for results and keep other runs out of it while the block runs.

    The lock is one of the kernel: it ends with the process, whatever ends that.

    Args:
        folder: made if absent.

    Raises:
        WriteError: another run writes into the folder, or it cannot be made or written.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        msg = f'output folder {folder} cannot be made: {err.strerror}'
        raise WriteError(msg) from err
    path = folder / LOCK
    file = _open(path)
    try:
        yield
    finally:
        # Before the lock ends: a run that opens it afterwards makes a file of its own.
        with suppress(OSError):
            path.unlink()
        os.close(file)


def _open(path: Path) -> int:
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as err:
            msg = f'output folder {path.parent} cannot be written: {err.strerror}'
            raise WriteError(msg) from err
        try:
            _take(file, path)
            if _is_there(file, path):
                os.ftruncate(file, 0)
                with suppress(OSError):  # a full disk: nobody can read who it is, then
                    os.write(file, f'{os.getpid()}\n'.encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its owner has removed it meanwhile


def _take(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        owner = os.pread(file, 20, 0).decode('ascii', 'replace').strip()
        process = f' (process {owner})' if owner else ''
        msg = (
            f'another run{process} writes into {path.parent}: wait until it has ended, or choose '
            'another output folder'
        )
        raise WriteError(msg) from err
    except OSError as err:
        if err.errno not in _NO_LOCKS:
            raise


def _is_there(file: int, path: Path) -> bool:
    """Tell if a lock is the one that others find, and not one that was removed."""
    try:
        found = path.stat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(file))


@contextmanager
def draft_folder(directory: Path, prefix: str) -> Iterator[Path]:
    """
    Make a folder that is gone afterwards, and remove those that killed processes left behind.

    It lies inside of the other one, since what is beside it may be on another device.

    Args:
        directory: where it lies.
        prefix: of its name, such as `.export_`.

    """
    for path in directory.glob(f'{prefix}*'):
        _remove_abandoned(path)
    with TemporaryDirectory(dir=directory, prefix=prefix) as draft, _held(Path(draft)):
        yield Path(draft)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Lock a folder while somebody works in it; gives whether nobody else does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held by another process; or a file system without locks
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    with suppress(OSError), _held(path) as alone:  # no folder, or removed by another process
        if alone:
            shutil.rmtree(path, ignore_errors=True)
