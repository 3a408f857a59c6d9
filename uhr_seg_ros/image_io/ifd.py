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
Directories of TIFF files, classic and BigTIFF: tags and their values, nothing of pixels.

EXIF data has the same form: how a camera was held. Pixels are always taken as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
import io
import struct
from typing import BinaryIO

import numpy as np

from uhr_seg_ros.core.errors import ImageError

#: Little and big endian, of 32 and of 64 bit.
MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')

#: Type of a tag's values -> its type in NumPy; a rational number is two.
_TYPES = {
    1: 'u1',
    2: 'u1',
    3: 'u2',
    4: 'u4',
    5: 'u4',
    6: 'i1',
    7: 'u1',
    8: 'i2',
    9: 'i4',
    10: 'i4',
    11: 'f4',
    12: 'f8',
    13: 'u4',
    16: 'u8',
    17: 'i8',
    18: 'u8',
}
#: No file of pictures has more.
_MAX_PAGES = 1 << 16


def is_tiff(head: bytes) -> bool:
    """Tell by the first bytes of a file if it is a TIFF file."""
    return head[:4] in MAGIC


class Directory:
    """
    Tags of one page.

    Args:
        file: The open file.
        size: Its bytes.
        order: ``<`` or ``>``.
        entries: Tag -> type, number of values and the bytes in the directory.
    """

    def __init__(
        self, file: BinaryIO, size: int, order: str, entries: dict[int, tuple[int, int, bytes]]
    ) -> None:
        self.file, self.size, self.order = file, size, order
        self._entries = entries

    def __contains__(self, tag: int) -> bool:
        """Tell if a tag is there."""
        return tag in self._entries

    def values(self, tag: int) -> np.ndarray | None:
        """
        Read all values of a tag; None without it.

        Raises:
            ImageError: They lie outside the file, or are of an unknown type.
        """
        if tag not in self._entries:
            return None
        kind, count, inline = self._entries[tag]
        if kind not in _TYPES:
            msg = f'TIFF is damaged: tag {tag} has the type {kind}'
            raise ImageError(msg)
        dtype = np.dtype(self.order + _TYPES[kind])
        length = count * dtype.itemsize * (2 if kind in (5, 10) else 1)
        if length <= len(inline):
            return np.frombuffer(inline[:length], dtype)
        offset = int.from_bytes(inline, 'little' if self.order == '<' else 'big')
        if offset + length > self.size:
            msg = f'TIFF is cut short or damaged: tag {tag} lies outside its {self.size} bytes'
            raise ImageError(msg)
        self.file.seek(offset)
        return np.frombuffer(self.file.read(length), dtype)

    def number(self, tag: int, default: int | None = None) -> int:
        """
        Read the first value of a tag.

        Raises:
            ImageError: As `values`; or there is none, and no default.
        """
        values = self.values(tag)
        if values is not None and values.size:
            return int(values[0])
        if default is None:
            msg = f'TIFF is damaged: tag {tag} is missing'
            raise ImageError(msg)
        return default


def directories(file: BinaryIO, size: int) -> Iterator[Directory]:
    """
    Read the directories of a file, in its order; no value outside of them is read.

    Raises:
        ImageError: The file is cut short or damaged, or its directories run in a circle.
    """
    file.seek(0)
    head = file.read(16)
    order = '<' if head[:2] == b'II' else '>'
    big = b'+' in head[2:4]
    try:
        if head[:4] not in MAGIC:
            raise struct.error
        (offset,) = struct.unpack_from(order + ('Q' if big else 'I'), head, 8 if big else 4)
    except struct.error as err:
        msg = 'TIFF has a damaged header'
        raise ImageError(msg) from err
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= _MAX_PAGES:
            msg = 'TIFF is damaged: its directories run in a circle'
            raise ImageError(msg)
        seen.add(offset)
        entries, offset = _directory(file, size, order, big, offset)
        yield Directory(file, size, order, entries)


def _directory(
    file: BinaryIO, size: int, order: str, big: bool, offset: int
) -> tuple[dict[int, tuple[int, int, bytes]], int]:
    """Return the entries of a directory, and the place of the next one."""
    count_form, entry_form, next_form = ('Q', 'HHQ8s', 'Q') if big else ('H', 'HHI4s', 'I')
    entry = struct.Struct(order + entry_form)
    try:
        file.seek(offset)
        (count,) = struct.unpack(order + count_form, file.read(8 if big else 2))
        if offset + count * entry.size > size:
            raise struct.error
        body = file.read(count * entry.size)
        entries = {
            tag: (kind, values, inline) for tag, kind, values, inline in entry.iter_unpack(body)
        }
        after = file.read(struct.calcsize(order + next_form))
    except (struct.error, OverflowError, ValueError, OSError) as err:
        msg = f'TIFF is cut short or damaged: no directory at byte {offset} of {size}'
        raise ImageError(msg) from err
    # Some writers end a file after its last directory.
    whole = len(after) == struct.calcsize(order + next_form)
    return entries, struct.unpack(order + next_form, after)[0] if whole else 0


def in_memory(data: bytes) -> Iterator[Directory]:
    """Read the directories of a TIFF structure in memory, as `directories`."""
    return directories(io.BytesIO(data), len(data))


ORIENTATION_TAG = 274
UPRIGHT = 1
ORIENTATION_NAMES = {
    2: 'mirrored',
    3: 'turned by 180 degrees',
    4: 'mirrored and turned by 180 degrees',
    5: 'mirrored and turned by 90 degrees',
    6: 'turned by 90 degrees',
    7: 'mirrored and turned by 270 degrees',
    8: 'turned by 270 degrees',
}


def exif_orientation(exif: bytes) -> int:
    """
    Read the orientation in EXIF data; 1, which is upright, without one or where it is damaged.

    Args:
        exif: A TIFF structure, with or without the mark ``Exif`` before it.
    """
    exif = exif[6:] if exif[:6] == b'Exif\0\0' else exif
    try:
        first = next(in_memory(exif), None)
        value = first.number(ORIENTATION_TAG, UPRIGHT) if first is not None else UPRIGHT
    except ImageError:
        # Viewers do not turn such a picture either.
        return UPRIGHT
    return value if value in ORIENTATION_NAMES else UPRIGHT
