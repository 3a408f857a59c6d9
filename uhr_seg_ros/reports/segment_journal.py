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

"""What `uhr_seg segment` has done in a folder, frame by frame, so that a run can go on."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.reports.class_areas import ImageAreas

JOURNAL = '.uhr_seg_segment.jsonl'


class Journal:
    """
    A line for every frame whose files are written; on the disk before the next frame begins.

    Args:
        folder: of the results, locked by this run.
        settings: what decides how results look: model and options. Values that JSON holds.
        resume: go on with what an earlier run of the same settings has noted; otherwise its
            notes are removed.

    Raises:
        ConfigError: the earlier run had other settings.
        OSError: the file cannot be read or written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
        path = folder / JOURNAL
        self._done: dict[str, dict[str, Any]] = {}
        if resume and path.is_file():
            self._done = _read(path, settings)
        lines = [{'settings': settings}, *self._done.values()]
        write_text(path, ''.join(json.dumps(line) + '\n' for line in lines))
        self._file = path.open('a', encoding='utf-8')

    def find(self, path: Path, place: str, name: str) -> ImageAreas | None:
        """
        Return what was noted about a frame, if its source is as it was then.

        Args:
            path: image, recording or video.
            place: in it.
            name: of the results.
        """
        line = self._done.get(_key(path, place, name))
        return ImageAreas(**line['areas']) if line and line['state'] == _state(path) else None

    def add(self, path: Path, place: str, areas: ImageAreas) -> None:
        """Note that all files of a frame are written; arguments as of `find`."""
        line = {
            'key': _key(path, place, areas.name),
            'state': _state(path),
            'areas': areas.as_dict(),
        }
        self._file.write(json.dumps(line) + '\n')
        self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _read(path: Path, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the lines by their keys; a last one that is cut, as after a loss of power, is not."""
    done: dict[str, dict[str, Any]] = {}
    earlier: dict[str, Any] = {}
    for text in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            line = json.loads(text)
            if 'settings' in line:
                earlier = dict(line['settings'])
            else:
                ImageAreas(**line['areas'])
                done[line['key']] = line
        except (ValueError, KeyError, TypeError):
            continue
    changed = sorted(
        name
        for name in earlier.keys() | settings.keys()
        if earlier.get(name) != json.loads(json.dumps(settings.get(name)))
    )
    if done and changed:
        msg = (
            f'{path.parent} holds results of a run with another {", ".join(changed)}: give '
            'what it had, or leave --resume out and begin anew'
        )
        raise ConfigError(msg)
    return done


def _key(path: Path, place: str, name: str) -> str:
    return f'{os.path.abspath(path)}\n{place}\n{name}'


def _state(path: Path) -> list[int]:
    """Tell a file or folder from what it is after somebody has written to it."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size]
