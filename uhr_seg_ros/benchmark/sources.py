# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What demo and long runs fly over: a recording, images, a mosaic, or a generated scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
import shutil

import numpy as np

from uhr_seg_ros.benchmark.flight import fly, FRAME_SIZE, turned_size
from uhr_seg_ros.data.scenes import generate_scene
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.frames import read_image
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import is_bag

SCENE_SEED = 20

# How far the flight goes over a generated scene, beside the size of one frame, px.
_WAY = (500, 900)

# A recorded flight with this file in it may be replaced by the next one.
_MARK = '.made_by_demo'

# Stamps of a recorded flight begin here, ns.
_FIRST_STAMP = 1_000_000_000


class SourceError(UhrSegError):
    """A path that is not there, or no room to record."""


def prepare_bag(
    paths: Sequence[Path],
    folder: Path,
    *,
    count: int,
    rate_hz: float,
    size: tuple[int, int] = FRAME_SIZE,
    tell: Callable[[str], None] = print,
) -> Path:
    """
    Give a recording to play, and make it if there is none.

    Args:
        paths: nothing for a flight over a generated scene; one recording; one mosaic to fly
            over; or several images, each a frame.
        folder: where a recording is made; replaced if it exists.
        count: frames of a flight.
        rate_hz: frames per second of a flight.
        size: height and width of the frames of a flight.
        tell: called with progress.

    Raises:
        FramesError: a path is none of these.
        SourceError: a path is not there, the folder is somebody's, or the disk is full.

    """
    if missing := [str(path) for path in paths if not path.exists()]:
        msg = f'no such file: {", ".join(missing)}'
        raise SourceError(msg)
    if len(paths) == 1 and is_bag(paths[0]):
        return paths[0]
    if folder.exists():
        if not (folder / _MARK).is_file():
            msg = f'{folder} is there already and not made by the demo: choose another --output'
            raise SourceError(msg)
        shutil.rmtree(folder)
    if len(paths) > 1:
        _record(map(read_image, paths), folder, rate_hz, len(paths), tell)
        return folder
    _check_room(folder, count * size[0] * size[1] * 3)
    mosaic = read_image(paths[0]) if paths else _generated(size, tell)
    _record(fly(mosaic, count, size), folder, rate_hz, count, tell)
    return folder


def _record(
    frames: Iterable[np.ndarray],
    folder: Path,
    rate_hz: float,
    count: int,
    tell: Callable[[str], None],
) -> None:
    with BagWriter(folder) as bag:
        (folder / _MARK).touch()
        for index, frame in enumerate(frames):
            bag.write(frame, _FIRST_STAMP + round(index * 1e9 / rate_hz))
            tell(f'recorded frame {index + 1} of {count}, {frame.shape[1]}x{frame.shape[0]}')


def _generated(size: tuple[int, int], tell: Callable[[str], None]) -> np.ndarray:
    height, width = (side + way for side, way in zip(turned_size(size), _WAY, strict=True))
    tell(f'generating a scene of {width}x{height}')
    return generate_scene(SCENE_SEED, height, width)[0]


def _check_room(folder: Path, needed: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < needed + (100 << 20):
        msg = (
            f'{folder.parent} has {free >> 20} MB free, the recording takes {needed >> 20} MB: '
            'make room or choose --output on another disk'
        )
        raise SourceError(msg)
