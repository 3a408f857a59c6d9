# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Frames from wherever people have them: an image, a folder of images, a recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.image_io import files
from uhr_seg_ros.image_io.errors import ImageIoError
from uhr_seg_ros.image_io.headers import SUFFIXES


class FramesError(UhrSegError):
    """A path that holds no frames, or an image that cannot be read."""


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """
    Read frames one at a time, (H, W, 3) uint8 BGR.

    Args:
        path: an image, a folder of images (in the order of their names), or a recording with one
            image topic.

    Raises:
        FramesError: there are none, or one cannot be read.
        ModuleNotFoundError: for a recording, rosbags is missing.

    """
    if not path.exists():
        msg = f'no such file: {path}'
        raise FramesError(msg)
    images = [path] if path.is_file() else sorted(path.iterdir())
    # Hidden ones are no pictures: macOS writes "._a.jpg" beside "a.jpg" on foreign disks.
    images = [
        image for image in images
        if image.suffix.lower() in SUFFIXES and (image == path or not image.name.startswith('.'))
    ]  # fmt: skip
    if images:
        yield from map(read_image, images)
    else:
        yield from _read_recording(path)


def read_image(path: Path) -> np.ndarray:
    """
    Read an image file as (H, W, 3) uint8 BGR, by the rules of `uhr_seg_ros.image_io`.

    Raises:
        FramesError: the file is missing, damaged, or of a kind that is not read.

    """
    try:
        return files.read_image(path)
    except ImageIoError as err:
        raise FramesError(str(err)) from err


def _read_recording(path: Path) -> Iterator[np.ndarray]:
    from uhr_seg_ros.replay.bags import choose_topic, is_bag, read_frame, read_messages

    if not is_bag(path):
        msg = f'{path} is neither an image nor a recording, and has no images in it'
        raise FramesError(msg)
    topic = choose_topic(path)
    for _, data in read_messages(path, topic.name):
        yield read_frame(data, topic.type)[1].bgr
