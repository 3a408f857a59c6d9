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

"""The inputs of a batch: paths, patterns, lists in a text file, and addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import os
from pathlib import Path
from urllib.parse import unquote

from uhr_seg_ros.core.errors import RecordingError, UhrSegError
from uhr_seg_ros.fleet.fingerprints import fingerprint_of
from uhr_seg_ros.fleet.remote import downloaded, list_objects, protocol_of
from uhr_seg_ros.image_io.headers import SUFFIXES
from uhr_seg_ros.image_io.raster_files import GDAL_SUFFIXES
from uhr_seg_ros.replay.frame_names import unique_stems
from uhr_seg_ros.replay.inputs import find_files, IMAGE, RECORDING, VIDEO
from uhr_seg_ros.replay.recording_files import is_storage
from uhr_seg_ros.replay.video import is_video

#: A text file with an input in every line.
LIST_SUFFIX = '.txt'


@dataclass(frozen=True)
class Input:
    """
    A file, or the folder of a recording.

    Attributes:
        kind: `image`, which may be a raster, `recording` or `video`.
        place: absolute path, or address.
        name: of its results.
        fingerprint: see `fingerprints`.

    """

    kind: str
    place: str
    name: str
    fingerprint: str


def find_inputs(texts: Iterable[str], output: Path) -> tuple[list[Input], list[UhrSegError]]:
    """
    Find what inputs stand for; nothing is opened but lists.

    Args:
        texts: as of `uhr_seg segment`, and text files of such, a line each, and addresses.
        output: folder of the results, which patterns do not lead into.

    Returns:
        The inputs, none twice, and why some are none.

    """
    found: dict[str, tuple[str, str]] = {}  # place -> kind, fingerprint
    errors: list[UhrSegError] = []
    for text in _lines(texts, errors):
        if protocol_of(text):
            try:
                objects = list_objects(text)
            except RecordingError as err:
                errors.append(err)
                continue
            kinds = [(kind, url, mark) for url, mark in objects if (kind := _kind_of(url))]
            if not kinds:
                msg = f'{text} has no image, recording or video among {len(objects)} objects'
                errors.append(RecordingError(msg))
            for kind, url, mark in kinds:
                found.setdefault(url, (kind, mark))
            continue
        files, problems = find_files([Path(text)], output, GDAL_SUFFIXES)
        errors += problems
        for kind, path in files:
            found.setdefault(os.path.abspath(path), (kind, ''))
    stems = unique_stems([Path(place) for place in found])
    inputs = [
        Input(kind, place, stems[Path(place)], mark or _fingerprint(place))
        for place, (kind, mark) in found.items()
    ]
    return inputs, errors


@contextmanager
def local_copy(place: str, cache: str = '') -> Iterator[Path]:
    """Return the path of an input; what lies behind an address is copied while the block runs."""
    if protocol_of(place):
        with downloaded(place, cache) as path:
            yield path
    else:
        yield Path(place)


def _fingerprint(place: str) -> str:
    # What a VRT joins may change without it: a worker looks each time.
    return '' if place.lower().endswith('.vrt') else fingerprint_of(Path(place))


def _kind_of(url: str) -> str:
    path = Path(url)
    if is_storage(path):
        return RECORDING
    if is_video(path):
        return VIDEO
    return IMAGE if path.suffix.lower() in (*SUFFIXES, *GDAL_SUFFIXES) else ''


def _lines(
    texts: Iterable[str], errors: list[UhrSegError], inside: Sequence[Path] = ()
) -> Iterator[str]:
    """Replace lists by their lines; what is relative in one lies beside it."""
    for text in texts:
        if protocol_of(text) == 'file':
            text = unquote(text.partition('://')[2])
        path = Path(text)
        if protocol_of(text) or path.suffix.lower() != LIST_SUFFIX:
            yield text
            continue
        try:
            lines = path.read_text(encoding='utf-8').splitlines()
        except (OSError, ValueError) as err:
            reason = getattr(err, 'strerror', None) or 'it is no text in UTF-8'
            errors.append(RecordingError(f'list {path} cannot be read: {reason}'))
            continue
        if path in inside:
            errors.append(RecordingError(f'list {path} leads to itself'))
            continue
        entries = (line.strip() for line in lines)
        named = [each for each in entries if each and not each.startswith('#')]
        if not named:
            errors.append(RecordingError(f'list {path} names no inputs'))
        beside = [each if protocol_of(each) else str(path.parent / each) for each in named]
        yield from _lines(beside, errors, [*inside, path])
