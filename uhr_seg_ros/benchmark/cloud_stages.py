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

"""Time per stage of labelling a point cloud on one core, in a fresh process."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
import json
import math
import os
import subprocess
import sys
from time import process_time
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from uhr_seg_ros.benchmark.figures import percentiles
from uhr_seg_ros.core.classes import CLASS_SETS, UNLABELED
from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.memory import tune_malloc
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.geometry.labeling import PointLabeler
from uhr_seg_ros.geometry.transform import OPTICAL_FROM_BODY, Transform
from uhr_seg_ros.geometry.visibility import ZBuffer
from uhr_seg_ros.ros.messages.cloud import encode_cloud, pack_records
from uhr_seg_ros.ros.messages.cloud_reading import read_points

CLASSES = CLASS_SETS['cityscapes']

BEAMS = 128

# Of a lens of 77 degrees at 3840 px, as calibrations of such lenses come out: k1, k2, p1, p2, k3.
_FOCAL = 0.63
_DISTORTION = (-0.31, 0.12, 4e-4, -2e-4, -0.02)

# Where the LiDAR begins in the camera's optical frame, m: above the camera, and a little behind.
_MOUNTED = (0.02, -0.35, -0.1)

# What the LiDAR sees: beams up and down and turns to both sides, rad; a street between walls, m.
_UP, _DOWN, _ASIDE = math.radians(22), math.radians(-22), math.radians(50)
_HIGH, _WALLS, _END = 2.0, 12.0, 70.0

# Velodyne's PointXYZIRT: 22 bytes, so that most of its floats are not aligned.
_POINT = np.dtype(
    [('x', 'f4'), ('y', 'f4'), ('z', 'f4'), ('intensity', 'f4'), ('ring', 'u2'), ('time', 'f4')]
)
_TYPES = {'f4': PointField.FLOAT32, 'u2': PointField.UINT16}

# Side of a patch of one class in the mask, px.
_PATCH = 24


@dataclass(frozen=True)
class CloudOptions:
    """
    What to measure.

    Attributes:
        points: of a cloud; rounded to whole turns of all beams.
        size: height and width of the mask.
        repeat: clouds that count; one more comes before them.

    """

    points: int
    size: tuple[int, int]
    repeat: int


def measure_cloud(options: CloudOptions) -> dict[str, Any]:
    """
    Measure in a child process that may use one core and one thread.

    Returns:
        `points`; `size` of the mask; `cores` that were used; `in_image`: share of points that
        fall into the image; `labelled`: share with a label, so less what the z-buffer hides;
        `stage_ms`: stage -> p50, p95, p99 and max of `read` (message to coordinates), `label`
        (project, z-buffer, look up), `encode` (message with labels) and their `total`;
        `processor_ms`: the same without the time that the core worked for other processes.

    Raises:
        ProcessError: the child failed.

    """
    # Libraries count the cores when they are loaded.
    threads = {f'{name}_NUM_THREADS': '1' for name in ('OMP', 'OPENBLAS', 'MKL')}
    command = python_child(
        'uhr_seg_ros.benchmark.cloud_stages',
        json.dumps(asdict(options)),
        env={**os.environ, **threads},
    )
    child = subprocess.run(**command, capture_output=True, text=True, check=False)
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f'exit code {child.returncode}'])[-1]
        msg = f'measuring a cloud of {options.points} points failed: {last}'
        raise ProcessError(msg)
    return json.loads(child.stdout)


def measure_here(options: CloudOptions) -> dict[str, Any]:
    """Measure in this process; see `measure_cloud`."""
    tune_malloc()
    message = received_cloud(options.points)
    camera, pose = benchmark_camera(options.size), benchmark_pose()
    mask, confidence = _seen(options.size)
    labeler = PointLabeler(CLASSES, ZBuffer())
    runs = [_Clocks() for _ in range(options.repeat + 1)]
    for clocks in runs:
        with clocks.stage('read'):
            points = read_points(message)
        with clocks.stage('label'):
            labeled = labeler.label(points, camera, pose, mask, confidence)
        with clocks.stage('encode'):
            encode_cloud(labeled, message.header, message.height, message.width)
    all_in_image = PointLabeler(CLASSES, None).label(points, camera, pose, mask).label
    return {
        'points': len(points),
        'size': list(options.size),
        'cores': len(os.sched_getaffinity(0)),
        'in_image': _share(all_in_image),
        'labelled': _share(labeled.label),
        'stage_ms': _spread([run.elapsed for run in runs[1:]]),
        'processor_ms': _spread([run.processor for run in runs[1:]]),
    }


class _Clocks:
    """
    Times the stages of one cloud.

    Attributes:
        elapsed: the time that passed.
        processor: the time that this process worked.

    """

    def __init__(self) -> None:
        self.elapsed, self.processor = StageClock(), StageClock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        before = process_time()
        with self.elapsed.stage(name):
            yield
        self.processor.add(name, (process_time() - before) * 1e3)


def _spread(clocks: Sequence[StageClock]) -> dict[str, dict[str, float]]:
    """Return the percentiles of every stage, and of their sum, over several clouds."""
    runs = [{**clock.times, 'total': sum(clock.times.values())} for clock in clocks]
    return {stage: percentiles(run[stage] for run in runs) for stage in runs[0]}


def received_cloud(points: int) -> PointCloud2:
    """
    Make a cloud as rclpy hands it over: rows of beams, x forward, y left, z up.

    Args:
        points: wanted; the cloud has as many as make whole rows, at least one a row.

    """
    columns = max(1, round(points / BEAMS))
    coordinates = _scan(columns)
    records = np.zeros(BEAMS * columns, _POINT)
    for axis, name in enumerate('xyz'):
        records[name] = coordinates[..., axis].reshape(-1)
    records['ring'] = np.repeat(np.arange(BEAMS), columns)
    fields = [
        PointField(name=name, offset=offset, datatype=_TYPES[dtype.str[1:]], count=1)
        for name, (dtype, offset, *_) in (_POINT.fields or {}).items()
    ]
    message = pack_records(Header(frame_id='lidar'), fields, records)
    message.height, message.width = BEAMS, columns
    message.row_step = columns * message.point_step
    return deserialize_message(serialize_message(message), PointCloud2)


def benchmark_camera(size: tuple[int, int]) -> Camera:
    """Make a camera of 77 degrees with a distorted lens, for masks of a height and width."""
    height, width = size
    return Camera(
        model='plumb_bob',
        focal=(_FOCAL * width, _FOCAL * width),
        center=((width - 1) / 2, (height - 1) / 2),
        distortion=_DISTORTION,
        height=height,
        width=width,
    )


def benchmark_pose() -> Transform:
    """Return the transform from the LiDAR's frame to the camera's optical frame."""
    return Transform(OPTICAL_FROM_BODY.rotation, np.array(_MOUNTED))


def _scan(columns: int) -> np.ndarray:
    """Return what a LiDAR sees of a street: (BEAMS, columns, 3) float32, m."""
    up = np.linspace(_UP, _DOWN, BEAMS)[:, None]
    turn = np.linspace(_ASIDE, -_ASIDE, columns)[None]
    ahead, left, above = np.broadcast_arrays(
        np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)
    )
    # The nearest of the ground, the walls beside the street, the end of it, and a row of poles.
    with np.errstate(divide='ignore'):
        distance = np.where(above < 0, -_HIGH / above, np.inf)
        distance = np.minimum(distance, _WALLS / np.abs(left))
    distance = np.minimum(distance, _END / ahead)
    is_pole = np.sin(turn * 60) > 0.97
    distance = np.where(is_pole, np.minimum(distance, 6.0), distance)
    directions = np.stack((ahead, left, above), axis=-1)
    return (directions * distance[..., None]).astype(np.float32)


def _seen(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Make a mask of patches and a confidence, both (H, W) uint8."""
    rng = np.random.default_rng(5)
    height, width = size
    patches = rng.integers(0, len(CLASSES), (-(-height // _PATCH), -(-width // _PATCH)), np.uint8)
    mask = patches.repeat(_PATCH, 0).repeat(_PATCH, 1)[:height, :width]
    confidence = rng.integers(1, 256, size, np.uint8)
    return np.ascontiguousarray(mask), confidence


def _share(label: np.ndarray) -> float:
    return round(float((label != UNLABELED).mean()), 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure on one core with the options given as JSON, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('options', type=json.loads)
    values = parser.parse_args(arguments).options
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(measure_here(CloudOptions(**{**values, 'size': tuple(values['size'])}))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
