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
Units of H.264 and H.265 streams (Annex B): where they begin, and the bits of their headers.

Syntax: ITU-T H.264 and H.265, Annex B and section 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from uhr_seg_ros.core.errors import ImageError

START = b'\0\0\1'

#: Of a slice, so many bytes are enough for the fields that are read.
SLICE_HEAD = 128

#: What is told of a packet with the units of more than one picture.
SEVERAL = (
    'the packet holds several pictures, and has one stamp: let the publisher send each picture in '
    'a message of its own'
)

_MAX_UE_BITS = 32


class Access(NamedTuple):
    """
    What a packet says about the picture in it, before it is decoded.

    Attributes:
        has_picture: it holds one, and not parameter sets or remarks alone.
        is_key: decoding may begin with it.
        is_disposable: no other picture refers to it.
        is_lost: it refers to a picture that did not come.
        is_leading: it is shown before the key picture that it follows, and refers to older ones.
        lacks_sets: the parameter sets that it needs have not come.
        has_sets: it holds some.
    """

    has_picture: bool = False
    is_key: bool = False
    is_disposable: bool = False
    is_lost: bool = False
    is_leading: bool = False
    lacks_sets: bool = False
    has_sets: bool = False


class BitsError(ValueError):
    """A unit ends before its fields, or holds numbers that cannot be."""


class Bits:
    """The bits of a unit, with the bytes left out that only keep start codes from appearing."""

    def __init__(self, unit: bytes) -> None:
        payload = unit.replace(b'\0\0\3', b'\0\0')
        self._value = int.from_bytes(payload, 'big')
        self._left = 8 * len(payload)

    def u(self, count: int) -> int:
        """Return an unsigned number of so many bits."""
        self._left -= count
        if self._left < 0:
            msg = 'a unit ends within its header'
            raise BitsError(msg)
        return (self._value >> self._left) & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        """Leave out so many bits."""
        self.u(count)

    def ue(self) -> int:
        """Return an unsigned Exp-Golomb number."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > _MAX_UE_BITS:
                msg = 'a number in the header of a unit is too long'
                raise BitsError(msg)
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """Return a signed Exp-Golomb number."""
        number = self.ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def units(data: bytes) -> Iterator[tuple[int, int]]:
    """
    Find the units of a packet.

    Yields:
        Where each begins, behind its start code, and where the next start code is.

    Raises:
        ImageError: the data does not begin with a start code.
    """
    begin = data.find(START, 0, 5)
    if begin < 0 or any(data[:begin]):
        msg = (
            f'the packet begins with {data[:4].hex(" ") or "nothing"} and not with a start code: '
            'streams are read in the form of Annex B (00 00 01 before each unit), as '
            'h264_mp4toannexb of FFmpeg makes it'
        )
        raise ImageError(msg)
    while begin >= 0:
        begin += len(START)
        end = data.find(START, begin)
        if begin < (len(data) if end < 0 else end):
            yield begin, len(data) if end < 0 else end
        begin = end
