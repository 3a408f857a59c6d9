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

"""Frames of any input as arrays, for what only wants to look at some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import logging
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.frame_sources import FrameSource, ImageFiles, read_image, RecordedTopic
from uhr_seg_ros.replay.inputs import open_inputs

__all__ = ['Frames', 'read_frames', 'read_image']

_LOG = logging.getLogger(__name__)

# So many of the messages that are left out are described; all are counted.
_DESCRIBED = 3


class Frames(Iterator[np.ndarray]):
    """
    Frames one at a time, (H, W, 3) uint8 BGR.

    Attributes:
        count: how many there are, as far as their containers tell; None: nobody knows.
    """

    def __init__(self, frames: Iterator[np.ndarray], count: int | None) -> None:
        self._frames = frames
        self.count = count

    def __next__(self) -> np.ndarray:
        """Return the next frame."""
        return next(self._frames)


def read_frames(paths: Path | Sequence[Path], topic: str = '', every: int = 1) -> Frames:
    """
    Open inputs, whose frames are read one at a time.

    Args:
        paths: see `open_inputs`; what is odd about a recording is logged.
        topic: of a recording; empty: its only likely one, see `choose_topic`.
        every: 2 for every second frame.

    Raises:
        RecordingError: an input has none, or an image cannot be read, or a folder holds a
            recording beside images.
        RecordingError: a recording has no such topic, or none of its messages is a frame.
        ModuleNotFoundError: for a recording, rosbags is missing.

    """
    inputs = open_inputs([paths] if isinstance(paths, Path) else paths, topic, every)
    if inputs.errors:
        raise inputs.errors[0]
    return Frames(_frames_of(inputs.sources), inputs.count or None)


def _frames_of(sources: Sequence[FrameSource]) -> Iterator[np.ndarray]:
    for source in sources:
        if isinstance(source, ImageFiles):
            yield from (frame.read() for frame in source.frames())
        else:
            yield from _readable(source)


def _readable(source: FrameSource) -> Iterator[np.ndarray]:
    """Leave out what of a recording or a video cannot be read, and log it."""
    where = f' on {source.topic}' if isinstance(source, RecordedTopic) else ''
    read = left_out = 0
    try:
        for frame in source.frames():
            try:
                pixels = frame.read()
            except RecordingError as err:
                left_out += 1
                if left_out <= _DESCRIBED:
                    _LOG.warning('%s: frame left out: %s', source.path.name, err)
                reason = err
            else:
                read += 1
                yield pixels
        if not read:
            what = f'none of the {left_out} messages' if left_out else 'no message'
            cause = f', the last one: {reason}' if left_out else ''
            msg = f'{source.path}: {what}{where} is a frame{cause}'
            raise RecordingError(msg)
    finally:
        if left_out and read:
            name, total = source.path.name, read + left_out
            _LOG.warning('%s: %d of %d frames%s left out', name, left_out, total, where)
