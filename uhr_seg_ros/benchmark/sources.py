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

"""What demo and long runs play: a recording, images, a mosaic, or a generated scene."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
import glob
from itertools import chain
import logging
from pathlib import Path
import shutil
from tempfile import gettempdir, TemporaryDirectory
from typing import NamedTuple

import numpy as np

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import is_bag
from uhr_seg_ros.replay.image_source import read_frames, read_image
from uhr_seg_ros.replay.inputs import find_files, open_inputs, VIDEO
from uhr_seg_ros.replay.video import is_video, Video
from uhr_seg_ros.synthetic.flight import (
    enlarged,
    flight_path,
    fly,
    FRAME_SIZE,
    Pose,
    turned_size,
)
from uhr_seg_ros.synthetic.flight_cloud import (
    CAMERA_FRAME,
    cloud_delay_ns,
    flight_camera,
    Ground,
    INFO_TOPIC,
    LIDAR_FRAME,
    POINTS_TOPIC,
    scan,
)
from uhr_seg_ros.synthetic.scenes import generate_scene

_LOG = logging.getLogger(__name__)

SCENE_SEED = 20

# How far the flight goes over a generated scene, beside the size of one frame, px.
_WAY = (500, 900)

# A recorded flight with this file in it may be replaced by the next one.
_MARK = '.made_by_demo'

# Stamps of a recorded flight begin here, ns.
_FIRST_STAMP = 1_000_000_000

# The last stamp that ROS 2 can hold, less a margin, s.
_MAX_S = 2_000_000_000

# So much earlier than its frame a calibration counts as recorded, so that it is there first, ns.
_INFO_LEAD = 1_000_000


def prepare_bag(
    paths: Sequence[Path],
    folder: Path,
    *,
    count: int,
    rate_hz: float,
    size: tuple[int, int] = FRAME_SIZE,
    cloud: bool = False,
    topic: str = '',
    every: int = 1,
) -> Path:
    """
    Return a recording to play, and make it if there is none.

    Args:
        paths: nothing for a flight over a generated scene; one recording or video; one mosaic to
            fly over; or other inputs, see `open_inputs`, such as several images.
        folder: where a recording is made; replaced if it exists.
        count: frames of a flight.
        rate_hz: frames per second of a flight.
        size: height and width of the frames of a flight.
        cloud: record a calibration and a cloud beside every frame; see `flight_cloud`.
        topic: one of a recording that is meant; for a recording only.
        every: 2 for every second frame of other inputs; who plays a recording or a video leaves
            out its own.

    Raises:
        RecordingError: a path is none of these.
        ConfigError: a path is not there, the folder is somebody's, the disk is full, clouds are
            required beside a recording, or a topic is given without one.
        RecordingError: the recording cannot be made.

    """
    if missing := [str(path) for path in paths if _is_missing(path)]:
        msg = f'no such file: {", ".join(missing)}'
        raise ConfigError(msg)
    if len(paths) == 1 and is_bag(paths[0]):
        if cloud:
            msg = (
                f'{paths[0]} is a recording, and --cloud makes clouds for flights and images: '
                'if it has clouds of its own, start the node with the parameter cloud.enabled and '
                'play it with `ros2 bag play`'
            )
            raise ConfigError(msg)
        return paths[0]
    if not cloud and (video := _only_video(paths)):
        open_video(video, topic)
        return video
    is_flight = not paths or (len(paths) == 1 and _is_image(paths[0]))
    if topic and is_flight:
        msg = f'--topic {topic}: only with a recording'
        raise ConfigError(msg)
    if folder.exists():
        if not (folder / _MARK).is_file():
            msg = f'{folder} is there already and not made by the demo: choose another --output'
            raise ConfigError(msg)
        shutil.rmtree(folder)
    if not is_flight:
        return record_inputs(paths, folder, rate_hz, topic=topic, every=every, cloud=cloud)
    if count / rate_hz > _MAX_S:
        msg = (
            f'{count} frames at {rate_hz:g} Hz take {count / rate_hz:.0f} s, and stamps go to '
            f'{_MAX_S} s: choose fewer, or a higher --rate'
        )
        raise ConfigError(msg)
    check_room(folder, count * size[0] * size[1] * 3)
    mosaic, labels = (read_image(paths[0]), None) if paths else _generated(size)
    flight = _fly(mosaic, labels, count, size)
    _record(flight, folder, rate_hz, count, cloud)
    return folder


def record_inputs(
    paths: Sequence[Path],
    folder: Path,
    rate_hz: float,
    *,
    topic: str = '',
    every: int = 1,
    cloud: bool = False,
) -> Path:
    """
    Record the frames of inputs one after the other; see `prepare_bag` and `read_frames`.

    Returns:
        The folder.

    Raises:
        RecordingError: an input has no frames, or the recording cannot be made.
        ConfigError: the disk has no room for them.

    """
    count = open_inputs(paths, topic, every).count
    frames = read_frames(paths, topic, every)
    first = next(frames)
    check_room(folder, count * first.nbytes)
    _LOG.info('recording %d frames, %d MB of raw ones', count, count * first.nbytes >> 20)
    _record(_side_by_side(chain([first], frames)), folder, rate_hz, count, cloud)
    return folder


@contextmanager
def recording_of(paths: Sequence[Path], topic: str, every: int) -> Iterator[tuple[Path, str, int]]:
    """
    Give a recording of inputs: one that they are already, or a temporary one of their frames.

    A video is read as a recording is, see `VideoStorage`. Other inputs are recorded at 1 Hz.

    Args:
        paths: see `open_inputs`.
        topic: of recordings.
        every: 2 for every second frame.

    Yields:
        The recording, its topic, and which frames of it are meant: every n-th.

    Raises:
        RecordingError: an input has no frames, or the recording cannot be made.
        ConfigError: the disk has no room for it.

    """
    if len(paths) == 1 and not _is_missing(paths[0]) and is_bag(paths[0]):
        yield paths[0], topic, every
        return
    if video := _only_video(paths):
        open_video(video, topic)
        _LOG.info('%s is decoded while it is played', video.name)
        yield video, '', every
        return
    with TemporaryDirectory(prefix='uhr_seg_') as name:
        folder = Path(name) / 'frames'
        yield record_inputs(paths, folder, 1.0, topic=topic, every=every), '', 1


def open_video(path: Path, topic: str = '') -> Video:
    """
    Open a video that is to be played.

    Raises:
        RecordingError: it cannot be read, or a topic is given, which it has none of.

    """
    inputs = open_inputs([path], topic)
    if inputs.errors:
        raise inputs.errors[0]
    return Video(path)


def _only_video(paths: Sequence[Path]) -> Path | None:
    """Return the video that inputs are; None where they are anything else, or more."""
    found, errors = find_files(paths)
    is_video_alone = not errors and [kind for kind, _ in found] == [VIDEO]
    return found[0][1] if is_video_alone else None


def _is_missing(path: Path) -> bool:
    return not path.exists() and not glob.has_magic(str(path))


def _is_image(path: Path) -> bool:
    return path.is_file() and not is_video(path) and not is_bag(path)


class _View(NamedTuple):
    """A frame (H, W, 3) uint8 BGR, where it is, and the ground under it."""

    frame: np.ndarray
    pose: Pose
    ground: Ground


def _fly(
    mosaic: np.ndarray, labels: np.ndarray | None, count: int, size: tuple[int, int]
) -> Iterator[_View]:
    mosaic = enlarged(mosaic, turned_size(size))
    ground = Ground(size[1], labels)
    poses = flight_path(mosaic.shape[:2], count, size)
    for frame, pose in zip(fly(mosaic, count, size), poses, strict=True):
        yield _View(frame, pose, ground)


def _side_by_side(frames: Iterable[np.ndarray]) -> Iterator[_View]:
    """Yield frames with places side by side: nobody knows where they were taken."""
    for index, frame in enumerate(frames):
        height, width = frame.shape[:2]
        pose = Pose(x=(index + 0.5) * width, y=0.5 * height, heading=0.0)
        yield _View(frame, pose, Ground(width))


def _record(
    views: Iterable[_View],
    folder: Path,
    rate_hz: float,
    count: int,
    cloud: bool,
) -> None:
    done = 0

    def progress() -> str:
        return f'{done} of {count} frames were recorded, {folder} was not made' if done else ''

    with note_progress(progress), BagWriter(folder, frame_id=CAMERA_FRAME, mark=_MARK) as bag:
        for index, view in enumerate(views):
            stamp = _FIRST_STAMP + round(index * 1e9 / rate_hz)
            height, width = size = view.frame.shape[:2]
            if cloud:
                bag.write_calibration(INFO_TOPIC, flight_camera(size), stamp, stamp - _INFO_LEAD)
            bag.write(view.frame, stamp)
            if cloud:
                points = scan(size, view.pose, view.ground)
                bag.write_points(
                    POINTS_TOPIC, points, LIDAR_FRAME, stamp + cloud_delay_ns(rate_hz)
                )
            done = index + 1
            _LOG.info('recorded frame %d of %d, %dx%d', done, count, width, height)


def _generated(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = (side + way for side, way in zip(turned_size(size), _WAY, strict=True))
    _LOG.info('generating a scene of %dx%d', width, height)
    return generate_scene(SCENE_SEED, height, width)


def check_room(folder: Path, needed: int) -> None:
    """
    Check that a recording of so many bytes fits on the disk of a folder, whose parent is made.

    Raises:
        ConfigError: it does not.

    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < needed + (100 << 20):
        is_temporary = folder.is_relative_to(gettempdir())
        other = 'set TMPDIR to a folder' if is_temporary else 'choose a folder'
        msg = (
            f'{folder.parent} has {free >> 20} MB free, the recording takes {needed >> 20} MB: '
            f'make room or {other} on another disk'
        )
        raise ConfigError(msg)
