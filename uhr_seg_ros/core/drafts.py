# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Folders for what is not finished, inside the folder that it will belong to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import fcntl
import os
from pathlib import Path
import shutil
from tempfile import TemporaryDirectory


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
