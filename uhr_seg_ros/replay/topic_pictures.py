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

"""The pictures of an image topic of a recording: of messages that stand alone, and of streams."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import islice
import logging
from pathlib import Path
from typing import Any, NamedTuple

from uhr_seg_ros.core.errors import ImageError, RecordingError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.image_io.video_decoder import Picture
from uhr_seg_ros.replay.bags import (
    IMAGE,
    image_typestore,
    ImageTopic,
    read_frame,
    read_message,
    read_messages,
)
from uhr_seg_ros.ros.messages.encoded import codec_of, DecodedMessage, header_of, StreamDecoder

_LOG = logging.getLogger(__name__)

_HEADER = 'std_msgs/msg/Header'

# Packets that tell how far pictures come behind: twice what a decoder holds back at most.
_LOOKED_AT = 32


class Recorded(NamedTuple):
    """
    A picture of a recording, or why there is none.

    Attributes:
        mark: what was given with its message.
        read: returns its header and the frame; raises ImageError or RecordingError where the
            message cannot be read.
    """

    mark: Any
    read: Callable[[], tuple[Any, RawFrame]]


class TopicPictures:
    """
    Turns the messages of a topic into pictures, in the order of the recording.

    A message with an image gives its picture at once. One with a packet of a stream is decoded,
    and gives the pictures that are complete by then, in the order of display.

    Args:
        path: of the recording, for the log.
        topic: of it.
    """

    def __init__(self, path: Path, topic: ImageTopic) -> None:
        self._path, self._topic = path, topic
        self._stream = StreamDecoder(FrameLimit())

    def add(self, message: bytes, mark: Any) -> list[Recorded]:
        """
        Take the next message, in CDR.

        Raises:
            RecordingError: PyAV, which decodes streams, is not installed.
        """
        kind = self._topic.type
        if kind == IMAGE:
            return [Recorded(mark, lambda: read_frame(message, kind))]
        try:
            packet = read_message(message, kind)
            codec = codec_of(packet)
            if not codec:
                return [Recorded(mark, lambda: read_frame(message, kind))]
            header = header_of(packet, image_typestore().types[_HEADER])
            return list(map(_recorded, self._stream.decode(packet, codec, (mark, header))))
        except (ImageError, RecordingError) as err:
            if isinstance(err.__cause__, ImportError):
                raise RecordingError(str(err)) from err
            return [Recorded(mark, _raising(err))]

    @property
    def held(self) -> int:
        """How many packets of a stream have a picture that comes later."""
        return self._stream.counts.held

    def finish(self) -> list[Recorded]:
        """Return the pictures that were held back, and log how many packets gave none."""
        pictures = list(map(_recorded, self._stream.finish()))
        counts = self._stream.counts
        if counts.waiting:
            losses = f'; {counts.lost} times a picture was lost' if counts.lost else ''
            _LOG.warning(
                '%s: %d of %d packets on %s have no picture, as no key picture was before them%s',
                self._path.name,
                counts.waiting,
                counts.packets,
                self._topic.name,
                losses,
            )
        return pictures


def packets_behind(path: Path, topic: ImageTopic) -> int:
    """
    Return how many packets of a topic come, at most, before the picture of the first of them.

    None for images, and for streams without B-frames; decides by the first packets.
    """
    pictures = TopicPictures(path, topic)
    most = 0
    with closing(read_messages(path, topic.name)) as messages:
        for _, message in islice(messages, _LOOKED_AT):
            try:
                pictures.add(message, None)
            except RecordingError:  # no PyAV here: the node says so, too
                return 0
            most = max(most, pictures.held)
    return most


def _recorded(picture: Picture) -> Recorded:
    mark, header = picture.tag
    return Recorded(mark, lambda: (header, DecodedMessage(header, '', picture).read()))


def _raising(error: Exception) -> Callable[[], tuple[Any, RawFrame]]:
    def read() -> tuple[Any, RawFrame]:
        raise error

    return read
