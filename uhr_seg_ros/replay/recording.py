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

"""
Read a recording file by file; one that is damaged does not take the others along.

A video is read as a recording with one topic, see `VideoStorage`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
import os
from pathlib import Path

from rosbags.interfaces import Connection

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.recording_files import (
    find_files,
    is_storage,
    METADATA,
    read_metadata,
    storage_suffix,
    SUFFIXES,
)
from uhr_seg_ros.replay.storage import (
    Damaged,
    Span,
    Storage,
    unpack_zstd,
    warn_once,
    ZSTD_MAGIC,
)
from uhr_seg_ros.replay.storage_probe import open_storage, reason_of
from uhr_seg_ros.replay.video import is_video


def is_bag(path: Path) -> bool:
    """Tell if a path looks like a rosbag2 recording: a folder of one, or one of its files."""
    # In contrast to those of Path, these do not fail on a path that cannot be looked at.
    if not os.path.isdir(path):
        return storage_suffix(path.name) in SUFFIXES and os.path.exists(path)
    try:
        return (path / METADATA).is_file() or any(map(is_storage, path.iterdir()))
    except OSError:  # whoever reads it says so
        return True


def storage_files(path: Path) -> list[Path]:
    """
    List the storage files of a recording in their order: name_2 comes before name_10.

    Raises:
        RecordingError: the folder holds two recordings, or none.

    """
    return find_files(path)


def connections_of(path: Path) -> Iterator[Connection]:
    """
    Yield the topics of every file, each with the number of its messages there.

    Raises:
        RecordingError: not a recording, or nothing of it can be read.

    """
    counts: Counter[str] = Counter()
    whole = 0
    for _, storage in _storages(path):
        whole += not storage.loss
        for connection in storage.connections:
            counts[connection.topic] += connection.msgcount
            yield connection
    metadata = read_metadata(path)
    if whole == len(metadata.files):  # or else the difference was logged already
        wrong = [
            f'{stated} messages on {topic}, where {counts[topic]} are'
            for topic, stated in metadata.counts.items()
            if stated != counts[topic]
        ]
        if wrong:
            more = f', and of {len(wrong) - 1} more topics wrongly' if len(wrong) > 1 else ''
            text = f'tells of {wrong[0]}{more}: the files count'
            warn_once(path / METADATA, 'counts', text)


def _storages(path: Path) -> Iterator[tuple[Path, Storage]]:
    """Open one file after the other; one that cannot be read does not take the others along."""
    if not is_bag(path) and not is_video(path):
        msg = (
            f'{path} is not a rosbag2 recording: expected a folder of one, or an mcap or db3 file'
        )
        raise RecordingError(msg)

    def counts() -> dict[str, int]:
        return read_metadata(path).file_counts

    errors: list[tuple[Path, RecordingError]] = []
    files = find_files(path)
    for file in files:
        try:
            storage = open_storage(file)
        except RecordingError as err:
            errors.append((file, err))
            continue
        if storage.loss:
            there = sum(each.msgcount for each in storage.connections)
            stated = counts().get(file.name)
            of = '' if stated is None else f' of the {stated} that {METADATA} names'
            text = f'{storage.loss}: {there} messages{of} are there; {storage.remedy}'
            warn_once(file, 'loss', text)
        try:
            yield file, storage
        finally:
            storage.close()
    if len(errors) == len(files):
        raise errors[0][1]
    for file, error in errors:
        count = counts().get(file.name)
        lost = '' if count is None else f' with its {count} messages'
        warn_once(file, 'file', f'is left out{lost}; the other files are read: {error}')


def read_recording(
    path: Path, is_wanted: Callable[[Connection], bool], span: Span | None = None
) -> Iterator[tuple[Connection, int, bytes]]:
    """
    Read the messages of topics, file by file, in each in the order of time.

    What is damaged is left out, with one warning.

    Args:
        path: of the recording.
        is_wanted: tells the topics.
        span: nothing outside of it is given, nor read where an index tells; None: all is.

    Yields:
        Its connection, time of recording in ns, and the message in CDR.

    Raises:
        RecordingError: not a recording, or nothing of it can be read.

    """
    digests = read_metadata(path).digests
    lost, given = '', False
    for file, storage in _storages(path):
        wanted = {
            each.id: each._replace(digest=each.digest or digests.get(each.topic, ''))
            for each in storage.connections
            if is_wanted(each)
        }
        for number, time_ns, message in _messages(storage, wanted, span) if wanted else ():
            given = True
            if span is not None and not span[0] <= time_ns < span[1]:
                continue
            yield wanted[number], time_ns, message
        if storage.losses.places:
            lost = lost or f'{file}: {storage.losses}'
            warn_once(file, 'losses', f'is damaged: {storage.losses}')
    if lost and not given:
        msg = f'{path} cannot be read as a rosbag2 recording: {lost}'
        raise RecordingError(msg)


def _messages(
    storage: Storage, wanted: Collection[int], span: Span | None
) -> Iterator[tuple[int, int, bytes]]:
    """Yield the messages that can be read and unpacked; count the others."""
    messages = storage.messages(wanted, span)
    while True:
        try:
            number, time_ns, message = next(messages)
            # rosbag2 compresses messages one by one; metadata.yaml, which tells, may be lost.
            if message.startswith(ZSTD_MAGIC):
                message = unpack_zstd(message)
        except StopIteration:
            return
        except Damaged as err:
            storage.losses.add(f'message at {time_ns} ns', str(err))
        except Exception as err:  # a file of others: whatever the code that reads it runs into
            storage.losses.add('the rest', reason_of(err), 0)
            return
        else:
            yield number, time_ns, message
