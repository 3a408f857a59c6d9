# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Segment a recording without ROS: a copy of it with the masks added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from uhr_seg_ros.drawing import Pictures
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import full_type, ImageTopic, read_all, read_frame
from uhr_seg_ros.segmenter import Segmentation, Segmenter

#: The topics that the node would have published.
MASK, COLOR_MASK, OVERLAY = (
    f'/segmentation/{name}' for name in ('mask', 'color_mask', 'overlay')
)


@dataclass
class OfflineRun:
    """
    What became of the frames.

    Attributes:
        total_ms: per frame that was processed, from message to mask and pictures.
        stage_ms: stage -> ms per frame.
        rejected: frames that could not be read or segmented.
        seconds: of the whole run, with reading and writing.

    """

    total_ms: list[float] = field(default_factory=list)
    stage_ms: dict[str, list[float]] = field(default_factory=dict)
    rejected: int = 0
    seconds: float = 0.0


def segment_recording(
    source: Path,
    topic: ImageTopic,
    output: Path,
    segmenter: Segmenter,
    *,
    pictures: Pictures = Pictures(True, True, scale=0.5),  # noqa: B008 - it cannot change
    on_frame: Callable[[], object] = lambda: None,
    tell: Callable[[str], None] = print,
) -> OfflineRun:
    """
    Copy a recording message by message and add mask, colour mask and overlay of every frame.

    What is added carries the header of its frame and its time of recording.

    Args:
        source: the recording.
        topic: whose images are segmented.
        output: folder to make; it must not exist.
        segmenter: for the frames.
        pictures: which are added beside the mask, and how they look.
        on_frame: called after every frame.
        tell: called with what is wrong with a frame that is left out.

    Raises:
        BagError: the folder exists, or the recording is damaged.

    """
    run = OfflineRun()
    start = perf_counter()
    with BagWriter(output) as bag:
        for connection, time_ns, message in read_all(source):
            bag.copy(connection, time_ns, message)
            if (connection.topic, full_type(connection.msgtype)) != (topic.name, topic.type):
                continue
            try:
                header, result = _segment(message, topic.type, segmenter, pictures, run)
            except UhrSegError as err:
                run.rejected += 1
                tell(f'frame left out: {err}')
            else:
                _add(bag, header, result, time_ns)
            on_frame()
    run.seconds = perf_counter() - start
    return run


def _segment(
    message: bytes, kind: str, segmenter: Segmenter, pictures: Pictures, run: OfflineRun
) -> tuple[Any, Segmentation]:
    start = perf_counter()
    header, frame = read_frame(message, kind)
    converted = perf_counter()
    result = segmenter(frame, pictures=pictures)
    run.total_ms.append((perf_counter() - start) * 1e3)
    for stage, milliseconds in {
        'convert': (converted - start) * 1e3, **result.stage_times
    }.items():  # fmt: skip
        run.stage_ms.setdefault(stage, []).append(milliseconds)
    return header, result


def _add(bag: BagWriter, header: Any, result: Segmentation, time_ns: int) -> None:
    mask_encoding = 'mono8' if result.mask.dtype == np.uint8 else 'mono16'
    bag.write_image(MASK, result.mask, mask_encoding, header, time_ns)
    for topic, picture in ((COLOR_MASK, result.color_mask), (OVERLAY, result.overlay)):
        if picture is not None:
            bag.write_image(topic, picture, 'bgr8', header, time_ns)
