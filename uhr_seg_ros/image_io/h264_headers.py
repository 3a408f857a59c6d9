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

"""What packets of an H.264 stream say about their pictures: keys, disposable ones, lost ones."""

from __future__ import annotations

from typing import NamedTuple

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.nal_units import (
    Access,
    Bits,
    BitsError,
    SEVERAL,
    SLICE_HEAD,
    START,
    units,
)

_SLICE, _PARTITION, _KEY_SLICE, _REMARK, _SEQUENCE, _PICTURE = 1, 2, 5, 6, 7, 8

_RECOVERY_POINT = 6

# Profiles whose sequence parameter sets tell of chroma and bit depth.
_HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}


class _Sequence(NamedTuple):
    """Fields of a sequence parameter set."""

    width: int
    height: int
    frame_number_bits: int
    has_gaps: bool
    has_planes: bool
    frames_only: bool


class H264Headers:
    """
    Reads headers packet by packet, in the order of the stream, and notices pictures that lack.

    Reference pictures are numbered (`frame_num`, 7.4.3); a gap in the numbers is a picture that
    was lost. Streams that allow gaps, as those with temporal layers do, are taken as they are.

    Attributes:
        size: height and width of the newest sequence parameter set, px; None before the first.
    """

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, int] = {}
        self._sets: dict[tuple[int, int], bytes] = {}
        self._last: int | None = None  # frame_num of the newest reference picture

    @property
    def sets(self) -> bytes:
        """The newest parameter sets, as units."""
        return b''.join(self._sets[key] for key in sorted(self._sets))

    def restart(self) -> None:
        """Begin again at a key picture; the parameter sets stay."""
        self._last = None

    def read(self, data: bytes) -> Access:
        """
        Read the headers of a packet, (bytes) one access unit of Annex B.

        Raises:
            ImageError: it does not begin as one.
            BitsError: a header is damaged.
        """
        access = Access(is_disposable=True)
        for begin, end in units(data):
            kind = data[begin] & 31
            if kind == _SEQUENCE:
                number = self._add_sequence(data[begin + 1 : end])
                self._sets[kind, number] = START + data[begin:end]
                access = access._replace(has_sets=True)
            elif kind == _PICTURE:
                bits = Bits(data[begin + 1 : begin + 1 + SLICE_HEAD])
                number = bits.ue()
                self._pictures[number] = bits.ue()
                self._sets[kind, number] = START + data[begin:end]
            elif kind == _REMARK and _is_recovery_point(data[begin + 1 : end]):
                access = access._replace(is_key=True)
            elif kind in (_SLICE, _PARTITION, _KEY_SLICE):
                head = data[begin : min(begin + SLICE_HEAD, end)]
                access = self._read_slice(head, kind == _KEY_SLICE, access)
        return access

    def _read_slice(self, head: bytes, is_idr: bool, access: Access) -> Access:
        bits = Bits(head[1:])
        if bits.ue():  # not the first slice of its picture, which should have come before
            return access._replace(
                has_picture=True, is_lost=access.is_lost or not access.has_picture
            )
        bits.ue()
        sequence = self._sequences.get(self._pictures.get(bits.ue(), -1))
        if sequence is None:
            return access._replace(has_picture=True, lacks_sets=True)
        if access.has_picture and sequence.frames_only:
            raise ImageError(SEVERAL)
        bits.skip(2 if sequence.has_planes else 0)
        number = bits.u(sequence.frame_number_bits)
        expected = self._last, _after(self._last, sequence)
        is_lost = not is_idr and self._last is not None and number not in expected
        is_reference = bool(head[0] & 0x60)
        if is_reference:
            self._last = number
        return access._replace(
            has_picture=True,
            is_key=access.is_key or is_idr,
            is_disposable=access.is_disposable and not is_reference,
            is_lost=access.is_lost or (is_lost and not sequence.has_gaps),
        )

    def _add_sequence(self, unit: bytes) -> int:
        bits = Bits(unit)
        profile = bits.u(8)
        bits.skip(16)
        number = bits.ue()
        chroma, has_planes = 1, False
        if profile in _HIGH_PROFILES:
            chroma = bits.ue()
            has_planes = chroma == 3 and bool(bits.u(1))
            bits.ue()
            bits.ue()
            bits.skip(1)
            if bits.u(1):
                for index in range(8 if chroma != 3 else 12):
                    if bits.u(1):
                        _skip_scaling_list(bits, 16 if index < 6 else 64)
        frame_number_bits = bits.ue() + 4
        _skip_order_count(bits)
        bits.ue()
        has_gaps = bool(bits.u(1))
        width, height = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)
        frames_only = bool(bits.u(1))
        if frame_number_bits > 16:
            msg = f'a sequence parameter set numbers frames with {frame_number_bits} bits'
            raise BitsError(msg)
        if not frames_only:
            height *= 2
            bits.skip(1)
        bits.skip(1)
        if bits.u(1):
            left, right, top, bottom = (bits.ue() for _ in range(4))
            width -= (left + right) * (2 if chroma in (1, 2) else 1)
            height -= (top + bottom) * (2 if chroma == 1 else 1) * (2 - frames_only)
        self.size = height, width
        self._sequences[number] = _Sequence(
            width, height, frame_number_bits, has_gaps, has_planes, frames_only
        )
        return number


def _after(number: int | None, sequence: _Sequence) -> int | None:
    return None if number is None else (number + 1) % (1 << sequence.frame_number_bits)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _skip_order_count(bits: Bits) -> None:
    kind = bits.ue()
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.skip(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue() & 0xFF):
            bits.se()


def _is_recovery_point(remark: bytes) -> bool:
    """Tell if a supplemental enhancement information says that decoding may begin here."""
    position = 0
    while position + 2 < len(remark):
        kind = size = 0
        while position < len(remark) and remark[position] == 0xFF:
            kind, position = kind + 255, position + 1
        if position >= len(remark):
            return False
        kind, position = kind + remark[position], position + 1
        while position < len(remark) and remark[position] == 0xFF:
            size, position = size + 255, position + 1
        if position >= len(remark):
            return False
        size, position = size + remark[position], position + 1
        if kind == _RECOVERY_POINT:
            return True
        position += size
    return False
