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

"""What both storages of a recording share: errors, losses, bounds, and warnings that come once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
import logging
from typing import Protocol, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rosbags.interfaces import Connection, Qos

#: Times of recording in ns: the first, and the one after the last.
Span = tuple[int, int]

#: Bytes of the largest message, chunk and index that are taken into memory.
LARGEST = 1 << 30

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'

# LZ4 makes 255 bytes of one at most, so what declares more is damaged.
_LZ4_RATIO = 255

# QoS profiles of a topic are some hundred bytes; a parser of YAML gets no more than this.
_MAX_QOS_BYTES = 1 << 16

_LOG = logging.getLogger(__name__)
_WARNED: set[tuple[Path, str]] = set()


class Damaged(Exception):  # noqa: N818 - what is wrong at one place; nobody outside sees it
    """A place of a file that does not hold what it should."""


@dataclass
class Losses:
    """What could not be read of one file."""

    messages: int = 0
    places: int = 0
    first: str = ''

    def add(self, place: str, reason: str, messages: int = 1) -> None:
        """Count messages that are lost at a place for one reason."""
        self.messages += messages
        self.places += 1
        self.first = self.first or f'{place}: {reason}'

    def __str__(self) -> str:
        """Return how much is lost, and where first."""
        lost = f'{self.messages} messages are lost' if self.messages else 'messages are lost'
        if self.messages == 1:
            lost = '1 message is lost'
        more = f', and at {self.places - 1} more places' if self.places > 1 else ''
        return f'{lost} ({self.first}{more})'


class Storage(Protocol):
    """
    An open file of a recording.

    `loss` says what of it is missing as far as that is known, `remedy` what could help.
    """

    loss: str
    remedy: str
    connections: list[Connection]
    losses: Losses

    def messages(
        self, wanted: Collection[int], span: Span | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """
        Yield the id of the connection, time in ns and message, in the order of time.

        Args:
            wanted: ids of connections.
            span: what lies outside of it need not be yielded; None: all is.

        """

    def close(self) -> None:
        """Close the file."""


def warn_once(path: Path, cause: str, text: str = '') -> None:
    """Log a warning about a file, once per cause in a process."""
    if (path, cause) not in _WARNED:
        _WARNED.add((path, cause))
        _LOG.warning('%s %s', path, text or cause)


def unpack_zstd(data: bytes | memoryview, largest: int = LARGEST, *, cut: bool = False) -> bytes:
    """
    Decompress a frame of zstd, taking no more memory than it may fill.

    Args:
        data: the frame.
        largest: bytes that it may give.
        cut: whether its end may be missing; then what is there is given.

    Raises:
        Damaged: it is not such a frame, it is cut, or it would give more.

    """
    from uhr_seg_ros.replay.zstd import zstd  # rosbags may not be installed

    try:
        declared = zstd.get_frame_info(data).decompressed_size or 0
        if declared > largest:
            msg = f'declares {declared} bytes, more than the {largest} that are accepted'
            raise Damaged(msg)
        decompressor = zstd.ZstdDecompressor()
        # Asked for one byte more, a frame that would give too much betrays itself.
        unpacked = decompressor.decompress(data, largest + 1)
    except zstd.ZstdError as err:
        msg = f'cannot be decompressed ({err})'
        raise Damaged(msg) from err
    return _checked(unpacked, largest, cut or decompressor.eof)


def unpack_lz4(data: bytes | memoryview, size: int, *, cut: bool = False) -> bytes:
    """
    Decompress a frame of LZ4 that gives `size` bytes; otherwise as `unpack_zstd`.

    Raises:
        Damaged: it is not such a frame, it is cut, or it would give more.

    """
    from lz4.frame import LZ4FrameDecompressor  # comes with rosbags

    if size > _LZ4_RATIO * len(data) and not cut:
        msg = f'declares {size} bytes, more than {len(data)} can give'
        raise Damaged(msg)
    decompressor = LZ4FrameDecompressor()
    try:
        # It allocates what it is asked for.
        unpacked = decompressor.decompress(data, max_length=min(size, _LZ4_RATIO * len(data)) + 1)
    except (RuntimeError, ValueError, EOFError) as err:
        msg = f'cannot be decompressed ({err})'
        raise Damaged(msg) from err
    return _checked(unpacked, size, cut or decompressor.eof)


def _checked(unpacked: bytes, largest: int, complete: bool) -> bytes:
    if len(unpacked) > largest:
        msg = f'gives more than the {largest} bytes that were expected'
        raise Damaged(msg)
    if not complete:
        msg = f'is cut after {len(unpacked)} bytes'
        raise Damaged(msg)
    return unpacked


@cache
def parse_profiles(text: str) -> list[Qos]:
    """Read the QoS profiles of a topic; nobody needs them to read its messages."""
    from rosbags.rosbag2.metadata import parse_qos

    if len(text) > _MAX_QOS_BYTES:
        return []
    try:
        return parse_qos(text)
    except Exception:  # whatever the parser of YAML and the code behind it run into
        return []
