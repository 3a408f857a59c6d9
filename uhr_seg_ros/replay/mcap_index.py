# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What is where in an mcap file: by its summary, or by its records where that is not right."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

from uhr_seg_ros.replay.mcap_records import (
    Chunk,
    CHUNK_INDEX,
    Fields,
    FOOTER,
    HEAD,
    Index,
    MAGIC,
    ReadAt,
    records,
    STATISTICS,
)
from uhr_seg_ros.replay.mcap_scan import scan_mcap
from uhr_seg_ros.replay.storage import Damaged, LARGEST

# A footer with its head, and the magic bytes behind it.
_END = HEAD.size + 20 + len(MAGIC)


def index_mcap(read_at: ReadAt, size: int) -> Index:
    """
    Find topics and chunks of a file of `size` bytes.

    Raises:
        Damaged: it is no mcap file.

    """
    if read_at(0, len(MAGIC)) != MAGIC:
        msg = 'does not begin as an mcap file does'
        raise Damaged(msg)
    try:
        return _by_summary(read_at, size) or scan_mcap(read_at, size)
    except Damaged as err:
        index = scan_mcap(read_at, size)
        index.loss = index.loss or f'has lost its summary ({err})'
        return index


def _by_summary(read_at: ReadAt, size: int) -> Index | None:
    """Return what the summary tells; None where it may leave out what is needed."""
    end = read_at(max(size - _END, 0), _END)
    if len(end) < _END or not end.endswith(MAGIC):
        msg = 'no end'
        raise Damaged(msg)
    fields = Fields(end)
    if fields.numbers('BQ') != (FOOTER, 20):
        msg = 'no footer'
        raise Damaged(msg)
    start, _, checksum = fields.numbers('QQI')
    if not start:
        return None
    if not len(MAGIC) <= start <= size - _END or size - start > LARGEST:
        msg = f'it would begin at byte {start}'
        raise Damaged(msg)
    section = read_at(start, size - _END - start)
    if checksum and crc32(section + end[: HEAD.size + 16]) != checksum:
        msg = 'its checksum does not match'
        raise Damaged(msg)
    return _read_summary(section, start)


def _read_summary(section: bytes, end: int) -> Index | None:
    index, indexed = Index(), Counter[int]()
    told: tuple[int, int] | None = None
    complete = True
    for opcode, content in records(section):
        fields = Fields(content)
        index.topics.add(opcode, content)
        if opcode == CHUNK_INDEX:
            first, _, offset, length = fields.numbers('QQQQ')
            if offset < len(MAGIC) or offset + length > end:
                msg = f'a chunk would be at bytes {offset} to {offset + length}'
                raise Damaged(msg)
            counts = _count_indexed(fields, offset + length)
            index.chunks.append(Chunk(first, offset, length, frozenset(counts)))
            complete = complete and bool(counts)
            indexed.update(counts)
        elif opcode == STATISTICS:
            total, *_, chunks, _, _ = fields.numbers('QHIIIIQQ')
            told = (total, chunks)
            pairs = Fields(fields.take(fields.number('I')))
            while pairs.left:
                channel, count = pairs.numbers('HQ')
                index.counts[channel] += count
    if told is None or (told[0] and not index.chunks):
        return None
    if not all(map(index.topics.knows, index.counts)):
        return None
    total, chunks = told
    if (total, chunks) != (index.counts.total(), len(index.chunks)) or (
        complete and +indexed != +index.counts
    ):
        msg = 'it contradicts itself'
        raise Damaged(msg)
    return index


def _count_indexed(fields: Fields, start: int) -> Counter[int]:
    """Count messages by where the records begin that list those of one channel each."""
    pairs = Fields(fields.take(fields.number('I')))
    begins = []
    while pairs.left:
        channel, offset = pairs.numbers('HQ')
        begins.append((offset, channel))
    begins.sort()
    stops = [offset for offset, _ in begins[1:]] + [start + fields.number('Q')]
    return Counter(
        {
            channel: max(0, stop - offset - HEAD.size - 6) // 16
            for (offset, channel), stop in zip(begins, stops, strict=True)
        }
    )
