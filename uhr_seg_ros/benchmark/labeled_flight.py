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
"""
A generated recording with exact labels, which anybody can make anew: the public test bag.

A camera looks straight down and flies over a generated scene at a steady speed, there and back.
The same arguments give the same messages, byte for byte, with the same versions of NumPy and
OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
import json
import math
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.benchmark.sources import check_room
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.synthetic.flight import cut_frame, flight_path, FRAME_SIZE, Pose, turned_size
from uhr_seg_ros.synthetic.flight_cloud import ALTITUDE, CAMERA_FRAME, flight_camera, INFO_TOPIC
from uhr_seg_ros.synthetic.scenes import generate_scene

IMAGE_TOPIC = '/image_raw'
LABEL_TOPIC = '/ground_truth/mask'
LABEL_INFO_TOPIC = '/ground_truth/label_info_json'
TF_TOPIC = '/tf'
MAP_FRAME = 'map'

CLASSES = CLASS_SETS['aerial']
"""Of the labels, whose ids are those of the generated scenes."""

COMPRESSED = '/compressed'
"""What the topics of a compressed recording end in."""

MAX_FRAMES = 1_000_000

# Speed over the scene, px per s, downward and to the right: 10 m/s where a px is 0.3 m.
_SPEED = (17, 30)

# So far the way goes before it turns back, s: the scene need not grow with the recording.
_TURNS_AFTER_S = 30.0

# Standard deviation of the sensor's noise, levels, and by how much its pattern is moved, px.
_NOISE, _NOISE_MOVES = 2.0, 64

_FIRST_STAMP = 1_000_000_000

# OpenCV's flags of a JPEG, and of a PNG of labels, which shrink well at any level.
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True)
class FlightOptions:
    """
    What to record.

    Attributes:
        size: height and width of the frames, px.
        rate_hz: frames per second.
        seconds: how long.
        seed: of scene and noise.
        compressed: JPEG and PNG in place of raw pixels; the JPEG changes the frames slightly.

    """

    size: tuple[int, int] = FRAME_SIZE
    rate_hz: float = 10.0
    seconds: float = 30.0
    seed: int = 0
    compressed: bool = False

    @property
    def frames(self) -> int:
        """How many frames that is, at least one."""
        return max(1, round(self.rate_hz * self.seconds))


def record_labeled_flight(
    folder: Path, options: FlightOptions, on_frame: Callable[[], object] = lambda: None
) -> None:
    """
    Record frames, their labels, the calibration and the pose of the camera.

    The topics are `IMAGE_TOPIC`, `LABEL_TOPIC` (mono8, ids of `CLASSES`), `INFO_TOPIC` and
    `TF_TOPIC` (`MAP_FRAME` to `CAMERA_FRAME`), all with the stamp of the frame, and once
    `LABEL_INFO_TOPIC`, JSON with the names of the classes. One frame is in memory at a time,
    beside the scene.

    Args:
        folder: to make; it must not exist.
        options: what to record.
        on_frame: called after every frame.

    Raises:
        ConfigError: too many frames, a disk that is too full, or frames too large for a scene.
        RecordingError: the folder exists, or cannot be written.

    """
    if options.frames > MAX_FRAMES:
        msg = (
            f'{options.frames} frames, at most {MAX_FRAMES}: choose fewer seconds or a lower rate'
        )
        raise ConfigError(msg)
    height, width = options.size
    if not options.compressed:
        check_room(folder, options.frames * height * width * 4)
    done = 0
    with (
        note_progress(
            lambda: f'{done} of {options.frames} frames recorded, {folder} was not made'
        ),
        BagWriter(folder, topic=IMAGE_TOPIC, frame_id=CAMERA_FRAME) as bag,
    ):
        names = [
            {'class_id': index, 'class_name': name} for index, name in enumerate(CLASSES.names)
        ]
        bag.write_text(LABEL_INFO_TOPIC, json.dumps({'class_map': names}), _FIRST_STAMP)
        for index, (frame, labels, pose) in enumerate(_views(options)):
            stamp_ns = _FIRST_STAMP + round(index * 1e9 / options.rate_hz)
            place, turn = camera_pose(pose, width)
            bag.write_transform(TF_TOPIC, (MAP_FRAME, CAMERA_FRAME), place, turn, stamp_ns)
            bag.write_calibration(INFO_TOPIC, flight_camera(options.size), stamp_ns, stamp_ns)
            for topic, picture, kind in (
                (IMAGE_TOPIC, frame, ('bgr8', '.jpg', _JPEG)),
                (LABEL_TOPIC, labels, ('mono8', '.png', _PNG)),
            ):
                encoding, suffix, flags = kind
                if options.compressed:
                    data = cv2.imencode(suffix, picture, flags)[1]
                    bag.write_compressed(f'{topic}{COMPRESSED}', data, encoding, suffix, stamp_ns)
                else:
                    bag.write_picture(topic, picture, encoding, stamp_ns)
            done = index + 1
            on_frame()


def camera_pose(
    pose: Pose, width: int
) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """
    Return where the camera is in a map whose x points right over the scene and whose y up.

    Args:
        pose: of a frame over the scene, px.
        width: of the frame, px.

    Returns:
        Translation, m, and quaternion x, y, z, w of the optical frame (REP-103): z down, x right
        in the image.

    """
    scale = ALTITUDE / flight_camera((1, width)).focal[0]
    half = pose.heading / 2
    return (
        (pose.x * scale, -pose.y * scale, ALTITUDE),
        (math.cos(half), -math.sin(half), 0.0, 0.0),
    )


def _views(options: FlightOptions) -> Iterator[tuple[np.ndarray, np.ndarray, Pose]]:
    """Yield frame (H, W, 3) uint8 BGR, labels (H, W) uint8 and pose."""
    one_way = min(options.seconds, _TURNS_AFTER_S)
    around = turned_size(options.size)
    sides = [side + math.ceil(speed * one_way) for side, speed in zip(around, _SPEED, strict=True)]
    scene, labels = generate_scene(options.seed, *sides)
    count = max(1, min(options.frames, round(options.rate_hz * _TURNS_AFTER_S)))
    there = flight_path((sides[0], sides[1]), count, options.size)
    height, width = options.size
    generator = np.random.default_rng(options.seed)
    shape = (height + _NOISE_MOVES, width + _NOISE_MOVES, 3)
    noise = np.rint(_NOISE * generator.standard_normal(shape, np.float32)).astype(np.int8)
    for pose in islice(cycle(there + there[::-1]), options.frames):
        top, left = generator.integers(0, _NOISE_MOVES, 2)
        frame = cut_frame(scene, pose, options.size)
        moved = noise[top : top + height, left : left + width]
        frame = cv2.add(frame, moved, dtype=cv2.CV_8U)
        yield frame, cut_frame(labels, pose, options.size, cv2.INTER_NEAREST), pose
