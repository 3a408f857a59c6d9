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
Messages that carry a stream: each holds a packet of H.264 or H.265, and most pictures need others.

| message | codec | stamp |
|---|---|---|
| `ffmpeg_image_transport_msgs/FFMPEGPacket` | `encoding`: `h264;...` or `libx264` | `header` |
| `foxglove_msgs/CompressedVideo` | `format`: `h264`, `h265` | `timestamp`, `frame_id` |
| `sensor_msgs/CompressedImage` | `format`: `h264`, `h265`, `hevc` | `header` |

Nothing of ROS is imported: messages that a recording gave without it have the same fields.
"""

from __future__ import annotations

from collections.abc import Callable
import re
from types import SimpleNamespace
from typing import Any

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.text import shown
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.image_io.video_decoder import (
    H264,
    H265,
    Picture,
    StreamCounts,
    VideoDecoder,
)

_MAX_NAME = 200

# Names of codecs and of encoders: `libx264`, `h264_nvenc`, `H.265`, `hevc`, `avc1`.
_CODECS = ((H264, re.compile(r'h\.?264|x264|\bavc')), (H265, re.compile(r'h\.?265|x265|hevc')))

#: Fields that only messages of streams have.
_ONLY_STREAMS = 'pts', 'timestamp'


class DecodedMessage:
    """
    Stands for the message whose packet held a picture.

    Attributes:
        header: of that message, and of no other.
        format: codec of the stream.
        data: empty; the picture lies elsewhere.
    """

    data = b''

    def __init__(self, header: Any, codec: str, picture: Picture) -> None:
        self.header, self.format, self._picture = header, codec, picture

    def read(self, limit: FrameLimit = FrameLimit()) -> RawFrame:  # noqa: B008 - it cannot change
        """
        Convert the picture to BGR.

        Raises:
            ImageError: it is too large.
        """
        limit.check(f'{self.format} picture', self._picture.height, self._picture.width)
        return RawFrame.of_bgr(self._picture.bgr)


def codec_of(message: Any) -> str:
    """
    Return the codec of a compressed message, empty for a picture that stands alone.

    Raises:
        ImageError: it is a packet of a stream whose codec is not decoded.
    """
    name = format_of(message)
    if codec := codec_named(name):
        return codec
    if any(hasattr(message, each) for each in _ONLY_STREAMS):
        msg = f'the stream is {shown(name)}, which is not decoded: send H.264 or H.265'
        raise ImageError(msg)
    return ''


def format_of(message: Any) -> str:
    """Return what a compressed message says about its contents."""
    name: str = message.format if hasattr(message, 'format') else message.encoding
    return name


def codec_named(name: str) -> str:
    """Return the codec that a text names, such as `libx264`; empty if it is none of them."""
    codec = name[:_MAX_NAME].partition(';')[0].lower()
    return next((each for each, pattern in _CODECS if pattern.search(codec)), '')


def header_of(message: Any, make_header: Callable[..., Any] = SimpleNamespace) -> Any:
    """Return the header of a message; one without gets one of its stamp and frame."""
    if hasattr(message, 'header'):
        return message.header
    return make_header(stamp=message.timestamp, frame_id=message.frame_id)


class StreamDecoder:
    """
    Turns the messages of one stream into its pictures.

    A publisher that changes the codec gets another decoder.

    Args:
        limit: pictures that are larger are refused.
        device: see `VideoDecoder`.

    Attributes:
        counts: what became of the packets.
        reason: why the packets that came last gave no picture; empty if they did.
    """

    def __init__(self, limit: FrameLimit, device: str = 'cpu') -> None:
        self._limit, self._device = limit, device
        self.counts = StreamCounts()
        self._decoder: VideoDecoder | None = None

    @property
    def reason(self) -> str:
        """Why the packets that came last gave no picture; empty if they did."""
        return self._decoder.reason if self._decoder else ''

    def decode(
        self, message: Any, codec: str, tag: Any, *, is_wanted: bool = True
    ) -> list[Picture]:
        """
        Decode the packet of a message; see `VideoDecoder.decode`.

        Args:
            message: with a packet.
            codec: of it, see `codec_of`.
            tag: what its picture is known by.
            is_wanted: whether the picture is of use.

        Raises:
            ImageError: PyAV is missing, or the packet cannot be decoded.
        """
        held: list[Picture] = []
        if self._decoder is None or self._decoder.codec != codec:
            held = self.finish()
            self._decoder = VideoDecoder(codec, self._limit, self._device, self.counts)
        return held + self._decoder.decode(bytes(message.data), tag, is_wanted=is_wanted)

    def finish(self) -> list[Picture]:
        """Return the pictures that are held back, and begin anew with the next key picture."""
        return [] if self._decoder is None else self._decoder.finish()
