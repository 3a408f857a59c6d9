# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Read and write rosbag2 recordings of images, one message in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
import re
import struct
from types import TracebackType

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

from uhr_seg_ros.errors import UhrSegError

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
SUFFIXES = ('.mcap', '.db3')

# The newest metadata version that Humble reads too.
_METADATA_VERSION = 8

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
        return (path / 'metadata.yaml').is_file() or bool(_storage_files(path))
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
                key = (connection.topic, _full_type(connection.msgtype))
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


def read_messages(path: Path, topic: str) -> Iterator[tuple[int, bytes]]:
    """
    Read one topic of a recording, message by message.

    Yields:
        Time of recording in ns, and the message in CDR.

    Raises:
        BagError: a damaged recording.

    """
    for part in _parts(path):
        with _opened(part) as reader:
            connections = [each for each in _image_connections(reader) if each.topic == topic]
            if not connections:
                continue
            for _, time_ns, data in reader.messages(connections):
                yield time_ns, _decompressed(bytes(data))


def stamp_ns(message: bytes) -> int:
    """Give header.stamp of a message in CDR whose first field is a header, in ns."""
    order = '<' if message[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', message, 4)
    return seconds * 1_000_000_000 + nanoseconds


class BagWriter:
    """
    Write frames as a recording of sensor_msgs/Image, encoding bgr8.

    Example:
        >>> with BagWriter(Path('flight'), topic='/image_raw') as bag:
        ...     bag.write(frame, stamp_ns=0)

    Args:
        path: folder to make; it must not exist.
        topic: name of the image topic.
        frame_id: frame of the camera.
        storage: `mcap` or `sqlite3`.

    Raises:
        BagError: the folder exists.

    """

    def __init__(
        self,
        path: Path,
        *,
        topic: str = '/image_raw',
        frame_id: str = 'camera_optical_frame',
        storage: str = 'mcap',
    ) -> None:
        if path.exists():
            msg = f'{path} exists already: remove it or choose another name'
            raise BagError(msg)
        self._frame_id = frame_id
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self._writer = Writer(path, version=_METADATA_VERSION, storage_plugin=STORAGES[storage])
        self._writer.open()
        self._connection = self._writer.add_connection(topic, IMAGE, typestore=self._types)

    def write(self, frame: np.ndarray, stamp_ns: int) -> None:
        """Add a frame (H, W, 3) uint8 BGR, recorded at its stamp in ns."""
        types = self._types.types
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
        height, width = frame.shape[:2]
        message = types[IMAGE](
            header=types['std_msgs/msg/Header'](stamp=stamp, frame_id=self._frame_id),
            height=height,
            width=width,
            encoding='bgr8',
            is_bigendian=0,
            step=3 * width,
            data=np.ascontiguousarray(frame).reshape(-1),
        )
        self._writer.write(self._connection, stamp_ns, self._types.serialize_cdr(message, IMAGE))

    def close(self) -> None:
        """Finish the recording."""
        self._writer.close()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _storage_files(folder: Path) -> list[Path]:
    """List storage files in the order of recording: name_2 comes before name_10."""
    files = [file for file in folder.iterdir() if file.suffix in SUFFIXES]
    return sorted(files, key=lambda file: [int(part) for part in re.findall(r'\d+', file.name)])


def _parts(path: Path) -> list[Path]:
    """Give what is opened one after the other; a folder may have lost its metadata.yaml."""
    if not is_bag(path):
        msg = f'{path} is no rosbag2 recording: expected a folder of one, or an mcap or db3 file'
        raise BagError(msg)
    if path.is_file() or (path / 'metadata.yaml').is_file():
        return [path]
    return _storage_files(path)


@contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    try:
        with Reader(path) as reader:
            yield reader
    except (ReaderError, OSError, ValueError, struct.error) as err:
        msg = f'{path} cannot be read as a rosbag2 recording ({err}): record it again'
        raise BagError(msg) from err


def _image_connections(reader: Reader) -> list[Connection]:
    return [
        connection
        for connection in reader.connections
        if _full_type(connection.msgtype) in (IMAGE, COMPRESSED_IMAGE)
    ]


def _full_type(name: str) -> str:
    """Give package/msg/Type; some recorders leave out the middle part."""
    package, *_, kind = name.split('/')
    return f'{package}/msg/{kind}'


def _decompressed(message: bytes) -> bytes:
    """Undo rosbag2's compression per message where the metadata that tells of it is lost."""
    if not message.startswith(_ZSTD_MAGIC):
        return message
    from backports import zstd  # comes with rosbags

    return zstd.decompress(message)
