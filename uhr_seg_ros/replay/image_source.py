# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Frames from wherever people have them: an image, a folder of images, a recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from uhr_seg_ros.core.errors import ImageError, RecordingError
from uhr_seg_ros.image_io import files
from uhr_seg_ros.image_io.headers import SUFFIXES

#: Files of a recording, as `replay.bags` knows them, which needs rosbags.
STORAGES = {'.mcap', '.db3'}


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
    # Hidden ones are no pictures: macOS writes "._a.jpg" beside "a.jpg" on foreign disks.
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
    from uhr_seg_ros.replay.bags import is_bag
    from uhr_seg_ros.replay.recorded_frames import recorded_frames

    if not is_bag(path):
        msg = f'{path} is neither an image nor a recording, and has no images in it'
        raise RecordingError(msg)
    yield from recorded_frames(path, topic)
