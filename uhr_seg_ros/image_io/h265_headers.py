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

"""What packets of an H.265 stream say about their pictures: keys, disposable ones, lost ones."""

from __future__ import annotations

from collections.abc import Sequence
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

_RADL, _RASL = (6, 7), (8, 9)
_KEYS, _BROKEN, _IDR = range(16, 24), (16, 17, 18), (19, 20)
_SLICES = range(22)
_RESERVED = range(10, 16)
_VIDEO, _SEQUENCE, _PICTURE = 32, 33, 34

#: Of reference pictures and their sets; more is damage.
_MAX_PICTURES, _MAX_SETS = 16, 64

# Pictures that may be referred to: distance in order of display -> whether by the next picture.
_References = dict[int, bool]


class _Sequence(NamedTuple):
    """Fields of a sequence parameter set."""

    width: int
    height: int
    layers: int
    has_planes: bool
    order_bits: int
    sets: tuple[_References, ...]


class _Picture(NamedTuple):
    """Fields of a picture parameter set."""

    sequence: int
    has_output_flag: bool
    extra_bits: int


class H265Headers:
    """
    Reads headers packet by packet, in the order of the stream, and notices pictures that lack.

    Each picture names those that it and its successors refer to, by their places in the order of
    display (8.3.2): one that has not come was lost. Long-term references are not looked at.

    Attributes:
        size: height and width of the newest sequence parameter set, px; None before the first.
    """

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, _Picture] = {}
        self._sets: dict[tuple[int, int], bytes] = {}
        self._known: set[int] = set()  # places of the pictures that may be referred to
        self._anchor = 0  # place of the newest picture that places are counted from
        self._begins = True

    @property
    def sets(self) -> bytes:
        """The newest parameter sets, as units."""
        return b''.join(self._sets[key] for key in sorted(self._sets))

    def restart(self) -> None:
        """Begin again at a key picture; the parameter sets stay."""
        self._begins = True

    def read(self, data: bytes) -> Access:
        """
        Read the headers of a packet, (bytes) one access unit of Annex B.

        Raises:
            ImageError: it does not begin as one.
            BitsError: a header is damaged.
        """
        access = Access()
        for begin, end in units(data):
            if end - begin < 3 or data[begin] & 1 or data[begin + 1] & 0xF8:  # another layer
                continue
            kind = data[begin] >> 1 & 63
            if kind in (_VIDEO, _SEQUENCE, _PICTURE):
                number = self._add_set(kind, data[begin + 2 : end])
                self._sets[kind, number] = START + data[begin:end]
                access = access._replace(has_sets=True)
            elif kind in _SLICES and kind not in _RESERVED:
                access = self._read_slice(data[begin : min(begin + SLICE_HEAD, end)], kind, access)
        return access

    def _read_slice(self, head: bytes, kind: int, access: Access) -> Access:
        bits = Bits(head[2:])
        if not bits.u(1):  # not the first of its picture, which should have come before
            return access._replace(
                has_picture=True, is_lost=access.is_lost or not access.has_picture
            )
        if access.has_picture:
            raise ImageError(SEVERAL)
        is_key = kind in _KEYS
        bits.skip(is_key)
        picture = self._pictures.get(bits.ue())
        sequence = self._sequences.get(picture.sequence) if picture else None
        if picture is None or sequence is None:
            return access._replace(has_picture=True, is_key=is_key, lacks_sets=True)
        bits.skip(picture.extra_bits)
        bits.ue()
        bits.skip(picture.has_output_flag + 2 * sequence.has_planes)
        self._begins = self._begins or kind in _BROKEN
        place, references = 0, {}
        if kind not in _IDR:
            place = self._place(bits.u(sequence.order_bits), sequence.order_bits, restarts=is_key)
            references = _read_references(bits, sequence)
        is_leading = kind in _RASL and self._begins
        lost = not is_key and not is_leading and self._lacks(place, references)
        if is_key and self._begins:
            self._known = set()
        self._begins = self._begins and (is_key or kind in _RASL or kind in _RADL)
        self._known = {place + each for each in references} & self._known | {place}
        # Even numbers: no reference within the sublayer, of which higher ones may make use.
        is_unreferenced, sublayer = kind < 16 and kind % 2 == 0, (head[1] & 7) - 1
        if sublayer == 0 and not (kind in (*_RASL, *_RADL) or is_unreferenced):
            self._anchor = place
        return access._replace(
            has_picture=True,
            is_key=is_key,
            is_disposable=is_unreferenced and sublayer == sequence.layers,
            is_lost=lost,
            is_leading=is_leading,
        )

    def _lacks(self, place: int, references: _References) -> bool:
        return any(
            is_used and place + distance not in self._known
            for distance, is_used in references.items()
        )

    def _place(self, low: int, bits: int, *, restarts: bool) -> int:
        """Return the place in the order of display of a picture that names its low bits."""
        if restarts and self._begins:
            return low
        size = 1 << bits
        near = self._anchor - self._anchor % size + low
        if near - self._anchor >= size // 2:
            return near - size
        return near + size if self._anchor - near > size // 2 else near

    def _add_set(self, kind: int, unit: bytes) -> int:
        """Read a parameter set, and return its number."""
        bits = Bits(unit)
        if kind == _VIDEO:
            return bits.u(4)
        if kind == _SEQUENCE:
            return self._add_sequence(bits)
        number, sequence = bits.ue(), bits.ue()
        bits.skip(1)
        self._pictures[number] = _Picture(sequence, bool(bits.u(1)), bits.u(3))
        return number

    def _add_sequence(self, bits: Bits) -> int:
        bits.skip(4)
        layers = bits.u(3)
        bits.skip(1)
        _skip_profile(bits, layers)
        number = bits.ue()
        chroma = bits.ue()
        has_planes = chroma == 3 and bool(bits.u(1))
        width, height = bits.ue(), bits.ue()
        if bits.u(1):
            left, right, top, bottom = (bits.ue() for _ in range(4))
            width -= (left + right) * (2 if chroma in (1, 2) else 1)
            height -= (top + bottom) * (2 if chroma == 1 else 1)
        bits.ue()
        bits.ue()
        order_bits = bits.ue() + 4
        for _ in range(layers + 1 if bits.u(1) else 1):
            for _ in range(3):
                bits.ue()
        for _ in range(6):
            bits.ue()
        if bits.u(1) and bits.u(1):
            _skip_scaling_lists(bits)
        bits.skip(2)
        if bits.u(1):
            bits.skip(8)
            bits.ue()
            bits.ue()
            bits.skip(1)
        count = bits.ue()
        if order_bits > 16 or count > _MAX_SETS:
            msg = f'a sequence parameter set has {count} sets of references of {order_bits} bits'
            raise BitsError(msg)
        sets: list[_References] = []
        for index in range(count):
            sets.append(_read_set(bits, sets, index, is_of_slice=False))
        self.size = height, width
        self._sequences[number] = _Sequence(
            width, height, layers, has_planes, order_bits, tuple(sets)
        )
        return number


def _read_references(bits: Bits, sequence: _Sequence) -> _References:
    sets = sequence.sets
    if not bits.u(1):
        return _read_set(bits, sets, len(sets), is_of_slice=True)
    index = bits.u((len(sets) - 1).bit_length()) if len(sets) > 1 else 0
    if index >= len(sets):
        msg = f'a slice names set {index} of references, of {len(sets)}'
        raise BitsError(msg)
    return sets[index]


def _read_set(
    bits: Bits, sets: Sequence[_References], index: int, *, is_of_slice: bool
) -> _References:
    """Read a set of references (7.3.7), which may be told by its difference to an earlier one."""
    if index and bits.u(1):
        base = sets[max(0, index - 1 - (bits.ue() if is_of_slice else 0))]
        sign = bits.u(1)
        shift = (1 - 2 * sign) * (bits.ue() + 1)
        # The flags come in the order in which the base lists its pictures, itself at the end.
        listed = sorted((each for each in base if each < 0), reverse=True)
        listed += sorted(each for each in base if each > 0)
        found: _References = {}
        for distance in (*listed, 0):
            is_used = bool(bits.u(1))
            is_kept = is_used or bool(bits.u(1))
            if is_kept and distance + shift:
                found[distance + shift] = is_used
        return found
    before, after = bits.ue(), bits.ue()
    if before + after > _MAX_PICTURES:
        msg = f'a set of references has {before + after} pictures'
        raise BitsError(msg)
    found = {}
    for count, sign in ((before, -1), (after, 1)):
        distance = 0
        for _ in range(count):
            distance += sign * (bits.ue() + 1)
            found[distance] = bool(bits.u(1))
    return found


def _skip_profile(bits: Bits, layers: int) -> None:
    bits.skip(96)
    present = [(bits.u(1), bits.u(1)) for _ in range(layers)]
    if layers:
        bits.skip(2 * (8 - layers))
    for has_profile, has_level in present:
        bits.skip(88 * has_profile + 8 * has_level)


def _skip_scaling_lists(bits: Bits) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.u(1):
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << (4 + (size << 1)))):
                bits.se()
