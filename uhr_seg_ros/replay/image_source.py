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

"""Frames from wherever people have them: an image, a folder of images, a recording."""

from __future__ import annotations

from collections.abc import Iterator
import logging
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.errors import ImageError, RecordingError, UhrSegError
from uhr_seg_ros.image_io import files
from uhr_seg_ros.image_io.headers import SUFFIXES

_LOG = logging.getLogger(__name__)

#: Files of a recording, as `replay.bags` knows them, which needs rosbags.
STORAGES = {'.mcap', '.db3'}

# So many of the messages that are left out are described; all are counted.
_DESCRIBED = 3


def read_frames(path: Path, topic: str = '') -> Iterator[np.ndarray]:
    """
    Read frames one at a time, (H, W, 3) uint8 BGR.

    Args:
        path: an image, a folder of images (in the order of their names), or a recording; what is
            odd about one is logged.
        topic: of a recording; empty: its only likely one, see `choose_topic`.

    Raises:
        RecordingError: there are none, or one cannot be read, or a folder holds a recording beside
            images.
        RecordingError: a recording has no such topic, or none of its messages is a frame.
        ModuleNotFoundError: for a recording, rosbags is missing.

    """
    if not path.exists():
        msg = f'no such file: {path}'
        raise RecordingError(msg)
    images = [path] if path.is_file() else sorted(path.iterdir())
    # Hidden ones are not pictures: macOS writes "._a.jpg" beside "a.jpg" on foreign disks.
    images = [
        image
        for image in images
        if image.suffix.lower() in SUFFIXES and (image == path or not image.name.startswith('.'))
    ]
    if not images:
        yield from _read_recording(path, topic)
        return
    if path.is_dir() and (storages := list(filter(_is_storage, path.iterdir()))):
        msg = (
            f'{path} holds images and a recording: give one of them, such as {storages[0]} '
            f'or {images[0]}'
        )
        raise RecordingError(msg)
    if topic:
        msg = f'{path} holds images, and a topic ({topic}) is one of a recording'
        raise RecordingError(msg)
    yield from map(read_image, images)


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


def _is_storage(path: Path) -> bool:
    return not path.name.startswith('.') and bool(STORAGES.intersection(path.suffixes))


def _read_recording(path: Path, topic: str) -> Iterator[np.ndarray]:
    """
    Read the frames of one topic, one at a time, (H, W, 3) uint8 BGR; log what is left out.

    Args:
        path: a recording.
        topic: one of its image topics; empty: the only likely one, see `choose_topic`.

    Raises:
        RecordingError: no such topic, a damaged recording, or none of its messages is a frame.

    """
    # Only here: images are read without rosbags.
    from uhr_seg_ros.replay.bags import is_bag, read_frame, read_messages
    from uhr_seg_ros.replay.topics import choose_topic

    if not is_bag(path):
        msg = f'{path} is neither an image nor a recording, and has no images in it'
        raise RecordingError(msg)
    chosen = choose_topic(path, topic)
    read = left_out = 0
    try:
        for _, message in read_messages(path, chosen.name):
            try:
                frame = read_frame(message, chosen.type)[1].bgr
            except UhrSegError as err:
                left_out += 1
                if left_out <= _DESCRIBED:
                    _LOG.warning('%s: frame left out: %s', path.name, err)
                reason = err
            else:
                read += 1
                yield frame
        if not read:
            what = f'none of the {left_out} messages' if left_out else 'no message'
            cause = f', the last one: {reason}' if left_out else ''
            msg = f'{path}: {what} on {chosen.name} is a frame{cause}'
            raise RecordingError(msg)
    finally:
        if left_out and read:
            _LOG.warning(
                '%s: %d of %d frames on %s left out',
                path.name,
                left_out,
                read + left_out,
                chosen.name,
            )
