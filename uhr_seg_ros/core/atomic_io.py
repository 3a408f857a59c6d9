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

"""Files that appear complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
import errno
import json
import os
from pathlib import Path
import secrets
from typing import Any

from uhr_seg_ros.core.errors import WriteError

#: Part of the name of a file that is being written.
UNFINISHED = '.unfinished'

# Beyond it a suffix names no format, and might make a name too long.
_LONG_SUFFIX = 20


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """
    Write a file under a temporary name, which becomes its name when the block ends well.

    Whoever looks finds all of the file or none of it, or an earlier one as it was. A link is
    followed; a device or a pipe, such as `/dev/stdout`, is written as it is.

    Example:
        >>> with atomic_write(Path('chart.png')) as unfinished:
        ...     figure.savefig(unfinished)

    Args:
        path: the file; the folders that it lies in are made.
        durable: whether the file is on the disk when the block is left, so that a loss of power
            does not leave it empty. It costs some ms.

    Yields:
        A path in the same folder and with the same suffix, whatever the length of the name.

    Raises:
        OSError: it cannot be written; names the file.

    """
    target = Path(os.path.realpath(path))
    unfinished = _unfinished(target)
    try:
        if _is_special(target):
            yield target
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        if durable:
            _sync(unfinished)
        unfinished.replace(target)
    except BaseException as err:  # also Ctrl-C: nothing half is left
        unfinished.unlink(missing_ok=True)
        # A full disk, for example, does not name the file.
        if isinstance(err, OSError) and _is_about(err, unfinished):
            raise OSError(err.errno, err.strerror, str(path)) from err
        raise


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """
    Write a file, and the folders that it lies in; see `atomic_write`.

    Raises:
        OSError: it cannot be written; names the file.

    """
    with atomic_write(path, durable=durable) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """
    Write a file in UTF-8, and the folders that it lies in; see `atomic_write`.

    Raises:
        OSError: it cannot be written; names the file.

    """
    write_bytes(path, text.encode('utf-8'))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report as JSON; see `write_text`."""
    write_text(path, json.dumps(content, indent=2) + '\n')


def check_writable(*paths: Path | None) -> None:
    """
    Check that files can be written, before the work whose results they are to hold.

    Args:
        paths: files; their folders are made. None is left out.

    Raises:
        WriteError: two are the same file.
        OSError: one cannot be written; names it.

    """
    targets: set[Path] = set()
    for path in filter(None, paths):
        target = Path(os.path.realpath(path))
        try:
            if _is_special(target):
                continue
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                target.lstat()  # such as a name that is too long
            probe = _unfinished(target)
            probe.touch()
            probe.unlink()
        except OSError as err:
            raise OSError(err.errno, err.strerror, str(path)) from err
        if target in targets:
            msg = f'{path} is to hold two results: give each a file of its own'
            raise WriteError(msg)
        targets.add(target)


def _unfinished(target: Path) -> Path:
    suffix = target.suffix if len(target.suffix) < _LONG_SUFFIX else ''
    return target.with_name(f'.{secrets.token_hex(6)}{UNFINISHED}{suffix}')


def _is_special(target: Path) -> bool:
    """Tell if a path is a device, a pipe or a socket."""
    return target.exists() and not target.is_file() and not target.is_dir()


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _is_about(error: OSError, unfinished: Path) -> bool:
    """Tell if an error comes from writing a file, and not from what else a block does."""
    if error.errno is None:
        return False
    if not isinstance(error.filename, str | bytes):
        return error.filename is None
    place = Path(os.fsdecode(error.filename))
    return place == unfinished or place in unfinished.parents
