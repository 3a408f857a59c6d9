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

"""What the results of frames are called: no two alike, and the same when a run is repeated."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
import os
from pathlib import Path, PurePath

from uhr_seg_ros.replay.recording_files import COMPRESSED, SUFFIXES

_NS = 1_000_000_000


def plain_stem(path: Path) -> str:
    """Return the name of an input without its suffix; a folder has none."""
    if path.is_dir():
        return os.path.basename(os.path.abspath(path))
    name = PurePath(path.name)
    if name.suffix.lower() in COMPRESSED and PurePath(name.stem).suffix.lower() in SUFFIXES:
        name = PurePath(name.stem)
    return name.stem


def unique_stems(paths: Sequence[Path]) -> dict[Path, str]:
    """
    Name the results of every input.

    That is its own name; files of the same name in different folders get the folders in which
    they differ before it, such as ``north_0001``, and those that differ in their suffix get that.

    Args:
        paths: no two the same.

    Returns:
        Path -> name without a suffix.
    """
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[plain_stem(path)].append(path)
    stems = {}
    for stem, group in groups.items():
        if len(group) == 1:
            stems[group[0]] = stem
        else:
            stems.update(_told_apart(stem, group))
    return _numbered(paths, stems)


def _told_apart(stem: str, group: Sequence[Path]) -> dict[Path, str]:
    folders = {path: PurePath(os.path.abspath(path)).parent for path in group}
    shared = os.path.commonpath(list(folders.values()))
    names = {}
    for path, folder in folders.items():
        parts = [*folder.relative_to(shared).parts, stem]
        if sum(other == folder for other in folders.values()) > 1:
            parts.append(path.suffix.lstrip('.'))
        names[path] = '_'.join(filter(None, parts))
    return names


def _numbered(paths: Sequence[Path], stems: dict[Path, str]) -> dict[Path, str]:
    """Add a number to what is still alike, such as `a/b_c.jpg` and `a_b/c.jpg`."""
    counts = Counter(stems.values())
    taken = {stem for stem, count in counts.items() if count == 1}
    for path in paths:
        stem, number = stems[path], 2
        if counts[stem] > 1:
            while stem in taken:
                stem, number = f'{stems[path]}_{number}', number + 1
            taken.add(stem)
            stems[path] = stem
    return stems


class StampNames:
    """
    Names of the frames of a recording: by their stamps, ``<stem>_<s>.<ns>``.

    Where a stamp is 0 or comes again, the number of the message is added.
    """

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._seen: set[int] = set()

    def name(self, index: int, stamp_ns: int) -> str:
        """Return the name of the message with a number from 0 and a stamp in ns."""
        if not stamp_ns:
            return f'{self._stem}_{index:06d}'
        text = f'{self._stem}_{stamp_ns // _NS}.{stamp_ns % _NS:09d}'
        if stamp_ns in self._seen:
            return f'{text}_{index:06d}'
        self._seen.add(stamp_ns)
        return text
