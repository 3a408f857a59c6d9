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

"""One thread for the stream of a camera: packets in, in the order of the stream, pictures out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import math
from threading import Condition, Thread
import time
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Header

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.image_io.video_decoder import Picture
from uhr_seg_ros.ros.messages.encoded import codec_of, DecodedMessage, header_of, StreamDecoder
from uhr_seg_ros.ros.topics.status import Problem

MAX_BEHIND_S = 1.0
"""Packets that wait longer, s, are dropped: the decoder begins again with a key picture."""

QUIET_S = 3.0
"""A stream without a picture for so long, s, is a warning."""


class StreamHooks(NamedTuple):
    """
    What a stream of packets works with.

    Attributes:
        put: gets a frame with the picture in the place of its packet.
        skip: called for every packet that gives no picture.
        reject: gets why a packet cannot be decoded.
        is_wanted: whether the picture of a packet may be taken.
    """

    put: Callable[[Any], None]
    skip: Callable[[], None]
    reject: Callable[[Exception], None]
    is_wanted: Callable[[], bool]


class PacketStream:
    """
    Decodes the packets of a camera, in order, on a thread of its own.

    Every picture that others refer to is decoded; which of them is segmented, and converted for
    that, is the worker's choice. A camera that sends pictures which stand alone has no thread.

    Args:
        limit: pictures that are larger are refused.
        device: what decodes, see `VideoDecoder`.
        hooks: what becomes of frames.

    Attributes:
        is_used: packets have come.
    """

    def __init__(self, limit: FrameLimit, device: str, hooks: StreamHooks) -> None:
        self._decoder = StreamDecoder(limit, device)
        self._hooks = hooks
        self._queue: deque[tuple[Any, str]] = deque()
        self._changed = Condition()
        self._is_closed = False
        self._last_picture_s = time.monotonic()
        self._warm_s = math.inf  # when the first packet was done: FFmpeg is loaded for it
        self._late = 0
        self.is_used = False
        self._thread = Thread(target=self._run, name='packet_stream', daemon=True)

    def takes(self, frame: Any) -> bool:
        """Take a frame if its message holds a packet; False for a picture that stands alone."""
        try:
            codec = codec_of(frame.message)
        except ImageError as error:
            self._hooks.reject(error)
            return True
        if codec:
            self._put_packet(frame, codec)
        return bool(codec)

    def _put_packet(self, frame: Any, codec: str) -> None:
        with self._changed:
            late = int(self._is_closed)  # the last one of a subscription that was closed
            if not self.is_used and not late:
                self.is_used = True
                self._thread.start()
            since = max(self._queue[0][0].arrival, self._warm_s) if self._queue else math.inf
            if frame.arrival - since > MAX_BEHIND_S:
                late = len(self._queue)
                self._queue.clear()  # the decoder notices the gap
                self._late += late
            if not self._is_closed:
                self._queue.append((frame, codec))
            self._changed.notify()
        for _ in range(late):
            self._hooks.skip()

    def values(self) -> dict[str, str]:
        """Return counters for `/diagnostics`."""
        if not self.is_used:
            return {}
        counts = self._decoder.counts
        return {
            'packets_received': str(counts.packets + self._late),
            'packets_decoded': str(counts.pictures),
            'packets_not_needed': str(counts.skipped),
            'packets_without_key': str(counts.waiting),
            'packets_corrupt': str(counts.corrupt),
            'packets_late': str(self._late),
            'stream_losses': str(counts.lost),
        }

    def problem(self) -> Problem | None:
        """Return why no pictures come, or None."""
        reason = self._decoder.reason
        silence = time.monotonic() - self._last_picture_s
        if not reason or silence < QUIET_S:
            return None
        return DiagnosticStatus.WARN, f'packets come, but no picture for {silence:.0f} s: {reason}'

    def close(self) -> None:
        """End the thread; a packet inside is finished, and its picture is dropped."""
        with self._changed:
            self._is_closed = True
            self._queue.clear()
            self._changed.notify()
        if self.is_used:
            self._thread.join(MAX_BEHIND_S)

    def _run(self) -> None:
        while (item := self._next()) is not None:
            self._decode(*item)
            del item  # or the packet would stay in memory until the next one comes
            self._warm_s = min(self._warm_s, time.monotonic())

    def _next(self) -> tuple[Any, str] | None:
        with self._changed:
            while not self._queue and not self._is_closed:
                self._changed.wait()
            return None if self._is_closed else self._queue.popleft()

    def _decode(self, frame: Any, codec: str) -> None:
        counts = self._decoder.counts
        before = counts.waiting + counts.skipped
        try:
            pictures = self._decoder.decode(
                frame.message, codec, frame, is_wanted=self._hooks.is_wanted()
            )
        except Exception as err:  # ImageError, and no other may end the thread either
            self._hooks.reject(err)
            return
        for _ in range(counts.waiting + counts.skipped - before):
            self._hooks.skip()
        for picture in pictures:
            self._put(picture, codec)

    def _put(self, picture: Picture, codec: str) -> None:
        """Hand on a picture with the header of its own packet."""
        frame = picture.tag
        message = DecodedMessage(header_of(frame.message, Header), codec, picture)
        self._last_picture_s = time.monotonic()
        if not self._is_closed:
            self._hooks.put(frame._replace(message=message))
