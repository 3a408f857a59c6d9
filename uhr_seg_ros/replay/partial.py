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

"""A folder that stands under its name whole or not at all."""

from __future__ import annotations

from contextlib import suppress
import fcntl
import hashlib
import os
from pathlib import Path
import shutil
from tempfile import mkdtemp

from uhr_seg_ros.core.errors import RecordingError

_MARK = 'partial'
# Of a name, with room for what stands beside it in the name of a hidden folder.
_MAX_NAME = 200


class PartialFolder:
    """
    Makes a hidden folder beside the final one, `.NAME.partial.PID`, to fill and to rename.

    A process that is killed leaves that one behind, and the next one that makes the same folder
    removes it. Of two at the same time the second is refused.

    Args:
        path: the final folder; it must not exist.

    Attributes:
        path: where to make the folder that is to become the final one; it has the same name.

    Raises:
        RecordingError: the final folder exists, or another process is making it.
        OSError: the folder that it lies in cannot be written.

    """

    def __init__(self, path: Path) -> None:
        check_absent(path)
        self._final = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._remove_stale()
        # Locked before it gets its name: nobody finds it unlocked who looks for stale ones.
        self._hidden = Path(mkdtemp(prefix='.', dir=path.parent))
        self._lock = os.open(self._hidden, os.O_RDONLY)
        try:
            with suppress(OSError):  # on file systems without locks the process id has to do
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            named = path.parent / f'{_prefix(path)}{os.getpid()}'
            self._hidden.rename(named)
            self._hidden = named
            self._remove_stale()
        except BaseException:
            self.discard()
            raise
        self.path = self._hidden / path.name

    def finish(self) -> None:
        """
        Give the folder its final name, once its files are on the disk.

        Raises:
            OSError: they cannot be written, or there is a folder of that name by now, which has
                files in it.

        """
        for file in self.path.iterdir():
            with file.open('rb') as stream:
                os.fsync(stream.fileno())
        self.path.rename(self._final)
        self.discard()

    def discard(self) -> None:
        """Remove what is there of it, unless it has been finished."""
        shutil.rmtree(self._hidden, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _remove_stale(self) -> None:
        prefix = _prefix(self._final)
        for folder in self._final.parent.iterdir():
            process = folder.name.removeprefix(prefix)
            if folder == getattr(self, '_hidden', None) or process == folder.name:
                continue
            if process.isdecimal() and _is_at_work(folder, int(process)):
                msg = (
                    f'{self._final} is being written by process {process}: wait until it has '
                    f'ended, or choose another name (it writes to {folder})'
                )
                raise RecordingError(msg)
            if process.isdecimal():
                shutil.rmtree(folder, ignore_errors=True)


def check_absent(path: Path) -> None:
    """Raise a RecordingError where something has the name of a folder that is to be made."""
    if os.path.lexists(path):
        msg = f'{path} exists already: remove it or choose another name'
        raise RecordingError(msg)


def _prefix(path: Path) -> str:
    name = path.name
    if len(os.fsencode(name)) > _MAX_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f'.{name}.{_MARK}.'


def _is_at_work(folder: Path, process: int) -> bool:
    """Tell if the process that made a hidden folder is still there."""
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # no locks here
    finally:
        os.close(file)
    # In a container that was started again another process may have the same number by now.
    import psutil

    if process == os.getpid():
        return False
    with suppress(psutil.Error, OSError):
        return psutil.Process(process).create_time() <= folder.stat().st_mtime + 1.0
    return False
