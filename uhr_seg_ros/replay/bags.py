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

"""Read rosbag2 recordings of images, one message in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from functools import cache
import hashlib
from pathlib import Path
import struct
from typing import Any, TYPE_CHECKING

from rosbags.interfaces import Connection
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.replay.recording import connections_of, is_bag, read_recording, storage_files
from uhr_seg_ros.replay.recording_files import storage_suffix
from uhr_seg_ros.replay.sqlite_files import side_files
from uhr_seg_ros.replay.storage import Span
from uhr_seg_ros.ros.messages.compressed import decode_compressed
from uhr_seg_ros.ros.messages.encoded import codec_of, header_of
from uhr_seg_ros.ros.messages.images import view_image

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

__all__ = [
    'as_compressed_image',
    'describe_bag',
    'full_type',
    'ImageTopic',
    'image_topics',
    'image_typestore',
    'is_bag',
    'read_all',
    'read_frame',
    'read_message',
    'read_messages',
    'read_topics',
    'stamp_ns',
    'storage_files',
    'topic_types',
]

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
POINT_CLOUD = 'sensor_msgs/msg/PointCloud2'
FFMPEG_PACKET = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
COMPRESSED_VIDEO = 'foxglove_msgs/msg/CompressedVideo'

#: Types of images, and of packets of streams.
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE, FFMPEG_PACKET, COMPRESSED_VIDEO)

# Fields of the types that rosbags does not know.
_DEFINITIONS = {
    FFMPEG_PACKET: """\
std_msgs/Header header
int32 width
int32 height
string encoding
uint64 pts
uint8 flags
bool is_bigendian
uint8[] data
""",
    COMPRESSED_VIDEO: """\
builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
""",
}

# Head of CDR, then seconds and nanoseconds.
_STAMP_END = 12


@dataclass(frozen=True)
class ImageTopic:
    """
    A topic of a recording.

    Attributes:
        name: such as `/image_raw`.
        type: one of `IMAGE_TYPES`.
        count: of its messages.
        codec: of the stream that it holds, as far as its first message was looked at; else empty.
    """

    name: str
    type: str
    count: int
    codec: str = ''


def image_topics(path: Path) -> list[ImageTopic]:
    """
    List the image topics of a recording.

    Raises:
        RecordingError: not a recording, or a damaged one.

    """
    counts: dict[tuple[str, str], int] = {}
    for connection in filter(_is_image, connections_of(path)):
        key = (connection.topic, full_type(connection.msgtype))
        counts[key] = counts.get(key, 0) + connection.msgcount
    return [ImageTopic(name, kind, count) for (name, kind), count in counts.items()]


def describe_bag(path: Path, topic: ImageTopic) -> dict[str, Any]:
    """
    Return `name`, `bytes` and `sha256` of a recording, and its topic.

    The hash is that of its file; of several, which a log that was not merged is one of, that of
    their hashes in hexadecimal.

    Raises:
        RecordingError: it has no files, or nothing of them can be read.

    """
    files = [part for file in storage_files(path) for part in (file, *_beside(file))]
    size, hashes = 0, []
    for file in files:
        digest = hashlib.sha256()
        try:
            if file.is_file():  # a pipe would never end
                size += _hash(file, digest)
        except OSError:  # reading it has warned of this already
            digest.update(b'unreadable')
        hashes.append(digest.hexdigest())
    if not size:
        msg = f'{path} is empty, or cannot be read: {len(files)} files without a byte'
        raise RecordingError(msg)
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


def read_messages(
    path: Path, topic: str, span: Span | None = None
) -> Generator[tuple[int, bytes], None, None]:
    """
    Read one topic of a recording, message by message.

    Args:
        path: of the recording.
        topic: of it.
        span: nothing outside of these times of recording is read; None: all is.

    Yields:
        Time of recording in ns, and the message in CDR.

    Raises:
        RecordingError: a damaged recording.

    """
    for _, time_ns, data in read_topics(path, topic, (), span):
        yield time_ns, data


def read_topics(
    path: Path, topic: str, others: Collection[str], span: Span | None = None
) -> Generator[tuple[str, int, bytes], None, None]:
    """
    Read an image topic and others of any type, in the order of recording.

    Yields:
        Topic, time of recording in ns, and the message in CDR.

    Raises:
        RecordingError: a damaged recording.

    """

    def is_wanted(connection: Connection) -> bool:
        return connection.topic in others or (connection.topic == topic and _is_image(connection))

    for connection, time_ns, data in read_recording(path, is_wanted, span):
        yield connection.topic, time_ns, data


def topic_types(path: Path) -> dict[str, str]:
    """
    Return the type of every topic of a recording, such as `sensor_msgs/msg/PointCloud2`.

    Raises:
        RecordingError: not a recording, or a damaged one.

    """
    return {each.topic: full_type(each.msgtype) for each in connections_of(path)}


def read_all(path: Path) -> Iterator[tuple[Connection, int, bytes]]:
    """
    Read every message of a recording, whatever its type.

    Yields:
        Its connection, which names the topic and the type, the time of recording in ns, and the
        message in CDR.

    Raises:
        RecordingError: a damaged recording.

    """
    yield from read_recording(path, lambda _: True)


def read_frame(message: bytes, kind: str) -> tuple[Any, RawFrame]:
    """
    Read an image message without ROS.

    Args:
        message: in CDR.
        kind: `IMAGE` or `COMPRESSED_IMAGE`.

    Returns:
        Its header, with the fields that a header of ROS has, and the frame.

    Raises:
        RecordingError: it does not hold what its type says.
        ImageError: its fields do not fit together, or the encoding is not known.

    """
    if kind in _DEFINITIONS:
        msg = f'a {kind} is one of a stream, and needs those before it: see TopicPictures'
        raise RecordingError(msg)
    image = read_message(message, kind)
    if kind == COMPRESSED_IMAGE:
        return image.header, RawFrame.of_bgr(decode_compressed(image))
    return image.header, view_image(image)


def read_message(message: bytes, kind: str) -> Any:
    """
    Read a message in CDR of one of `IMAGE_TYPES` without ROS; its data is not looked at.

    Raises:
        RecordingError: it does not hold what its type says.

    """
    try:
        return image_typestore().deserialize_cdr(message, kind)
    except Exception as err:  # whatever the generated code runs into
        msg = f'a message of {len(message)} bytes is not a {kind}: {err or type(err).__name__}'
        raise RecordingError(msg) from err


def as_compressed_image(message: bytes, kind: str) -> bytes:
    """
    Return a packet of a stream as a CompressedImage in CDR, whose type is always installed.

    Args:
        message: in CDR.
        kind: of it; a CompressedImage stays as it is.

    Raises:
        RecordingError: it does not hold what its type says.
        ImageError: the codec is not one that is decoded.

    """
    if kind not in _DEFINITIONS:
        return message
    packet, types = read_message(message, kind), image_typestore()
    image = types.types[COMPRESSED_IMAGE](
        header=header_of(packet, types.types['std_msgs/msg/Header']),
        format=codec_of(packet),
        data=packet.data,
    )
    return bytes(types.serialize_cdr(image, COMPRESSED_IMAGE))


def stamp_ns(message: bytes) -> int:
    """
    Return header.stamp of a message in CDR whose first field is a header, in ns.

    Raises:
        RecordingError: the message is too short for one.

    """
    if len(message) < _STAMP_END:
        msg = f'a message of {len(message)} bytes has no stamp: {_STAMP_END} are needed'
        raise RecordingError(msg)
    order = '<' if message[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', message, 4)
    return seconds * 1_000_000_000 + nanoseconds


def _hash(file: Path, digest: Any) -> int:
    with file.open('rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
        return stream.tell()


def _beside(file: Path) -> list[Path]:
    is_database = storage_suffix(file.name) == '.db3' and file.is_file()
    return side_files(file) if is_database else []


@cache
def image_typestore() -> Typestore:
    """Return a store that knows `IMAGE_TYPES`, installed or not."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    for name, definition in _DEFINITIONS.items():
        types.register(get_types_from_msg(definition, name))
    return types


def _is_image(connection: Connection) -> bool:
    return full_type(connection.msgtype) in IMAGE_TYPES


def full_type(name: str) -> str:
    """Return package/msg/Type; some recorders omit the middle part, others name no package."""
    package, *others = name.split('/')
    return f'{package}/msg/{others[-1]}' if others else name
