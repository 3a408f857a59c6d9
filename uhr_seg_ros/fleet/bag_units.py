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

"""Recordings in chunks of time, and the copy of each with the masks of all chunks added."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
import json
import logging
from pathlib import Path
import secrets
import shutil
from typing import Any

import cv2

from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.errors import RecordingError, UhrSegError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.fleet.fingerprints import content_of
from uhr_seg_ros.fleet.image_units import note_frame
from uhr_seg_ros.fleet.inputs import local_copy
from uhr_seg_ros.fleet.options import BatchOptions
from uhr_seg_ros.fleet.tools import Tools
from uhr_seg_ros.fleet.units import KEPT, Outcome, Record, slot_of, Unit
from uhr_seg_ros.replay.bag_writing import BagTimeError, BagWriter
from uhr_seg_ros.replay.bags import full_type, read_all, read_frame
from uhr_seg_ros.replay.mask_topics import add_masks, check_offline
from uhr_seg_ros.replay.recording import read_recording
from uhr_seg_ros.replay.storage import Span
from uhr_seg_ros.replay.topics import choose_topic

_LOG = logging.getLogger(__name__)

BAG, CHUNK = 'bag', 'frames'

#: In a folder that this command has made, and may replace.
MARK = '.uhr_seg_batch'
#: Width of the picture of a recording on the summary page, px.
_THUMBNAIL = 480


def plan_bag(tools: Tools, unit: Unit) -> Outcome:
    """Cut a recording into chunks of so many frames, by their times of recording."""
    options = tools.options
    output = options.folder / unit.name
    with local_copy(unit.input, options.cache) as path:
        record = Record(BAG, unit.input, unit.name, slot=unit.slot)
        record.fingerprint, record.content = unit.work['fingerprint'], content_of(path)
        known = unit.work['known']
        if known and known['content'] == record.content and tools.has(known['outputs']):
            record.status = KEPT
            return Outcome([record])
        is_own = (output / MARK).is_file()
        prefix = check_offline(path, options.work / unit.slot if is_own else output)
        topic = choose_topic(path, options.topic, log_level=logging.DEBUG)
        if topic.codec:
            msg = (
                f'{unit.input}: {topic.name} is a stream, whose pictures need each other, and is '
                'not cut into chunks: segment it whole by `uhr_seg benchmark offline`'
            )
            raise RecordingError(msg)
        named = {'topic': topic.name, 'type': topic.type, 'prefix': prefix}
        times = [time_ns for time_ns, _ in _frames(path, named)]
    chunks = cut_by_time(times, options.unit_frames * options.every)
    settings, spans = options.settings_of_parts, [span for _, span in chunks]
    parts = []
    for number, (first, span) in enumerate(chunks):
        place = f'frames {first} to {first + _within(times, span) - 1}'
        work = {**named, 'folder': unit.slot, 'number': number, 'first': first, 'span': span}
        slot = slot_of(settings, CHUNK, unit.input, unit.name, place)
        parts.append(Unit(CHUNK, unit.input, unit.name, place, work, slot, record.content))
    ends = {'fingerprint': record.fingerprint, 'firsts': [first for first, _ in chunks]}
    joined = {**named, 'folder': unit.slot, 'spans': spans, **ends}
    last = Unit(BAG, unit.input, unit.name, work=joined, slot=unit.slot, content=record.content)
    return Outcome(stages=[parts, [last]])


def cut_by_time(times: Sequence[int], count: int) -> list[tuple[int, Span]]:
    """
    Cut frames into spans of time.

    Args:
        times: of recording, ns, in any order.
        count: frames of a span; those of the same time stay together.

    Returns:
        Of each span the number of frames before it, and the span, ns; together they hold all.

    """
    ordered = sorted(times)
    starts: list[int] = []
    for index in range(0, len(ordered), count):
        if not starts or ordered[index] > ordered[starts[-1]]:
            # Back to the first frame of this time.
            while index and ordered[index - 1] == ordered[index]:
                index -= 1
            if not starts or index > starts[-1]:
                starts.append(index)
    edges = [ordered[index] for index in starts] + [ordered[-1] + 1] if ordered else []
    return [
        (index, (start, stop))
        for index, start, stop in zip(starts, edges[:-1], edges[1:], strict=True)
    ]


def segment_chunk(tools: Tools, unit: Unit) -> Outcome:
    """Segment the frames of a chunk into a recording of their masks alone."""
    options, work = tools.options, unit.work
    folder = options.work / work['folder']
    part = folder / f'part_{work["number"]}_{secrets.token_hex(4)}'
    segment = partial(
        tools.segmenter, overlay=_pictures(options), refinement=options.refinement, novelty=True
    )
    record = Record.of(unit)
    skipped: list[int] = []
    with (
        tools.timed(record),
        local_copy(unit.input, options.cache) as path,
        _removed_on_error(part),
        BagWriter(part / 'part') as bag,
    ):
        for index, (_, message) in enumerate(_frames(path, work, tuple(work['span']))):
            if (work['first'] + index) % options.every:
                continue
            try:
                header, frame = read_frame(message, work['type'])
                result = segment(frame)
            except UhrSegError as err:
                skipped.append(index)
                _LOG.warning('%s: frame %d left out: %s', unit.input, work['first'] + index, err)
                continue
            # By its number: frames of several files need not be in the order of their times.
            add_masks(bag, work['prefix'], header, result, index)
            note_frame(record, result, len(tools.segmenter.bundle.classes))
            record.height, record.width = result.mask.shape
            if result.overlay is not None and not work['first'] and record.frames == 1:
                _write_thumbnail(options, work['folder'], result.overlay)
    record.left_out = len(skipped)
    note = folder / f'part_{work["number"]}.json'
    text = {'part': part.name, 'skipped': skipped, 'record': record.as_dict()}
    write_text(note, json.dumps(text))
    record.outputs = [tools.output(note), tools.output(part)]
    return Outcome([record])


def join_bag(tools: Tools, unit: Unit) -> Outcome:
    """Copy a recording message by message, with the masks of all chunks added."""
    options, work = tools.options, unit.work
    folder, output = options.work / work['folder'], options.folder / unit.name
    notes = [
        json.loads((folder / f'part_{number}.json').read_text(encoding='utf-8'))
        for number in range(len(work['spans']))
    ]
    record = Record.of(unit)
    record.fingerprint = work['fingerprint']
    if (output / MARK).is_file():
        output.rename(folder / f'replaced_{secrets.token_hex(4)}')
    parts = [_Part(folder / note['part'] / 'part', note['skipped']) for note in notes]
    starts = [span[0] for span in work['spans']]
    with (
        tools.timed(record),
        local_copy(unit.input, options.cache) as path,
        BagWriter(output, mark=MARK) as bag,
    ):
        for connection, time_ns, message in read_all(path):
            masks: list[tuple[Any, int, bytes]] = []
            if _is_of(connection, work):
                number = bisect_right(starts, time_ns) - 1
                masks = parts[number].masks(work['firsts'][number], options.every)
            try:
                bag.copy(connection, time_ns, message)
            except BagTimeError as err:
                record.left_out += 1
                _LOG.warning('%s: message left out: %s', unit.input, err)
                continue
            for each, _, mask in masks:
                bag.copy(each, time_ns, mask)
    for note in notes:
        _add(record, Record(**note['record']))
    record.outputs = [tools.output(each) for each in sorted(output.iterdir())]
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome([record])


class _Part:
    """The masks of a chunk, frame by frame."""

    def __init__(self, path: Path, skipped: Sequence[int]) -> None:
        self._skipped = frozenset(skipped)
        self._path = path
        self._groups: Iterator[tuple[int, Iterator[tuple[Any, int, bytes]]]] | None = None
        self._index = -1

    def masks(self, first: int, every: int) -> list[tuple[Any, int, bytes]]:
        """Return the messages of the next frame; none where it has none."""
        self._index += 1
        if (first + self._index) % every or self._index in self._skipped:
            return []
        if self._groups is None:
            self._groups = groupby(read_all(self._path), lambda each: each[1])
        index, group = next(self._groups, (-1, iter(())))
        if index != self._index:
            msg = f'{self._path} has no masks of its frame {self._index}: remove {self._path}'
            raise RecordingError(msg)
        return list(group)


def _frames(
    path: Path, named: dict[str, Any], span: Span | None = None
) -> Iterator[tuple[int, bytes]]:
    for _, time_ns, message in read_recording(path, lambda each: _is_of(each, named), span):
        yield time_ns, message


def _is_of(connection: Any, named: dict[str, Any]) -> bool:
    return (connection.topic, full_type(connection.msgtype)) == (named['topic'], named['type'])


def _pictures(options: BatchOptions) -> OverlayOptions:
    """Return what is added beside the mask, as `uhr_seg benchmark offline` does."""
    return OverlayOptions(True, True, scale=0.5) if options.overlay else OverlayOptions()


def _within(times: Sequence[int], span: Span) -> int:
    return sum(span[0] <= each < span[1] for each in times)


def _add(record: Record, part: Record) -> None:
    """Add what a part counts to the record of the whole."""
    if part.pixels:
        before = record.pixels or [0] * len(part.pixels)
        record.pixels = [a + b for a, b in zip(before, part.pixels, strict=True)]
        record.width, record.height = part.width, part.height
    record.frames += part.frames
    record.left_out += part.left_out
    record.unknown += part.unknown
    record.seconds = round(record.seconds + part.seconds, 4)
    record.cpu_seconds = round(record.cpu_seconds + part.cpu_seconds, 4)


def _write_thumbnail(options: BatchOptions, slot: str, overlay: Any) -> None:
    scale = min(1.0, _THUMBNAIL / overlay.shape[1])
    small = cv2.resize(overlay, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    write_image(options.thumbnail(slot), small, durable=False)


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
