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

"""Segment a recording without ROS: a copy of it with the masks added."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
import logging
from pathlib import Path
from time import perf_counter
from typing import Any

from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.refinement.refine import Refinement
from uhr_seg_ros.pipelines.segmenter import Segmentation, Segmenter
from uhr_seg_ros.replay.bag_writing import BagTimeError, BagWriter
from uhr_seg_ros.replay.bags import (
    full_type,
    ImageTopic,
    read_all,
)
from uhr_seg_ros.replay.mask_topics import add_masks, check_offline, PREFIX
from uhr_seg_ros.replay.topic_pictures import Recorded, TopicPictures

_LOG = logging.getLogger(__name__)


@dataclass
class OfflineRun:
    """
    What became of the frames.

    Attributes:
        total_ms: per frame that was processed, from message to mask and pictures.
        stage_ms: stage -> ms per frame.
        rejected: frames that could not be read or segmented.
        lost: messages of any topic that could not be copied.
        seconds: of the whole run, with reading and writing.

    """

    total_ms: list[float] = field(default_factory=list)
    stage_ms: dict[str, list[float]] = field(default_factory=dict)
    rejected: int = 0
    lost: int = 0
    seconds: float = 0.0


def segment_recording(
    source: Path,
    topic: ImageTopic,
    output: Path,
    segmenter: Segmenter,
    *,
    prefix: str = PREFIX,
    refinement: Refinement | None = None,
    pictures: OverlayOptions = OverlayOptions(True, True, scale=0.5),  # noqa: B008 - it cannot change
    every: int = 1,
    on_frame: Callable[[OfflineRun], object] = lambda run: None,
) -> OfflineRun:
    """
    Copy a recording message by message and add mask, color mask and overlay of every frame.

    What is added carries the header of its frame and its time of recording. The new recording
    stands under its name when it is whole.

    Args:
        source: the recording.
        topic: whose images are segmented.
        output: folder to make; it must not exist, nor lie in the recording.
        segmenter: for the frames.
        prefix: of the topics that are added.
        refinement: of boundaries.
        pictures: which are added beside the mask, and how they look.
        every: 2 for masks of every second frame; all are copied.
        on_frame: called after every frame that is segmented, with what became of them until then.

    Raises:
        RecordingError: the folder exists, or the recording is damaged.
        RecordingError: the recording has topics below the prefix already, which is not a name of
            topics, or the folder lies in the recording.

    """
    prefix = check_offline(source, output, prefix)
    run = OfflineRun()
    segment = partial(segmenter, overlay=pictures, refinement=refinement)
    start = perf_counter()
    frames = count()
    pictures_of = TopicPictures(source, topic)

    def done() -> str:
        number = len(run.total_ms) + run.rejected
        total = -(-topic.count // every)
        return f'{number} of {total} frames were done, {output} was not made' if number else ''

    def segment_all(bag: BagWriter, recorded: Iterable[Recorded]) -> None:
        for time_ns, read in recorded:
            if next(frames) % every:
                continue
            try:
                header, result = _segment(read, segment, run)
            except UhrSegError as err:
                run.rejected += 1
                _LOG.warning('frame left out: %s', err)
            else:
                add_masks(bag, prefix, header, result, time_ns)
            run.seconds = perf_counter() - start
            on_frame(run)

    with note_progress(done), BagWriter(output) as bag:
        for connection, time_ns, message in read_all(source):
            if not _copy(bag, connection, time_ns, message, run):
                continue
            if (connection.topic, full_type(connection.msgtype)) != (topic.name, topic.type):
                continue
            segment_all(bag, pictures_of.add(message, time_ns))
        segment_all(bag, pictures_of.finish())
    run.seconds = perf_counter() - start
    return run


def _copy(
    bag: BagWriter,
    connection: Any,
    time_ns: int,
    message: bytes,
    run: OfflineRun,
) -> bool:
    try:
        bag.copy(connection, time_ns, message)
    except BagTimeError as err:
        run.lost += 1
        _LOG.warning('message left out: %s', err)
        return False
    return True


def _segment(
    read: Callable[[], tuple[Any, RawFrame]],
    segment: Callable[..., Segmentation],
    run: OfflineRun,
) -> tuple[Any, Segmentation]:
    start = perf_counter()
    header, frame = read()
    converted = perf_counter()
    result = segment(frame)
    run.total_ms.append((perf_counter() - start) * 1e3)
    times = dict(result.stage_times)  # on the CPU the segmenter converts the frame too
    times = {'convert': times.pop('convert', 0.0) + (converted - start) * 1e3, **times}
    for stage, milliseconds in times.items():
        run.stage_ms.setdefault(stage, []).append(milliseconds)
    return header, result
