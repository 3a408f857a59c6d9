# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Frames from wherever people have them: an image, a folder of images, a recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.errors import UhrSegError

#: Files of a folder that are taken for images.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp', '.webp')


class FramesError(UhrSegError):
    """A path that holds no frames."""


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """
    Read frames one at a time, (H, W, 3) uint8 BGR.

    Args:
        path: an image, a folder of images (in the order of their names), or a recording with one
            image topic.

    Raises:
        FramesError: there are none, or one cannot be read.
        ModuleNotFoundError: for a recording, ROS 2 or rosbags is missing.

    """
    if not path.exists():
        msg = f'no such file: {path}'
        raise FramesError(msg)
    images = [path] if path.is_file() else sorted(path.iterdir())
    images = [image for image in images if image.suffix.lower() in SUFFIXES]
    if images:
        yield from map(_read_image, images)
    else:
        yield from _read_recording(path)


def _read_image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        msg = f'{path} is not an image that OpenCV can read'
        raise FramesError(msg)
    return image


def _read_recording(path: Path) -> Iterator[np.ndarray]:
    from uhr_seg_ros.benchmark.bags import choose_topic, is_bag, read_messages

    if not is_bag(path):
        msg = f'{path} is neither an image nor a recording, and has no images in it'
        raise FramesError(msg)
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import CompressedImage, Image

    from uhr_seg_ros.ros.images import decode_compressed, view_image

    topic = choose_topic(path)
    is_raw = topic.type.endswith('/Image')
    for _, data in read_messages(path, topic.name):
        if is_raw:
            yield view_image(deserialize_message(data, Image)).bgr
        else:
            yield decode_compressed(deserialize_message(data, CompressedImage))
