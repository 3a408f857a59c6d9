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

"""A grid on the ground and landing sites as messages; nav_msgs and vision_msgs may be missing."""

from __future__ import annotations

import array
from collections.abc import Iterable
from typing import Any

from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
import numpy as np
from std_msgs.msg import Header

from uhr_seg_ros.geometry.ground_plane import GroundGrid
from uhr_seg_ros.geometry.landing_sites import LandingSite

try:
    from nav_msgs.msg import OccupancyGrid
except ImportError:
    OccupancyGrid = None
try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:  # not among the PyPI wheels
    Detection3DArray = None


def encode_grid(cells: np.ndarray, grid: GroundGrid, header: Header) -> Any:
    """
    Return a nav_msgs/OccupancyGrid.

    Args:
        cells: (cells, cells) int8, the row with the lowest y first.
        grid: where they are.
        header: stamp of the frame, and the frame of the grid.

    """
    message = OccupancyGrid(header=header)
    info = message.info
    info.map_load_time = header.stamp
    info.resolution = grid.resolution
    info.height, info.width = cells.shape
    info.origin = _pose(grid.x, grid.y, grid.z)
    # An array.array is the one type that every distribution takes over as it is.
    message.data = array.array('b', np.ascontiguousarray(cells).tobytes())
    return message


def encode_sites(sites: Iterable[LandingSite], z: float, header: Header) -> PoseArray:
    """Return the centers of landing sites on the ground, z m high, the best first."""
    return PoseArray(header=header, poses=[_pose(each.x, each.y, z) for each in sites])


def encode_site_detections(
    sites: Iterable[LandingSite], z: float, min_radius: float, header: Header
) -> Any:
    """
    Return landing sites as a vision_msgs/Detection3DArray, the best first.

    Args:
        sites: on the ground.
        z: height of the ground, m.
        min_radius: what a site has at least, m; the score is the share of the radius beyond it.
        header: as of `encode_sites`.

    """
    message = Detection3DArray(header=header)
    for site in sites:
        found = Detection3D(header=header)
        found.bbox.center = _pose(site.x, site.y, z)
        found.bbox.size.x = found.bbox.size.y = 2 * site.radius
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = 'landing_site'
        result.hypothesis.score = max(0.0, 1 - min_radius / site.radius)
        result.pose.pose = found.bbox.center
        found.results = [result]
        message.detections.append(found)
    return message


def _pose(x: float, y: float, z: float) -> Pose:
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(w=1.0))
