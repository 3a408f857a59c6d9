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

"""The mask on the ground: grid and landing sites of the real node, whose camera looks down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseArray
import numpy as np
import pytest
from rig import calibration, HEIGHT, WIDTH
from sensor_msgs.msg import CameraInfo
from stage import frame, Stage, wait_until
from tiny_bundle import paint, TINY_CLASSES

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.ros.messages import ground
from uhr_seg_ros.ros.points import ground_mapper, transforms
from uhr_seg_ros.ros.points.ground_classes import ground_values

MakeStage = Callable[..., Stage]

#: 10 m above the map's (20, -3), the upper edge of the image to the north: 0.1 m a pixel.
GROUND = {
    'ground_grid.frame': 'map',
    'ground_grid.free_classes': ['red'],
    'ground_grid.occupied_classes': ['green'],
    'ground_grid.resolution': 0.2,
    'landing_sites.min_radius': 1.0,
    'cloud.camera_frame': 'camera',
    'cloud.points_frame': 'map',
    'cloud.translation': [-20.0, -3.0, 10.0],
    'cloud.quaternion': [1.0, 0.0, 0.0, 0.0],
}


def ground_mask() -> np.ndarray:
    """Return a mask whose left half is free, with an obstacle on its right, and unknown beyond."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, 80:] = 1
    mask[:, 120:] = 2
    return mask


class Drone:
    """A camera that looks down, with its calibration."""

    def __init__(self, make_stage: MakeStage, **parameters: Any) -> None:
        self.stage = make_stage(**{**GROUND, **parameters})
        self.camera = self.stage.camera()
        infos = self.stage.camera('camera_info', CameraInfo)
        (self.masks,) = self.stage.outputs('mask')
        infos.publish(calibration())
        wait_until(
            lambda: self.stage.values('/image_raw').get('camera_info_received') == '1', 'it'
        )

    def see(self) -> None:
        count = len(self.masks)
        self.camera.publish(frame(paint(ground_mask()), stamp=count + 1.0))
        wait_until(lambda: len(self.masks) > count, 'a mask')

    def wait_for(self, **counts: int) -> None:
        wanted = {f'ground_{name}': str(count) for name, count in counts.items()}
        wait_until(
            lambda: wanted.items() <= self.stage.values('/image_raw').items(),
            str(wanted),
            last=lambda: self.stage.values('/image_raw'),
        )


def test_landing_sites(make_stage: MakeStage) -> None:
    drone = Drone(make_stage)
    drone.see()
    drone.wait_for(published=0, rejected=0)  # nobody subscribes
    (found,) = drone.stage.outputs('landing_sites', message_type=PoseArray)
    scored: list[Any] = []
    if (kind := ground.Detection3DArray) is not None:
        topic = 'landing_sites/detections'
        (scored,) = drone.stage.outputs(topic, message_type=kind)
    for count in range(1, 4):
        drone.see()
        wait_until(lambda count=count: len(found) == count, 'landing sites')
    drone.wait_for(published=3)
    assert not found[0].poses  # not yet sure
    best = found[2].poses[0]
    assert (found[2].header.frame_id, found[2].header.stamp.sec) == ('map', 4)
    # Free are 8 x 9.6 m west of x = 20: the largest disc is in the middle of them.
    assert 15.5 < best.position.x < 16.5
    assert abs(best.position.y + 3) < 1.0
    assert best.orientation.w == 1.0
    if scored:
        wait_until(lambda: len(scored) == 3, 'the scores')
        assert scored[2].header == found[2].header
        site = scored[2].detections[0]
        assert site.bbox.center == site.results[0].pose.pose == best
        assert 2 * 3.5 < site.bbox.size.x == site.bbox.size.y < 2 * 4.1
        assert site.results[0].hypothesis.class_id == 'landing_site'
        assert site.results[0].hypothesis.score == pytest.approx(1 - 1.0 / (site.bbox.size.x / 2))


def test_ground_grid(make_stage: MakeStage) -> None:
    messages = pytest.importorskip('nav_msgs.msg', reason='nav_msgs is not installed')
    drone = Drone(make_stage)
    (grids,) = drone.stage.outputs('ground_grid', message_type=messages.OccupancyGrid)
    drone.see()
    wait_until(lambda: grids, 'a grid', last=drone.stage.log_lines)
    info = grids[0].info
    assert grids[0].header.frame_id == 'map'
    assert info.resolution == pytest.approx(0.2)
    cells = np.array(grids[0].data, np.int8).reshape(info.height, info.width)
    x = info.origin.position.x + (np.arange(info.width) + 0.5) * info.resolution
    y = info.origin.position.y + (np.arange(info.height) + 0.5) * info.resolution
    seen = cells[np.abs(y + 3) < 4.5]
    for low, high, value in ((12.3, 19.8, 0), (20.3, 23.8, 100), (24.3, 27.8, -1), (5, 11.8, -1)):
        assert (seen[:, (x > low) & (x < high)] == value).all(), (low, high, value)
    assert (cells[np.abs(y + 3) > 5.1] == -1).all()


def test_without_nav_msgs_it_says_so(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground_mapper, 'OccupancyGrid', None)
    monkeypatch.setattr(transforms, 'tf2_ros', None)
    drone = Drone(make_stage, **{'cloud.points_frame': 'lidar'})
    drone.stage.wait_for_log('nav_msgs is not installed: no ~/ground_grid')
    drone.stage.outputs('landing_sites', message_type=PoseArray)
    drone.see()
    drone.stage.wait_for_log('ground grid rejected', 'no transform from map to camera')
    drone.wait_for(rejected=1, published=0)
    names = {publisher.topic_name for publisher in drone.stage.node.publishers}
    assert '/segmentation/ground_grid' not in names


def test_classes_that_the_bundle_does_not_have(make_stage: MakeStage) -> None:
    stage = make_stage(**{**GROUND, 'ground_grid.free_classes': ['road']})
    line = stage.wait_for_log('cannot be configured', "free_classes has 'road'")
    assert 'red, green, blue' in line
    stage.wait_for_state('unconfigured')


def test_values_of_classes() -> None:
    values = ground_values(TINY_CLASSES, ['red'], ['', 'blue'])
    assert [*values[:3], values[255]] == [0, -1, 100, -1]
    many = ClassSet(tuple(map(str, range(300))), tuple((n % 256, 0, 0) for n in range(300)))
    assert len(ground_values(many, ['299'], [''])) == 65536
    with pytest.raises(ConfigError, match='are empty: the bundle has red, green, blue'):
        ground_values(TINY_CLASSES, [''], [''])
    with pytest.raises(ConfigError, match='both have red'):
        ground_values(TINY_CLASSES, ['red'], ['red'])
