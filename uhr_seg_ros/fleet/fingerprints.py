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

"""Whether an input is what it was: quickly by sizes and times, surely by its content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.fleet.units import digest

_PIECE = 1 << 22


def fingerprint_of(path: Path) -> str:
    """
    Return what changes when a file, or one of a folder of files, is written to.

    Empty where there is no such file: reading it says what is wrong.
    """
    try:
        return digest(
            [(each.name, each.stat().st_mtime_ns, each.stat().st_size) for each in _files(path)]
        )[:24]
    except OSError:
        return ''


def content_of(path: Path) -> str:
    """
    Return the SHA-256 of a file, or of the files of a folder with their names.

    Raises:
        RecordingError: it cannot be read.

    """
    try:
        if path.is_dir():
            return digest([(each.name, _sha256(each)) for each in _files(path)])
        return _sha256(path)
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise RecordingError(msg) from err


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if each.is_file())


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open('rb') as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
