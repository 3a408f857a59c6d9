# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Read rosbag2 recordings of images, one message in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
import hashlib
from pathlib import Path
import struct
from typing import Any, TYPE_CHECKING

from rosbags.interfaces import Connection
from rosbags.typesys import get_typestore, Stores

from uhr_seg_ros.pixels import RawFrame
from uhr_seg_ros.replay.opening import open_storage, reason_of
from uhr_seg_ros.replay.recording_files import (
    find_files,
    is_storage,
    METADATA,
    read_metadata,
    storage_suffix,
)  # fmt: skip
from uhr_seg_ros.replay.sqlite_files import side_files
from uhr_seg_ros.replay.storage import (
    BagError,
    Damaged,
    Storage,
    tell_once,
    unpack_zstd,
    ZSTD_MAGIC,
)  # fmt: skip
from uhr_seg_ros.ros.decoding import decode_compressed, view_image

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
POINT_CLOUD = 'sensor_msgs/msg/PointCloud2'

# Head of CDR, then seconds and nanoseconds.
_STAMP_END = 12


@dataclass(frozen=True)
class ImageTopic:
    """A topic of a recording; `type` is `IMAGE` or `COMPRESSED_IMAGE`."""

    name: str
    type: str
    count: int


def is_bag(path: Path) -> bool:
    """Tell if a path looks like a rosbag2 recording: a folder of one, or one of its files."""
    if not path.is_dir():
        return is_storage(path) and path.exists()
    try:
        return (path / METADATA).is_file() or any(map(is_storage, path.iterdir()))
    except OSError:  # whoever reads it says so
        return True


def image_topics(path: Path) -> list[ImageTopic]:
    """
    List the image topics of a recording.

    Raises:
        BagError: not a recording, or a damaged one.

    """
    counts: dict[tuple[str, str], int] = {}
    for connection in filter(_is_image, _connections(path)):
        key = (connection.topic, full_type(connection.msgtype))
        counts[key] = counts.get(key, 0) + connection.msgcount
    return [ImageTopic(name, kind, count) for (name, kind), count in counts.items()]


def choose_topic(path: Path, name: str = '') -> ImageTopic:
    """
    Find the topic to play: the named one, else the image topic with the most messages.

    Raises:
        BagError: there is no such topic, or none with images.

    """
    topics = [topic for topic in image_topics(path) if topic.count]
    chosen = [topic for topic in topics if name in ('', topic.name)]
    if not chosen:
        known = ', '.join(topic.name for topic in topics) or 'none'
        msg = f'{path} has no images{f" on {name}" if name else ""}; its image topics: {known}'
        raise BagError(msg)
    return max(chosen, key=lambda topic: topic.count)


def describe_bag(path: Path, topic: ImageTopic) -> dict[str, Any]:
    """
    Give `name`, `bytes` and `sha256` of a recording, and its topic.

    The hash is that of its file; of several, which a log that was not merged is one of, that of
    their hashes in hexadecimal.

    Raises:
        BagError: it has no files, or one cannot be read.

    """
    files = [part for file in storage_files(path) for part in (file, *_beside(file))]
    size, hashes = 0, []
    for file in files:
        digest = hashlib.sha256()
        try:
            with file.open('rb') as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
                    size += len(block)
        except OSError as err:
            msg = f'{file} cannot be read: {err.strerror}'
            raise BagError(msg) from err
        hashes.append(digest.hexdigest())
    if len(hashes) > 1:
        hashes = [hashlib.sha256(''.join(hashes).encode()).hexdigest()]
    return {
        'name': path.name,
        'bytes': size,
        'sha256': hashes[0],
        'topic': topic.name,
        'type': topic.type,
        'messages': topic.count,
    }


def read_messages(path: Path, topic: str) -> Iterator[tuple[int, bytes]]:
    """
    Read one topic of a recording, message by message.

    Yields:
        Time of recording in ns, and the message in CDR.

    Raises:
        BagError: a damaged recording.

    """
    for _, time_ns, data in _read(path, lambda each: _is_image(each) and each.topic == topic):
        yield time_ns, data


def read_beside(
    path: Path, topic: str, others: Collection[str]
) -> Iterator[tuple[str, int, bytes]]:
    """
    Read an image topic and others of any type, in the order of recording.

    Yields:
        Topic, time of recording in ns, and the message in CDR.

    Raises:
        BagError: a damaged recording.

    """

    def is_wanted(connection: Connection) -> bool:
        return connection.topic in others or (
            connection.topic == topic and _is_image(connection)
        )

    for connection, time_ns, data in _read(path, is_wanted):
        yield connection.topic, time_ns, data


def topic_types(path: Path) -> dict[str, str]:
    """
    Give the type of every topic of a recording, such as `sensor_msgs/msg/PointCloud2`.

    Raises:
        BagError: not a recording, or a damaged one.

    """
    return {each.topic: full_type(each.msgtype) for each in _connections(path)}


def read_all(path: Path) -> Iterator[tuple[Connection, int, bytes]]:
    """
    Read every message of a recording, whatever its type.

    Yields:
        Its connection, which names the topic and the type, the time of recording in ns, and the
        message in CDR.

    Raises:
        BagError: a damaged recording.

    """
    yield from _read(path, lambda _: True)


def read_frame(message: bytes, kind: str) -> tuple[Any, RawFrame]:
    """
    Read an image message without ROS.

    Args:
        message: in CDR.
        kind: `IMAGE` or `COMPRESSED_IMAGE`.

    Returns:
        Its header, with the fields that a header of ROS has, and the frame.

    Raises:
        BagError: it does not hold what its type says.
        ImageError: its fields do not fit together, or the encoding is not known.

    """
    try:
        image = _types().deserialize_cdr(message, kind)
    except Exception as err:  # whatever the generated code runs into
        msg = f'a message of {len(message)} bytes is no {kind}: {err or type(err).__name__}'
        raise BagError(msg) from err
    if kind == COMPRESSED_IMAGE:
        return image.header, RawFrame.of_bgr(decode_compressed(image))
    return image.header, view_image(image)


def stamp_ns(message: bytes) -> int:
    """
    Give header.stamp of a message in CDR whose first field is a header, in ns.

    Raises:
        BagError: the message is too short for one.

    """
    if len(message) < _STAMP_END:
        msg = f'a message of {len(message)} bytes has no stamp: {_STAMP_END} are needed'
        raise BagError(msg)
    order = '<' if message[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', message, 4)
    return seconds * 1_000_000_000 + nanoseconds


def _beside(file: Path) -> list[Path]:
    return side_files(file) if storage_suffix(file.name) == '.db3' else []


def storage_files(path: Path) -> list[Path]:
    """
    List the storage files of a recording in their order: name_2 comes before name_10.

    Raises:
        BagError: the folder holds two recordings, or none.

    """
    return find_files(path)


def _connections(path: Path) -> Iterator[Connection]:
    """Give the topics of every file, and tell where metadata.yaml counts otherwise."""
    counts: Counter[str] = Counter()
    whole = 0
    for _, storage in _storages(path):
        whole += not storage.loss
        for connection in storage.connections:
            counts[connection.topic] += connection.msgcount
            yield connection
    metadata = read_metadata(path)
    if whole == len(metadata.files):  # or else the difference was told already
        wrong = [
            f'{told} messages on {topic}, where {counts[topic]} are'
            for topic, told in metadata.counts.items() if told != counts[topic]
        ]  # fmt: skip
        if wrong:
            more = f', and of {len(wrong) - 1} more topics wrongly' if len(wrong) > 1 else ''
            text = f'tells of {wrong[0]}{more}: the files count'
            tell_once(path / METADATA, 'counts', text)


def _storages(path: Path) -> Iterator[tuple[Path, Storage]]:
    """Open one file after the other; one that cannot be read does not take the others along."""
    if not is_bag(path):
        msg = f'{path} is no rosbag2 recording: expected a folder of one, or an mcap or db3 file'
        raise BagError(msg)

    def counts() -> dict[str, int]:
        return read_metadata(path).file_counts

    errors: list[tuple[Path, BagError]] = []
    files = find_files(path)
    for file in files:
        try:
            storage = open_storage(file)
        except BagError as err:
            errors.append((file, err))
            continue
        if storage.loss:
            there = sum(each.msgcount for each in storage.connections)
            told = counts().get(file.name)
            of = '' if told is None else f' of the {told} that {METADATA} names'
            text = f'{storage.loss}: {there} messages{of} are there; {storage.way_out}'
            tell_once(file, 'loss', text)
        try:
            yield file, storage
        finally:
            storage.close()
    if len(errors) == len(files):
        raise errors[0][1]
    for file, error in errors:
        count = counts().get(file.name)
        lost = '' if count is None else f' with its {count} messages'
        tell_once(file, 'file', f'is left out{lost}; the other files are read: {error}')


def _read(
    path: Path, is_wanted: Callable[[Connection], bool]
) -> Iterator[tuple[Connection, int, bytes]]:
    digests = read_metadata(path).digests
    lost, given = '', False
    for file, storage in _storages(path):
        wanted = {
            each.id: each._replace(digest=each.digest or digests.get(each.topic, ''))
            for each in storage.connections if is_wanted(each)
        }  # fmt: skip
        for number, time_ns, message in _messages(storage, wanted) if wanted else ():
            given = True
            yield wanted[number], time_ns, message
        if storage.losses.places:
            lost = lost or f'{file}: {storage.losses}'
            tell_once(file, 'losses', f'is damaged: {storage.losses}')
    if lost and not given:
        msg = f'{path} cannot be read as a rosbag2 recording: {lost}'
        raise BagError(msg)


def _messages(
    storage: Storage, wanted: Collection[int]
) -> Iterator[tuple[int, int, bytes]]:
    """Give the messages that can be read and unpacked; the others are counted."""
    messages = storage.messages(wanted)
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


@cache
def _types() -> Typestore:
    return get_typestore(Stores.ROS2_HUMBLE)


def _is_image(connection: Connection) -> bool:
    return full_type(connection.msgtype) in (IMAGE, COMPRESSED_IMAGE)


def full_type(name: str) -> str:
    """Give package/msg/Type; some recorders leave out the middle part, others name no package."""
    package, *others = name.split('/')
    return f'{package}/msg/{others[-1]}' if others else name
