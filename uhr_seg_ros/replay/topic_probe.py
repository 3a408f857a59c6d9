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

"""What the messages of a topic say about themselves: the first is read, none is decoded."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
import re
import struct
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.bags import (
    COMPRESSED_IMAGE,
    COMPRESSED_VIDEO,
    FFMPEG_PACKET,
    IMAGE,
    image_typestore,
    read_message,
    read_messages,
    read_topics,
)
from uhr_seg_ros.ros.messages.encoded import codec_named

COLOR, GRAY, DEEP, WIDE, VIDEO, UNKNOWN = (
    'color',
    'gray',
    '16 bits',
    '32 bits',
    'video',
    'unknown',
)

# Messages of all topics that are read in one go, and then of each topic that had none among them.
_TOGETHER, _EACH = 64, 3

# Whatever an encoding means, its letters are not always written as they should be.
_ENCODINGS = (
    (COLOR, re.compile(r'(rgb|bgr|bayer_|yuv|uyvy|yuyv|nv\d\d|(8|16)uc[34])')),
    (GRAY, re.compile(r'(mono8|8uc1|8sc1)$')),
    (DEEP, re.compile(r'(mono16|16[us]c1)$')),
    (WIDE, re.compile(r'(32|64)[fsu]c1$')),
)
_VIDEO = re.compile(r'(h\.?26[45]|hevc|av1|vp[89]|mpeg|theora)')

# Class ids lie below this, and so do few pixels of a picture. 255 is what carries no label.
_HIGHEST_ID, _NO_LABEL = 64, 255
# Rows that are checked for that.
_ROWS = 48


@dataclass(frozen=True)
class ImageInfo:
    """
    What the first messages of a topic say.

    Attributes:
        encoding: of an image, or the format of a compressed one; empty where nothing is known.
        width: px; 0 where it is not known.
        height: px; 0 where it is not known.
        pixels: `COLOR`, `GRAY` (8 bit), `DEEP` (16 bit of one channel), `WIDE` (more bits, as of
            distances), `VIDEO` (part of a stream that is not decoded), or `UNKNOWN`.
        has_ids: all pixels of a gray one are small numbers or 255, as class ids are.
        is_readable: one of the messages was whole.

    """

    encoding: str = ''
    width: int = 0
    height: int = 0
    pixels: str = UNKNOWN
    has_ids: bool = False
    is_readable: bool = True


def probe_topics(path: Path, kinds: dict[str, str]) -> dict[str, ImageInfo]:
    """
    Look at the first whole message of each of some topics.

    All are read together until each was seen, at most 64 messages; those that begin later are
    read one by one, so that a topic with a single message does not cost reading the recording.

    Args:
        path: a recording.
        kinds: image topic -> its type, one of `IMAGE_TYPES`.

    Returns:
        Topic -> what was seen; a topic without any message is left out.

    Raises:
        RecordingError: a damaged recording.

    """
    infos: dict[str, ImageInfo] = {}

    def note(topic: str, message: bytes) -> None:
        if not infos.get(topic, ImageInfo(is_readable=False)).is_readable:
            infos[topic] = probe_image(message, kinds[topic])

    with closing(read_topics(path, '', kinds)) as together:
        for topic, _, message in islice(together, _TOGETHER):
            note(topic, message)
            if len(infos) == len(kinds) and all(each.is_readable for each in infos.values()):
                return infos
    for topic in kinds.keys() - infos.keys():
        with closing(read_messages(path, topic)) as messages:
            for _, message in islice(messages, _EACH):
                note(topic, message)
    return infos


def probe_image(message: bytes, kind: str) -> ImageInfo:
    """
    Read what a message says about its picture; nothing is decoded.

    Args:
        message: in CDR, whole or not.
        kind: one of `IMAGE_TYPES`.

    """
    if kind in (FFMPEG_PACKET, COMPRESSED_VIDEO):
        return _probe_packet(message, kind)
    image = _fields_of(message, kind)
    if image is None:
        return ImageInfo(is_readable=False)
    if kind == COMPRESSED_IMAGE:
        return _probe_compressed(image)
    pixels = _pixels(image.encoding)
    return ImageInfo(
        image.encoding, image.width, image.height, pixels, pixels == GRAY and _has_ids(image)
    )


def is_whole(message: bytes, kind: str) -> bool:
    """Tell if a message in CDR has all parts of its type, without copying those of an image."""
    if kind in (IMAGE, COMPRESSED_IMAGE):
        return _fields_of(message, kind) is not None
    try:
        image_typestore().deserialize_cdr(message, kind)
    except Exception:  # whatever the generated code runs into
        return False
    return True


class _Fields(NamedTuple):
    """An image or a compressed one, which has no sizes; `data` is a view."""

    encoding: str
    height: int
    width: int
    step: int
    data: memoryview


def _fields_of(message: bytes, kind: str) -> _Fields | None:
    if len(message) < 16 or message[0] or message[1] > 1:  # the two byte orders of plain CDR
        return None
    order = '<' if message[1] else '>'

    def number(position: int) -> tuple[int, int]:
        position += -position % 4
        return struct.unpack_from(f'{order}I', message, position)[0], position + 4

    def text(position: int) -> tuple[str, int]:
        size, start = number(position)
        content = message[start : start + size]
        if len(content) < size or (size and content[-1]):
            raise ValueError
        return content[:-1].decode(), start + size

    height = width = step = 0
    try:
        _, position = text(12)  # of the header, after its stamp
        if kind == IMAGE:
            height, position = number(position)
            width, position = number(position)
        encoding, position = text(position)
        if kind == IMAGE:
            step, position = number(position + 1)  # after is_bigendian
        size, start = number(position)
    except (struct.error, ValueError):
        return None
    if start + size > len(message):
        return None
    return _Fields(encoding, height, width, step, memoryview(message)[start : start + size])


def _pixels(encoding: str) -> str:
    matches = (kind for kind, pattern in _ENCODINGS if pattern.match(encoding.lower()))
    return next(matches, UNKNOWN)


def _probe_compressed(image: _Fields) -> ImageInfo:
    width, height, found = _header_of(image.data)
    if 'compresseddepth' in image.encoding.lower():
        return ImageInfo(image.encoding, width, height, WIDE)
    if codec_named(image.encoding):
        return ImageInfo(image.encoding, pixels=COLOR)
    if _VIDEO.match(image.encoding.lower()):
        return ImageInfo(image.encoding, pixels=VIDEO)
    # `mono8; png compressed ` names the pixels of the camera; `png` or nothing does not.
    named = _pixels(image.encoding.partition(';')[0].strip())
    return ImageInfo(image.encoding, width, height, found if named == UNKNOWN else named)


def _probe_packet(message: bytes, kind: str) -> ImageInfo:
    try:
        packet = read_message(message, kind)
    except RecordingError:
        return ImageInfo(is_readable=False)
    name = packet.encoding if kind == FFMPEG_PACKET else packet.format
    width, height = (packet.width, packet.height) if kind == FFMPEG_PACKET else (0, 0)
    return ImageInfo(name, width, height, COLOR if codec_named(name) else VIDEO)


def _header_of(data: memoryview) -> tuple[int, int, str]:
    """Return width, height and pixels of a JPEG or PNG; zeros for anything else."""
    if data[:8] == b'\x89PNG\r\n\x1a\n' and len(data) >= 26:
        width, height = (int.from_bytes(data[start : start + 4], 'big') for start in (16, 20))
        depth, is_color = data[24], data[25] in (2, 3, 6)
        return width, height, COLOR if is_color else GRAY if depth <= 8 else DEEP
    if data[:2] != b'\xff\xd8':
        return 0, 0, UNKNOWN
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (
                int.from_bytes(data[position + start : position + start + 2], 'big')
                for start in (5, 7)
            )
            return width, height, GRAY if data[position + 9] == 1 else COLOR
        position += 2 + int.from_bytes(data[position + 2 : position + 4], 'big')
    return 0, 0, UNKNOWN


def _has_ids(image: _Fields) -> bool:
    """Tell if a gray image holds more than one value, and only such as class ids have."""
    height, width, step = image.height, image.width, image.step
    if not width or step < width or len(image.data) < step * (height - 1) + width:
        return False
    rows = np.ndarray((height, width), np.uint8, image.data, strides=(step, 1))
    values = np.unique(rows[:: max(1, height // _ROWS)])
    return values.size > 1 and bool(np.all((values < _HIGHEST_ID) | (values == _NO_LABEL)))
