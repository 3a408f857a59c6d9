# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Read a recording a few messages ahead of who plays it, as often as it is wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from queue import Full, Queue
import struct
from threading import Event, Thread

from uhr_seg_ros.replay.bags import BagError, read_beside

#: Messages in memory, never the recording.
AHEAD = 4

# Between the last message of a recording and its first one, played again, if nothing tells.
_GAP_NS = 100_000_000


def read_ahead(
    path: Path, topic: str, *, repeat: bool, beside: Collection[str] = ()
) -> Iterator[tuple[int, int, bytes, str]]:
    """
    Read on a thread of its own.

    Args:
        path: the recording.
        topic: one of its image topics.
        repeat: begin again at the end, for ever.
        beside: other topics of it, of any type.

    Yields:
        Time since the first message, growing from round to round, and time of recording, ns, the
        message in CDR, and its topic.

    Raises:
        BagError: a damaged recording.

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
            for item in _rounds(path, topic, repeat, beside):
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
    """Give a message in CDR whose first field is a header another stamp, in ns."""
    order = '<' if message[1] & 1 else '>'
    stamp = struct.pack(f'{order}iI', *divmod(stamp_ns, 1_000_000_000))
    return message[:4] + stamp + message[12:]


def _rounds(
    path: Path, topic: str, repeat: bool, beside: Collection[str]
) -> Iterator[tuple[int, int, bytes, str]]:
    offset = 0
    while True:
        first = last = None
        count = 0
        for name, time_ns, message in read_beside(path, topic, beside):
            first = time_ns if first is None else first
            last = time_ns
            count += name == topic
            yield offset + time_ns - first, time_ns, message, name
        if not count:
            msg = f'{path} has no messages on {topic}'
            raise BagError(msg)
        if not repeat:
            return
        gap = (last - first) // (count - 1) if count > 1 else _GAP_NS
        offset += last - first + gap
