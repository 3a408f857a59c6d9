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
import re
from time import perf_counter
from typing import Any

import numpy as np

from uhr_seg_ros.core.errors import RecordingError, UhrSegError
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
    topic_types,
)
from uhr_seg_ros.replay.partial import check_absent
from uhr_seg_ros.replay.topic_pictures import Recorded, TopicPictures

_LOG = logging.getLogger(__name__)

#: What the node would have published, below a prefix that is its name by default.
MASK, COLOR_MASK, OVERLAY = 'mask', 'color_mask', 'overlay'
PREFIX = '/segmentation'

# What ROS 2 takes for a topic, as long as a middleware takes it with what is put before it.
_NAME = re.compile(r'(/[A-Za-z_][A-Za-z0-9_]*)+')
_MAX_NAME = 247


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

    def add_masks(bag: BagWriter, recorded: Iterable[Recorded]) -> None:
        for time_ns, read in recorded:
            if next(frames) % every:
                continue
            try:
                header, result = _segment(read, segment, run)
            except UhrSegError as err:
                run.rejected += 1
                _LOG.warning('frame left out: %s', err)
            else:
                _add(bag, prefix, header, result, time_ns)
            run.seconds = perf_counter() - start
            on_frame(run)

    with note_progress(done), BagWriter(output) as bag:
        for connection, time_ns, message in read_all(source):
            if not _copy(bag, connection, time_ns, message, run):
                continue
            if (connection.topic, full_type(connection.msgtype)) != (topic.name, topic.type):
                continue
            add_masks(bag, pictures_of.add(message, time_ns))
        add_masks(bag, pictures_of.finish())
    run.seconds = perf_counter() - start
    return run


def check_offline(source: Path, output: Path, prefix: str = PREFIX) -> str:
    """
    Check that masks can be added to a recording, before a model is loaded for them.

    Returns:
        The prefix with a slash in front and none at its end.

    Raises:
        RecordingError: it is not a recording, or the folder exists.
        RecordingError: see `segment_recording`.

    """
    name = f'/{prefix.strip("/")}'
    if not _NAME.fullmatch(name) or '__' in name or len(f'{name}/{COLOR_MASK}') > _MAX_NAME:
        msg = (
            f'{prefix!r} is not a prefix of topics: expected names of letters, digits and single '
            f'underscores with slashes between them, such as {PREFIX}_2, of at most '
            f'{_MAX_NAME - len(COLOR_MASK) - 1} characters'
        )
        raise RecordingError(msg)
    target, recording = output.resolve(), source.resolve()
    if (recording.parent / 'metadata.yaml').is_file():  # a file of a recording
        recording = recording.parent
    if recording in (target, *target.parents):
        msg = f'{output} lies in the recording {source}: choose a folder outside'
        raise RecordingError(msg)
    check_absent(output)
    there = [
        topic for topic in topic_types(source) if f'/{topic.strip("/")}/'.startswith(f'{name}/')
    ]
    if there:
        msg = (
            f'{source} has {", ".join(there)} already, and new masks are not mixed with those: '
            f'give the new ones another name, such as --prefix {name}_2'
        )
        raise RecordingError(msg)
    return name


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


def _add(bag: BagWriter, prefix: str, header: Any, result: Segmentation, time_ns: int) -> None:
    mask_encoding = 'mono8' if result.mask.dtype == np.uint8 else 'mono16'
    bag.write_image(f'{prefix}/{MASK}', result.mask, mask_encoding, header, time_ns)
    for name, picture in ((COLOR_MASK, result.color_mask), (OVERLAY, result.overlay)):
        if picture is not None:
            bag.write_image(f'{prefix}/{name}', picture, 'bgr8', header, time_ns)
