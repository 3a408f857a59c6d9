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

"""Whether the scans of a JPEG are all there, and where the last of them ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uhr_seg_ros.image_io.jpeg_structure import (
    DRI,
    JpegError,
    JpegHeader,
    PROGRESSIVE,
    read_header,
    Segment,
    segments,
    SOS,
)

#: Far beyond what encoders write. Each scan of a progressive picture costs a pass over it, which
#: a file of a few kB could ask for thousands of times.
_MAX_SCANS = 100


class _Scan(NamedTuple):
    """Planes and coefficients of a scan, and the bit down to which it gives them."""

    components: tuple[int, ...]
    first: int
    last: int
    bit: int


def has_one_scan(data: bytes | memoryview) -> bool:
    """
    Return whether the first scan is all of the picture, without looking for its end.

    Raises:
        JpegError: there is no frame header, or no scan.

    """
    header = read_header(data)
    if header.process == PROGRESSIVE:
        return False
    for segment in segments(data, whole=False):
        if segment.marker == SOS:
            scan = _scan_parameters(data, segment)
            return len(scan.components) == len(header.components)
    return False


def find_end(data: bytes | memoryview) -> int:
    """
    Return where a JPEG ends: behind the end marker that belongs to its scans.

    An end marker inside a segment, such as that of a thumbnail, is none.

    Raises:
        JpegError: the data ends, or another picture begins, before that; or scans are missing.

    """
    header, scans, end = read_header(data), [], 0
    for segment in segments(data):
        if segment.marker == SOS:
            scans.append(_scan_parameters(data, segment))
            if len(scans) > _MAX_SCANS:
                msg = f'JPEG has more than {_MAX_SCANS} scans: refused'
                raise JpegError(msg)
        end = segment.end
    _check_scans(header, scans)
    return end


def has_all_restarts(data: bytes | memoryview) -> bool:
    """
    Return whether the only scan of a JPEG has all its restart markers in their order.

    Raises:
        JpegError: there is no frame header, or the data ends before the end marker.

    """
    header, interval, scans = read_header(data), 0, []
    for segment in segments(data):
        if segment.marker == DRI:
            interval = int.from_bytes(data[segment.at + 4 : segment.at + 6], 'big')
        if segment.marker == SOS:
            scans.append(segment)
    if not interval or len(scans) != 1:
        return False
    scan = np.frombuffer(data[scans[0].entropy : scans[0].end], np.uint8)
    codes = scan[1:][scan[:-1] == 0xFF]
    numbers = codes[(codes >= 0xD0) & (codes <= 0xD7)] - 0xD0
    expected = -(-_units(header) // interval) - 1
    return len(numbers) == expected and bool((numbers == np.arange(expected) % 8).all())


def _units(header: JpegHeader) -> int:
    """Return how many units of all planes together a picture has, as restarts count them."""
    wide = high = 8
    if len(header.components) > 1:
        wide *= max(each.horizontal for each in header.components)
        high *= max(each.vertical for each in header.components)
    return -(-header.width // wide) * -(-header.height // high)


def _check_scans(header: JpegHeader, scans: list[_Scan]) -> None:
    """Check that every plane has all its scans; decoders make up for one in silence."""
    progressive = header.process == PROGRESSIVE
    for component in header.components:
        lowest: dict[int, int] = {}
        for scan in scans:
            if component.number in scan.components:
                coefficients = range(scan.first, scan.last + 1) if progressive else (0,)
                lowest.update(dict.fromkeys(coefficients, scan.bit if progressive else 0))
        if 0 not in lowest or any(lowest.values()):
            msg = (
                f'JPEG is incomplete: scans of component {component.number} are missing '
                'before its end marker'
            )
            raise JpegError(msg)


def _scan_parameters(data: bytes | memoryview, segment: Segment) -> _Scan:
    body = bytes(data[segment.at + 4 : segment.entropy])
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        msg = f'JPEG scan header is damaged: {len(body)} bytes'
        raise JpegError(msg)
    numbers = tuple(body[1 : 1 + 2 * count : 2])
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    return _Scan(numbers, first, min(last, 63), bits & 15)
