# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Read rosbag2 recordings of images, one message in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
import hashlib
from pathlib import Path
import re
import struct
from typing import Any, TYPE_CHECKING

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.typesys import get_typestore, Stores

from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.pixels import RawFrame
from uhr_seg_ros.ros.decoding import decode_compressed, view_image

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
POINT_CLOUD = 'sensor_msgs/msg/PointCloud2'

SUFFIXES = ('.mcap', '.db3')

_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


class BagError(UhrSegError):
    """A recording that cannot be read or holds no images."""


@dataclass(frozen=True)
class ImageTopic:
    """A topic of a recording; `type` is `IMAGE` or `COMPRESSED_IMAGE`."""

    name: str
    type: str
    count: int


def is_bag(path: Path) -> bool:
    """Tell if a path looks like a rosbag2 recording: a folder of one, or one of its files."""
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or bool(storage_files(path))
    return path.suffix in SUFFIXES and path.is_file()


def image_topics(path: Path) -> list[ImageTopic]:
    """
    List the image topics of a recording.

    Raises:
        BagError: not a recording, or a damaged one.

    """
    counts: dict[tuple[str, str], int] = {}
    for part in _parts(path):
        with _opened(part) as reader:
            for connection in _image_connections(reader):
                key = (connection.topic, full_type(connection.msgtype))
                counts[key] = counts.get(key, 0) + connection.msgcount
    return [ImageTopic(name, kind, count) for (name, kind), count in counts.items()]


def describe_bag(path: Path, topic: ImageTopic) -> dict[str, Any]:
    """Give `name`, `bytes` and `sha256` of a recording, and its topic."""
    digest, size = hashlib.sha256(), 0
    for file in storage_files(path):
        with file.open('rb') as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                size += len(block)
    return {
        'name': path.name,
        'bytes': size,
        'sha256': digest.hexdigest(),
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
    types: dict[str, str] = {}
    for part in _parts(path):
        with _opened(part) as reader:
            types |= {each.topic: full_type(each.msgtype) for each in reader.connections}
    return types


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
        BagError: the message is too short to have one.

    """
    if len(message) < 12:
        msg = f'a message of {len(message)} bytes has no header: at least 12 are needed'
        raise BagError(msg)
    order = '<' if message[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', message, 4)
    return seconds * 1_000_000_000 + nanoseconds


def storage_files(path: Path) -> list[Path]:
    """List the storage files of a recording in their order: name_2 comes before name_10."""
    if path.is_file():
        return [path]
    files = [file for file in path.iterdir() if file.suffix in SUFFIXES]
    return sorted(files, key=lambda file: [int(part) for part in re.findall(r'\d+', file.name)])


def _parts(path: Path) -> list[Path]:
    """Give what is opened one after the other; a folder may have lost its metadata.yaml."""
    if not is_bag(path):
        msg = f'{path} is no rosbag2 recording: expected a folder of one, or an mcap or db3 file'
        raise BagError(msg)
    if path.is_file() or (path / 'metadata.yaml').is_file():
        return [path]
    return storage_files(path)


@contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    try:
        with Reader(path) as reader:
            yield reader
    except (ReaderError, OSError, ValueError, struct.error) as err:
        msg = f'{path} cannot be read as a rosbag2 recording ({err}): record it again'
        raise BagError(msg) from err


def _read(
    path: Path, is_wanted: Callable[[Connection], bool]
) -> Iterator[tuple[Connection, int, bytes]]:
    for part in _parts(path):
        with _opened(part) as reader:
            connections = list(filter(is_wanted, reader.connections))
            if not connections:
                continue
            for connection, time_ns, data in reader.messages(connections):
                yield connection, time_ns, _decompressed(bytes(data))


@cache
def _types() -> Typestore:
    return get_typestore(Stores.ROS2_HUMBLE)


def _image_connections(reader: Reader) -> list[Connection]:
    return list(filter(_is_image, reader.connections))


def _is_image(connection: Connection) -> bool:
    return full_type(connection.msgtype) in (IMAGE, COMPRESSED_IMAGE)


def full_type(name: str) -> str:
    """Give package/msg/Type; some recorders leave out the middle part."""
    package, *_, kind = name.split('/')
    return f'{package}/msg/{kind}'


def _decompressed(message: bytes) -> bytes:
    """Undo rosbag2's compression per message where the metadata that tells of it is lost."""
    if not message.startswith(_ZSTD_MAGIC):
        return message
    from backports import zstd  # comes with rosbags

    return zstd.decompress(message)
