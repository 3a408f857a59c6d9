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

"""Small recordings of image topics of every kind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
TYPES = get_typestore(Stores.ROS2_HUMBLE)

_BYTES = {
    'mono8': 1,
    '8UC1': 1,
    'mono16': 2,
    '16UC1': 2,
    '32FC1': 4,
    '32SC1': 4,
    'bgra8': 4,
    'bayer_rggb8': 1,
}
_NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 4), np.uint8)


def header(stamp_ns: int = 0) -> object:
    """Return a header."""
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    stamp = TYPES.types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
    return TYPES.types['std_msgs/msg/Header'](stamp=stamp, frame_id='lens')


def image(encoding: str, pixels: np.ndarray | None = None, stamp_ns: int = 0) -> bytes:
    """Return an image of 40 x 24 px, of noise unless there are pixels."""
    size = _BYTES.get(encoding, 3)
    data = _NOISE[..., :size] if pixels is None else pixels
    height, width = data.shape[:2]
    message = TYPES.types[IMAGE](
        header=header(stamp_ns),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=size * width,
        data=np.ascontiguousarray(data).reshape(-1),
    )
    return bytes(TYPES.serialize_cdr(message, IMAGE))


def compressed(text: str, suffix: str = '.jpg', pixels: np.ndarray = _NOISE[..., :3]) -> bytes:
    """Return a compressed image of a format."""
    data = cv2.imencode(suffix, pixels)[1].reshape(-1)
    message = TYPES.types[COMPRESSED](header=header(), format=text, data=data)
    return bytes(TYPES.serialize_cdr(message, COMPRESSED))


def record(path: Path, topics: dict[str, Iterable[bytes]]) -> Path:
    """Record topic after topic, compressed ones where the name says so, messages 1 ms apart."""
    time_ns = 0
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, messages in topics.items():
            kind = COMPRESSED if 'ompressed' in topic else IMAGE
            connection = writer.add_connection(topic, kind, typestore=TYPES)
            for message in messages:
                time_ns += 10**6
                writer.write(connection, time_ns, message)
    return path
