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

"""The files of folders, zip and tar archives, one by one; only what is asked for is unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
import lzma
import os
from pathlib import Path
import shutil
import tarfile
from typing import Any
import zipfile
import zlib

from uhr_seg_ros.core.errors import DataError

#: Begins a 7z archive, or the first part of one.
_SEVEN_ZIP = b"7z\xbc\xaf'\x1c"
_ZIP = (b'PK\3\4', b'PK\5\6')
#: Where tar writes its name, and what it is; gzip, bzip2 and xz around it.
_TAR_AT, _TAR = 257, b'ustar'
_PACKED = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ\0')

_PIECE = 1 << 20

#: What the readers of archives raise where one is damaged, or packed in an unusual way.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    tarfile.TarError,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,  # a password is missing
)


@dataclass(frozen=True)
class Member:
    """
    A file of a source.

    Attributes:
        path: In the source, with ``/``.
        origin: Folder or archive that it is from.
        size: Bytes.
        file: Where it lies already; None: in an archive.
    """

    path: str
    origin: Path
    size: int
    file: Path | None
    _open: Callable[[], Any]

    def __str__(self) -> str:
        return str(self.file or f'{self.origin}: {self.path}')

    def copy_to(self, unfinished: Path) -> None:
        """
        Copy the content, whose checksum is verified where the archive has one.

        Raises:
            DataError: The member is damaged, or shorter than it says.
            OSError: The copy cannot be written.
        """
        with reading(str(self)), self._open() as content, unfinished.open('wb') as copy:
            shutil.copyfileobj(content, copy, _PIECE)
        if (written := unfinished.stat().st_size) != self.size:
            msg = f'{self} has {written} of {self.size} bytes: download it again'
            raise DataError(msg)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """
    Turn what goes wrong in reading an archive into an error that names it.

    Raises:
        DataError: The block raised what readers of archives raise.
    """
    try:
        yield
    except _BROKEN as err:
        msg = f'{what} cannot be unpacked ({err or type(err).__name__}): download it again'
        raise DataError(msg) from err


def parts_of(source: Path) -> list[Path]:
    """
    Return what `members` reads one after the other: a source, and the archives in a folder.

    Raises:
        DataError: There is no such file or folder.
    """
    if not source.exists():
        msg = f'{source} is no file or folder'
        raise DataError(msg)
    if not source.is_dir():
        return [source]
    archives = (path for path in _files(source) if path.name.lower().endswith(_ARCHIVES))
    return [source, *(path for path in archives if _kind(path) in _OPENERS)]


def members(part: Path) -> Iterator[Member]:
    """
    Yield the files of a folder, a zip or a tar archive; its content tells what it is.

    A member of a tar archive can be read until the next one is asked for.

    Raises:
        DataError: It is none of these, damaged, or a 7z archive, which Python does not read.
    """
    if part.is_dir():
        for path in _files(part):
            inside = path.relative_to(part).as_posix()
            yield Member(inside, part, path.stat().st_size, path, partial(path.open, 'rb'))
        return
    kind = _kind(part)
    if kind == '7z':
        msg = (
            f'{part} is a 7z archive, which Python does not read: unpack it with '
            f'`7z x {part.name}` (package p7zip-full or 7zip), and give the folder; an archive '
            'that is inside is read as it is'
        )
        raise DataError(msg)
    if not kind:
        msg = f'{part} is neither a folder nor a zip or tar archive'
        raise DataError(msg)
    yield from _OPENERS[kind](part)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in the order of their names, hidden ones left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in sorted(names):
            if not _hidden(name) and (path := Path(place, name)).is_file():
                yield path


def _of_zip(path: Path) -> Iterator[Member]:
    with reading(str(path)), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir() and not _hidden(info.filename):
                opened = partial(archive.open, info)
                yield Member(info.filename, path, info.file_size, None, opened)


def _of_tar(path: Path) -> Iterator[Member]:
    # One after the other: to jump in a packed archive would unpack it from its beginning.
    with reading(str(path)), tarfile.open(path, 'r|*') as archive:
        for info in archive:
            if info.isfile() and not _hidden(info.name):
                yield Member(info.name, path, info.size, None, partial(archive.extractfile, info))


_OPENERS = {'zip': _of_zip, 'tar': _of_tar}
#: Ends of names of archives that are looked for in a folder.
_ARCHIVES = ('.zip', '.tar', '.tgz', '.tar.gz', '.tar.bz2', '.tar.xz')


def _kind(path: Path) -> str:
    """Tell an archive by its content: ``zip``, ``tar``, ``7z``; empty for other files."""
    with path.open('rb') as file:
        head = file.read(_TAR_AT + len(_TAR))
    if head.startswith(_SEVEN_ZIP):
        return '7z'
    if head.startswith(_ZIP):
        return 'zip'
    return 'tar' if head[_TAR_AT:] == _TAR or head.startswith(_PACKED) else ''


def _hidden(path: str) -> bool:
    """Tell what other systems put into archives, such as ``__MACOSX/._a.png``."""
    return any(part.startswith(('.', '__MACOSX')) for part in path.split('/') if part != '.')
