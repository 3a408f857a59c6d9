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

"""Which files make up a recording, and what its metadata.yaml says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import os
from pathlib import Path, PurePath
import re
from typing import Any

import yaml

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.storage import warn_once

METADATA = 'metadata.yaml'

#: Of the storages; a file may be compressed as a whole.
SUFFIXES = ('.mcap', '.db3')
COMPRESSED = ('.zstd', '.zst')

#: Identifiers of the storages.
STORAGES = ('mcap', 'sqlite3')

# Bytes of metadata.yaml that are parsed: thousands of topics.
_MAX_METADATA_BYTES = 1 << 24
_MAX_DEPTH = 100


@dataclass(frozen=True)
class Metadata:
    """What metadata.yaml says; every part of it may be missing."""

    files: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    file_counts: dict[str, int] = field(default_factory=dict)


def is_storage(path: Path) -> bool:
    """Tell if a name is that of a storage file; those of macOS that begin with a dot are none."""
    return storage_suffix(path.name) in SUFFIXES and not path.name.startswith('.')


def storage_suffix(name: str) -> str:
    """Return the suffix of a storage file in lower case, without that of its compression."""
    path = PurePath(name.lower())
    return PurePath(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def find_files(path: Path) -> list[Path]:
    """
    List the storage files of a recording in their order; what is odd about them is logged once.

    Raises:
        RecordingError: the folder holds two recordings, or none.

    """
    if not path.is_dir():
        return [path]
    try:
        there = {file.name: file for file in path.iterdir()}
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise RecordingError(msg) from err
    listed = read_metadata(path).files
    found = {name for name, file in there.items() if is_storage(file)}
    found |= {name for name in listed if name in there}
    found = _of_one_kind(path, _without_copies(path, found), listed)
    _tell_differences(path, listed, found, set(there))
    return [there[name] for name in _ordered(found, listed)]


def read_metadata(path: Path) -> Metadata:
    """Read metadata.yaml of a folder; what is wrong with it is logged once."""
    file = path / METADATA
    if not os.path.isfile(file):
        if os.path.exists(file):
            warn_once(file, 'is not a file; the recording is read without it')
        return Metadata()
    try:
        size = file.stat().st_size
        if size > _MAX_METADATA_BYTES:
            msg = f'{size} bytes, more than the {_MAX_METADATA_BYTES} that are accepted'
            raise ValueError(msg)
        text = file.read_bytes()
        _check_depth(text)
        loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
        content = yaml.load(text, loader)  # noqa: S506 - a safe one
        content = content['rosbag2_bagfile_information']
        metadata = _parsed(content)
    except Exception as err:  # whatever the parser runs into: the files themselves say more
        reason = ' '.join(str(err).split())[:200]
        warn_once(
            file,
            'metadata',
            f'cannot be used ({type(err).__name__}: {reason}): the recording is read without it '
            f'(`ros2 bag reindex {path}` writes it anew)',
        )
        return Metadata()
    storage = content.get('storage_identifier')
    if storage not in STORAGES:
        # What is not text may be endless when it is printed.
        shown = repr(storage)[:40] if isinstance(storage, str | None) else type(storage).__name__
        warn_once(file, f'names no storage that is known ({shown}): the files tell it')
    return metadata


def natural_order(name: str) -> tuple[tuple[str, int], ...]:
    """Return a key that sorts names part by part, numbers by their value: 2 comes before 10."""
    parts = re.split(r'([0-9]+)', name)
    numbers = [int(number) for number in parts[1::2]] + [0]
    return tuple(zip(parts[::2], numbers, strict=True))


def _check_depth(text: bytes) -> None:
    """Refuse what the parser would spend hours on."""
    depth = deepest = 0
    for bracket in re.findall(rb'[\[\]{}]', text):
        depth = max(0, depth + (1 if bracket in b'[{' else -1))
        deepest = max(deepest, depth)
    if deepest > _MAX_DEPTH or re.search(rb'(?:[-?:][ \t]+){%d}' % _MAX_DEPTH, text):
        msg = f'nested more than {_MAX_DEPTH} deep'
        raise ValueError(msg)


def _parsed(content: Any) -> Metadata:
    topics = content.get('topics_with_message_count') or []
    digests = {
        topic['topic_metadata']['name']: topic['topic_metadata'].get('type_description_hash')
        for topic in topics
    }
    return Metadata(
        tuple(PurePath(name).name for name in content.get('relative_file_paths') or []),
        {topic['topic_metadata']['name']: int(topic['message_count']) for topic in topics},
        {name: digest for name, digest in digests.items() if isinstance(digest, str)},
        {
            PurePath(file['path']).name: int(file['message_count'])
            for file in content.get('files') or []
        },
    )


def _without_copies(path: Path, found: set[str]) -> set[str]:
    """Leave out what looks as another file compressed: its recorder may have died over it."""
    copies = {name for name in found if _plain(name) != name and _plain(name) in found}
    for name in sorted(copies):
        warn_once(path / name, f'is left out: it looks like {_plain(name)} compressed')
    return found - copies


def _plain(name: str) -> str:
    """Return the name of a file before it was compressed."""
    return PurePath(name).stem if PurePath(name).suffix.lower() in COMPRESSED else name


def _of_one_kind(path: Path, found: set[str], listed: tuple[str, ...]) -> set[str]:
    """Leave out files of another storage than those that metadata.yaml names."""
    kinds = [{name for name in found if storage_suffix(name) == suffix} for suffix in SUFFIXES]
    if not all(kinds):
        return found
    meant = [kind for kind in kinds if kind.intersection(listed)]
    if len(meant) == 1:
        others = found - meant[0] - set(listed)
        names = _joined(sorted(others))
        warn_once(path, f'holds {names}, which {METADATA} does not name: left out')
        return found - others
    first, second = (min(kind) for kind in kinds)
    msg = (
        f'{path} holds files of two storages ({first} and {second}): name the one that is meant '
        'instead of the folder'
    )
    raise RecordingError(msg)


def _tell_differences(
    path: Path, listed: tuple[str, ...], found: set[str], there: set[str]
) -> None:
    missing = [name for name in dict.fromkeys(listed) if name not in there]
    left_out = {_plain(name) for name in listed if name in there - found}
    more = sorted(found.difference(listed) - left_out, key=natural_order) if listed else []
    if not found:
        names = f': {METADATA} names {_joined(missing)}' if missing else ''
        msg = f'{path} holds no files of a recording (mcap or db3){names}'
        raise RecordingError(msg)
    parts = []
    if missing:
        parts.append(f'names {_joined(missing)}, which {_is(missing)} not here')
    if more:
        parts.append(f'does not name {_joined(more)}, which {_is(more)}')
    if parts:
        warn_once(
            path / METADATA,
            'files',
            f'{", and ".join(parts)}: what is here is read (`ros2 bag reindex {path}` writes it '
            'anew)',
        )


def _ordered(found: set[str], listed: tuple[str, ...]) -> Iterator[str]:
    """Return names in order; metadata.yaml decides only where they differ in more than numbers."""
    by_number = sorted(found, key=lambda name: (natural_order(name), name))
    if len({re.sub('[0-9]+', '#', name) for name in found}) == 1:
        return iter(by_number)
    places = {name: place for place, name in reversed([*enumerate(listed)])}
    return iter(sorted(by_number, key=lambda name: places.get(name, len(listed))))


def _joined(names: list[str]) -> str:
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more


def _is(names: list[str]) -> str:
    return 'is' if len(names) == 1 else 'are'
