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

"""What came of the clouds of a demo: counts, how they agree with the masks, a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from uhr_seg_ros.benchmark.cloud_picture import draw_cloud
from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.replay.collector import STAMP_PATTERN
from uhr_seg_ros.replay.ply import read_ply
from uhr_seg_ros.synthetic.flight_cloud import (
    OPTICAL_FROM_LIDAR,
    POINTS_TOPIC,
    scan_pixels,
)

if TYPE_CHECKING:
    from uhr_seg_ros.replay.results import Replay

COUNTS = ('received', 'paired', 'unpaired', 'waiting', 'rejected', 'dropped')

# Of points without a label, BGR.
_GRAY = (105, 105, 105)


def cloud_figures(
    result: Replay, output: Path, classes: ClassSet, delay_ns: int
) -> dict[str, Any]:
    """
    Count the clouds and their labels.

    Args:
        result: what came of the flight.
        output: folder with what was saved of it.
        classes: what the labels mean.
        delay_ns: how much later than its frame each cloud was stamped.

    Returns:
        `clouds_played`; what the node counted, a number for each of `COUNTS`; `clouds_saved`;
        `points` of all that were saved; `label_share`: name -> share of the points, those with
        points only; `unlabelled_share`; `like_mask_share`: share of the labeled points whose
        label is that of the saved mask at the pixel that the point was cast from, and
        `like_mask_points`, how many were compared. Shares are None where there are no points.

    """
    totals = np.zeros(256, np.int64)
    compared = alike = 0
    files = saved_clouds(output)
    for file in files:
        label = read_ply(file)['label']
        totals += np.bincount(label, minlength=256)
        mask = _mask_of(file, output, delay_ns)
        if mask is None:
            continue
        # In the order of the scan: the node leaves unseen points where they are.
        expected = mask[scan_pixels(mask.shape)].reshape(-1)
        labeled = label != UNLABELED
        compared += int(labeled.sum())
        alike += int((label == expected)[labeled].sum())
    points = int(totals.sum())
    counted = next(iter(result.report.inputs.values()), {})
    return {
        'clouds_played': result.extra_counts.get(POINTS_TOPIC, 0),
        **{f'clouds_{name}': int(counted.get(f'clouds_{name}', 0)) for name in COUNTS},
        'clouds_saved': len(files),
        'points': points,
        'label_share': {
            name: _share(int(totals[index]), points)
            for index, name in enumerate(classes.names[:UNLABELED])
            if totals[index]
        },
        'unlabelled_share': _share(int(totals[UNLABELED]), points),
        'like_mask_points': compared,
        'like_mask_share': _share(alike, compared),
    }


def draw_saved_cloud(output: Path, classes: ClassSet) -> None:
    """Draw the cloud from the middle of the flight, `cloud.jpg`."""
    files = saved_clouds(output)
    if not files:
        return
    vertices = read_ply(files[len(files) // 2])
    points = np.stack([vertices[axis] for axis in 'xyz'], axis=-1)
    colors = np.stack([vertices[name] for name in ('blue', 'green', 'red')], axis=-1)
    colors[vertices['label'] == UNLABELED] = _GRAY
    legend = {
        name: color[::-1]
        for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True))
        if (vertices['label'] == index).any()
    }
    if (vertices['label'] == UNLABELED).any():
        legend['no label'] = _GRAY
    camera = OPTICAL_FROM_LIDAR.inverse().translation
    write_image(output / 'cloud.jpg', draw_cloud(points, colors, camera, legend))


def saved_clouds(output: Path) -> list[Path]:
    """List the labeled clouds in the order of their stamps."""
    return sorted(output.glob(f'clouds/{STAMP_PATTERN}_points.ply'))


def _mask_of(cloud: Path, output: Path, delay_ns: int) -> np.ndarray | None:
    """Return the mask (H, W) of the frame that a saved cloud belongs to, if it was saved."""
    seconds, nanoseconds = map(int, cloud.name.removesuffix('_points.ply').split('.'))
    stamp = divmod(seconds * 1_000_000_000 + nanoseconds - delay_ns, 1_000_000_000)
    file = output / 'masks' / '{:010d}.{:09d}_mask.png'.format(*stamp)
    return cv2.imread(str(file), cv2.IMREAD_UNCHANGED) if file.is_file() else None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
