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

"""Entries of the engine cache: their names, their files, and who may have written those."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import hashlib
import json
import os
from pathlib import Path
import re
from tempfile import NamedTemporaryFile
from typing import Any

from uhr_seg_ros.core.config_reader import read_json
from uhr_seg_ros.core.errors import EngineError

#: What entries are; also the suffix of their files.
KINDS = ('engine', 'timing', 'runtime', 'graph', 'kernels', 'memory', 'verdict')

#: How much of a key's digest its file name shows, hexadecimal digits.
_DIGITS = 16

#: Ends the name of a file that is being written.
UNFINISHED = '.unfinished'


class CacheError(EngineError):
    """A cache folder that cannot be written."""


@dataclass(frozen=True)
class Key:
    """
    What an entry was made from; another value of any field is another entry.

    Attributes:
        kind: one of `KINDS`.
        name: for people, such as `hlrc_s_aerial-detail-fp16-3840x2160`.
        fields: such as the sha256 of the graph, the version of TensorRT, the GPU.

    """

    kind: str
    name: str
    fields: Mapping[str, str]

    @property
    def stem(self) -> str:
        """File name without its suffix: the name and the digest of the fields."""
        text = json.dumps(dict(sorted(self.fields.items())))
        name = re.sub(r'[^A-Za-z0-9_.-]', '_', self.name)
        return f'{name}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}'


@dataclass(frozen=True)
class Entry:
    """
    One entry that was found.

    Attributes:
        path: the file; its sidecar has the suffix .json.
        size: bytes.
        used: when it was read or written last, s since 1970.
        facts: the content of the sidecar: kind, name, fields, sha256, and what was noted.

    """

    path: Path
    size: int
    used: float
    facts: dict[str, Any] = field(default_factory=dict)


def is_shared(status: os.stat_result) -> bool:
    """Tell if anybody but the present user may write a file, or put files into a folder."""
    return status.st_uid != os.geteuid() or bool(status.st_mode & 0o022)


def read_facts(path: Path) -> dict[str, Any]:
    """Read the sidecar of an entry; empty where there is none that can be read."""
    try:
        return read_json(path.with_suffix('.json'), CacheError, '')
    except CacheError:
        return {}


def file_of(sidecar: Path) -> Path | None:
    """Find the file that a sidecar lies beside."""
    paths = (sidecar.with_suffix(f'.{kind}') for kind in KINDS)
    return next((path for path in paths if path.is_file()), None)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file for the present user only; it appears complete or stays as it was."""
    with NamedTemporaryFile(
        dir=path.parent, prefix=f'.{path.name}.', suffix=UNFINISHED, delete=False
    ) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:  # such as a full disk, or Ctrl-C
            os.unlink(file.name)
            raise


def remove_entry(path: Path) -> None:
    """Remove an entry and its sidecar, if they are there."""
    path.unlink(missing_ok=True)
    path.with_suffix('.json').unlink(missing_ok=True)
