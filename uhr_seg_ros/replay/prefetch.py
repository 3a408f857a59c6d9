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

"""Read a recording on a thread, a few messages ahead of the player."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from queue import Full, Queue
import struct
from threading import Event, Thread

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.bags import read_topics
from uhr_seg_ros.replay.pacing import Timeline

#: Messages in memory, never the recording.
AHEAD = 4

#: Of a message that begins with a header: its encoding and the stamp.
HEADER_BYTES = 12

# What builtin_interfaces/Time can hold, s.
_SECONDS = range(-(1 << 31), 1 << 31)


def read_ahead(
    path: Path,
    topic: str,
    *,
    repeat: bool,
    extra_topics: Collection[str] = (),
    is_whole: Callable[[str, bytes], bool] = lambda _, message: len(message) >= HEADER_BYTES,
    on_jump: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[int, int, bytes, str]]:
    """
    Read on a thread of its own.

    Args:
        path: the recording.
        topic: one of its image topics.
        repeat: begin again at the end, endlessly.
        extra_topics: other topics of it, of any type.
        is_whole: gets a topic and a message, and tells whether the message can be played.
        on_jump: called from that thread when the clock of the recording has jumped.

    Yields:
        Time from the first image to this one, or to the last one before a message of another
        topic, and time of recording, ns, the message in CDR, empty where it is not whole, and its
        topic. The former never goes back, also from round to round; see `Timeline`.

    Raises:
        RecordingError: a damaged recording, or one without a whole message on the topic.

    """
    queue: Queue[tuple[int, int, bytes, str] | Exception | None] = Queue(AHEAD)
    ended = Event()

    def put(item: tuple[int, int, bytes, str] | Exception | None) -> bool:
        while not ended.is_set():
            try:
                queue.put(item, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in _rounds(path, topic, repeat, extra_topics, is_whole, Timeline(on_jump)):
                if not put(item):
                    return
            put(None)
        except Exception as err:  # whoever iterates gets it
            put(err)

    Thread(target=read, daemon=True).start()
    try:
        while (item := queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        ended.set()


def with_stamp(message: bytes, stamp_ns: int) -> bytes:
    """
    Return a copy of a message in CDR, whose first field is a header, with another stamp in ns.

    Raises:
        RecordingError: the message is too short to have one, or the stamp is before 1901 or
            after 2038, which ROS 2 cannot tell.

    """
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    if len(message) < HEADER_BYTES:
        msg = f'a message of {len(message)} bytes has no header: {HEADER_BYTES} are needed'
        raise RecordingError(msg)
    if seconds not in _SECONDS:
        msg = (
            f'a stamp of {seconds} s cannot be stored: ROS 2 takes {_SECONDS[0]} to '
            f'{_SECONDS[-1]} s from 1970; is the clock of this machine right?'
        )
        raise RecordingError(msg)
    order = '<' if message[1] & 1 else '>'
    stamp = struct.pack(f'{order}iI', seconds, nanoseconds)
    return message[:4] + stamp + message[12:]


def _rounds(
    path: Path,
    topic: str,
    repeat: bool,
    extra_topics: Collection[str],
    is_whole: Callable[[str, bytes], bool],
    timeline: Timeline,
) -> Iterator[tuple[int, int, bytes, str]]:
    while True:
        count = broken = 0
        for name, time_ns, message in read_topics(path, topic, extra_topics):
            if not is_whole(name, message):
                broken += name == topic
                message = b''
            elif name == topic:
                count += 1
                timeline.advance(time_ns)
            yield timeline.elapsed_ns, time_ns, message, name
        if not count:
            whole = f' but {broken} that are not whole' if broken else ''
            msg = f'{path} has no messages on {topic}{whole}'
            raise RecordingError(msg)
        if not repeat:
            return
        timeline.begin_again()
