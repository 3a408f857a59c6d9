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
What Nav2's semantic layer takes of the node, by the layer's own rules of acceptance.

The rules are facts about kiwicampus/semantic_segmentation_layer at a70cf6e: how it pairs mask,
confidence and cloud, when it drops them, and how it reads the pixel and the point of an index.
"""

from __future__ import annotations

import array
from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import cloud, DISTANCE, header, Rig, wall
from sensor_msgs.msg import Image, PointCloud2, PointField
from stage import example_mask, frame, LATCHED, pixels, Stage, wait_until
from std_msgs.msg import String
from tiny_bundle import make_tiny_bundle, paint
import yaml

from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.ros.messages.cloud_reading import read_points

MakeStage = Callable[..., Stage]

CONFIG = Path(__file__).resolve().parents[2] / 'config/nav2/semantic_layer.yaml'
ROWS, COLUMNS = 48, 80  # of the depth camera: half of the color camera's
SYNC_S = 0.1


def layer() -> dict[str, Any]:
    content = yaml.safe_load(CONFIG.read_text(encoding='utf-8'))
    return content['local_costmap']['local_costmap']['ros__parameters']['semantic_layer']


def seconds(message: Any) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec / 1e9


def why_dropped(mask: Image, confidence: Image, points: PointCloud2, *, exact: bool) -> str:
    """Return which rule of the layer drops a mask; empty: none."""
    stamps = [seconds(each) for each in (mask, confidence, points)]
    if max(stamps) - min(stamps) > (0 if exact else SYNC_S):
        return f'stamps {stamps}'
    if mask.width * mask.height != points.width * points.height:
        return f'{mask.width} x {mask.height} pixels, {points.width} x {points.height} points'
    # Pixels are read by row * width + column: without padding, a byte each.
    for each in (mask, confidence):
        if each.encoding != 'mono8' or len(each.data) != mask.width * mask.height:
            return f'{each.encoding} of {len(each.data)} bytes'
    # x, y, z through an iterator of floats, which has to be aligned on some machines.
    fields = {each.name: each for each in points.fields}
    if any(fields[name].datatype != PointField.FLOAT32 for name in 'xyz'):
        return 'x, y, z are no floats'
    if points.point_step % 4 or any(fields[name].offset % 4 for name in 'xyz'):
        return 'floats are not aligned'
    return '' if points.header.frame_id else 'no frame_id: tf2 cannot transform it'


def costs(names: list[str], source: dict[str, Any]) -> dict[int, str]:
    """Return the kind of each class id; the layer ignores classes without one."""
    kinds = {name: kind for kind in source['class_types'] for name in source[kind]['classes']}
    return {index: kinds[name] for index, name in enumerate(names) if name in kinds}


def class_names(stage: Stage) -> list[str]:
    try:
        from vision_msgs.msg import LabelInfo
    except ImportError:
        found = stage.collect(String, '/segmentation/label_info_json', LATCHED)
        wait_until(lambda: found, 'labels')
        return [each['class_name'] for each in json.loads(found[0].data)['class_map']]
    found = stage.collect(LabelInfo, '/segmentation/label_info', LATCHED)
    wait_until(lambda: found, 'labels')
    return [each.class_name for each in found[0].class_map]


def test_every_class_of_the_street_has_a_cost() -> None:
    classes = CLASS_SETS['street'].names
    assert len(costs(list(classes), layer()['camera'])) == len(classes)


def test_depth_camera_as_the_parameter_file_says(make_stage: MakeStage, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / 'street', CLASS_SETS['street'])
    config, source = layer(), layer()['camera']

    def make(**parameters: Any) -> Stage:
        ours = {key: value for key, value in parameters.items() if key not in in_file}
        return make_stage(['--ros-args', '--params-file', str(CONFIG)], **ours)

    in_file = {'cloud.enabled', 'cloud.source', 'cloud.keep_unseen'}
    rig = Rig(make, 'depth', bundle=str(bundle), **{'cloud.source': 'depth'})
    topics = {key: value for key, value in source.items() if key.endswith('_topic')}
    masks, confidences = rig.stage.outputs(
        *(topics[key].removeprefix('/segmentation/') for key in list(topics)[:2])
    )
    assert topics['pointcloud_topic'] == '/segmentation/points'
    assert topics['labels_topic'] == '/segmentation/label_info'
    rig.calibrate()
    depth = np.full((ROWS, COLUMNS), DISTANCE, np.float32)
    depth[:5] = 0  # nothing measured
    message = Image(header=header('camera', 1.02), height=ROWS, width=COLUMNS, encoding='32FC1')
    message.step = COLUMNS * 4
    message.data = array.array('B', depth.tobytes())
    rig.see(example_mask())
    rig.lidar.publish(message)
    points = rig.labeled()
    wait_until(lambda: masks and confidences, 'the aligned ones')
    mask, confidence = masks[0], confidences[0]
    exact = not config['use_approximate_time_sync']
    assert not why_dropped(mask, confidence, points, exact=exact)
    assert (points.height, points.width) == (mask.height, mask.width) == (ROWS, COLUMNS)
    found = read_points(points).reshape(ROWS, COLUMNS, 3)
    assert np.isnan(found[:5]).all()
    np.testing.assert_allclose(found[5:, :, 2], DISTANCE)
    assert (pixels(mask)[:5] == 255).all()
    expected = pixels(rig.masks[0])
    # The pixel of the frame that the ray through the depth image's pixel meets.
    rows, columns = np.arange(5, ROWS) * 2, np.arange(COLUMNS) * 2
    np.testing.assert_array_equal(pixels(mask)[5:], expected[np.ix_(rows, columns)])
    assert set(np.unique(pixels(mask)[5:])) <= set(costs(class_names(rig.stage), source))
    # Whoever wants fewer points gets the aligned mask as it was.
    assert rig.stage.set_parameter('cloud.keep_unseen', False).successful
    message.header.stamp.nanosec += 1
    rig.lidar.publish(message)
    assert rig.labeled(2).width < ROWS * COLUMNS
    wait_until(lambda: len(masks) == 2, 'another aligned mask')
    np.testing.assert_array_equal(pixels(masks[1]), pixels(mask))


@pytest.mark.parametrize('fits', [True, False])
def test_cloud_of_the_driver_with_a_point_for_every_pixel(
    make_stage: MakeStage, fits: bool
) -> None:
    """The sample configuration of the layer itself: ~/mask, ~/confidence, cloud of the driver."""
    stage = make_stage(**({'mask.size': [COLUMNS, ROWS]} if fits else {}))
    camera = stage.camera()
    masks, confidences = stage.outputs('mask', 'confidence')
    points = cloud(wall()[::2, ::2], 1.03, 'camera')
    camera.publish(frame(paint(example_mask())))
    wait_until(lambda: masks and confidences, 'mask and confidence')
    reason = why_dropped(masks[0], confidences[0], points, exact=False)
    assert reason == ('' if fits else '160 x 96 pixels, 80 x 48 points')
