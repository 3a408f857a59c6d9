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

"""Frames of images, of a topic of a recording and of a video: one at a time, read on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.errors import ImageError, RecordingError, UhrSegError
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.image_io import files
from uhr_seg_ros.replay.frame_names import StampNames
from uhr_seg_ros.replay.video import Video

if TYPE_CHECKING:  # it needs rosbags
    from uhr_seg_ros.replay.topic_pictures import Recorded


@dataclass(frozen=True)
class Frame:
    """
    A picture of a source.

    Attributes:
        path: the image, or the recording or video.
        place: where it is in a recording or video; empty for an image.
        stem: what its results are called; the same in every run with the same inputs.
        read: returns (H, W, 3) uint8 BGR; to be called before the next frame is asked for.
            Raises RecordingError where the picture is damaged or of a kind that is not read.
    """

    path: Path
    place: str
    stem: str
    read: Callable[[], np.ndarray]

    def __str__(self) -> str:
        return f'{self.path} {self.place}' if self.place else str(self.path)


class FrameSource(Protocol):
    """
    Where frames come from.

    `path` is what a user would call it, `count` the number of its frames as far as that is known
    before, and `named` what the results of all its frames have in their names, with the file.
    """

    path: Path
    count: int
    named: Sequence[tuple[Path, str]]

    def frames(self) -> Iterator[Frame]:
        """
        Go through the frames.

        Raises:
            RecordingError: nothing more of the source can be read.
        """


def read_image(path: Path) -> np.ndarray:
    """
    Read an image file as (H, W, 3) uint8 BGR, by the rules of `uhr_seg_ros.image_io`.

    Raises:
        RecordingError: the file is missing, damaged, or of a kind that is not read.

    """
    try:
        return files.read_image(path)
    except ImageError as err:
        raise RecordingError(str(err)) from err


class ImageFiles:
    """Image files, each with the name of its results."""

    def __init__(self, named: Sequence[tuple[Path, str]]) -> None:
        self.path = named[0][0]
        self.count = len(named)
        self.named = named

    def frames(self) -> Iterator[Frame]:
        """Go through the images; none is opened here."""
        for path, stem in self.named:
            yield Frame(path, '', stem, partial(read_image, path))


class RecordedTopic:
    """
    One image topic of a recording.

    Args:
        path: of the recording.
        stem: begins the names of the results of its frames.
        topic: empty: the only likely one, see `choose_topic`.
        every: 2 for every second message.

    Raises:
        RecordingError: not a recording, a damaged one, or it has no such topic.
        ModuleNotFoundError: rosbags is missing.
    """

    def __init__(self, path: Path, stem: str, topic: str = '', every: int = 1) -> None:
        # Only here: images are read without rosbags.
        from uhr_seg_ros.replay.topics import choose_topic

        self.path = path
        self.named: Sequence[tuple[Path, str]] = ((path, stem),)
        self._topic = choose_topic(path, topic)
        self._every = every
        self.count = -(-self._topic.count // every)

    @property
    def topic(self) -> str:
        """Name of the topic."""
        return self._topic.name

    def frames(self) -> Iterator[Frame]:
        """Go through the messages; what of the recording is damaged is logged and left out."""
        from uhr_seg_ros.replay.bags import read_messages, stamp_ns
        from uhr_seg_ros.replay.topic_pictures import TopicPictures

        names = StampNames(self.named[0][1])
        pictures = TopicPictures(self.path, self._topic)

        def recorded() -> Iterator[Recorded]:
            for index, (_, message) in enumerate(read_messages(self.path, self.topic)):
                try:
                    stem = names.name(index, stamp_ns(message))
                except RecordingError:  # reading it says what is wrong
                    stem = names.name(index, 0)
                yield from pictures.add(message, (index, stem))
            yield from pictures.finish()

        for (index, stem), read in islice(recorded(), 0, None, self._every):
            yield Frame(self.path, f'{self.topic} message {index}', stem, partial(_read, read))


def _read(read: Callable[[], tuple[Any, RawFrame]]) -> np.ndarray:
    try:
        return read()[1].bgr
    except UhrSegError as err:
        raise RecordingError(str(err)) from err


class VideoFile:
    """
    A video.

    Args:
        path: of the file.
        stem: begins the names of the results of its frames.
        every: 2 for every second frame.

    Raises:
        RecordingError: it cannot be read, see `Video`.
    """

    def __init__(self, path: Path, stem: str, every: int = 1) -> None:
        self.path = path
        self.named: Sequence[tuple[Path, str]] = ((path, stem),)
        self._video = Video(path)
        self._every = every
        self.count = -(-self._video.count // every)

    def frames(self) -> Iterator[Frame]:
        """Go through the frames, from 0."""
        for frame in self._video.grab():
            if frame.index % self._every == 0:
                stem = f'{self.named[0][1]}_{frame.index:06d}'
                yield Frame(self.path, f'frame {frame.index}', stem, frame.read)
