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

"""Objects of the mask on a topic, where vision_msgs is installed; a clear line where not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from stage import frame, pixels, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros.messages import objects

MakeStage = Callable[..., Stage]


def test_objects_of_the_mask(make_stage: MakeStage) -> None:
    messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    stage = make_stage(classes__merge=['thing=green+blue'], **{'objects.min_area_px': 65})
    camera = stage.camera()
    masks, found = (
        stage.outputs('mask')[0],
        stage.outputs('objects', message_type=messages.Detection2DArray)[0],
    )
    mask = np.zeros((96, 160), np.uint8)
    mask[16:32, 32:64] = 1
    mask[32:48, 48:64] = 2
    mask[80:88, 128:136] = 2  # 64 px
    camera.publish(frame(paint(mask), 1.0))
    wait_until(lambda: masks, 'a mask')
    assert not found  # not enabled
    assert stage.set_parameter('objects.enabled', True).successful
    camera.publish(frame(paint(mask), 2.0))
    wait_until(lambda: found, 'objects')
    assert (found[0].header.stamp.sec, found[0].header.frame_id) == (2, 'camera')
    background, thing = found[0].detections
    assert background.results[0].hypothesis.class_id == 'red'
    assert thing.header == found[0].header
    result = thing.results[0]
    assert result.hypothesis.class_id == 'thing'
    assert 0 < result.hypothesis.score < 1
    seen = pixels(masks[1])[:60] == 1  # corners of blocks are round
    assert result.pose.pose.position.z == seen.sum() > 750
    y, x = (axis.mean() + 0.5 for axis in np.nonzero(seen))
    assert (result.pose.pose.position.x, result.pose.pose.position.y) == pytest.approx((x, y))
    assert (thing.bbox.center.position.x, thing.bbox.center.position.y) == (48.0, 32.0)
    assert (thing.bbox.size_x, thing.bbox.size_y, thing.bbox.center.theta) == (32.0, 32.0, 0.0)


def test_without_vision_msgs_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, 'Detection2DArray', None)
    assert objects.check_objects(False) == ''
    assert 'vision_msgs is not installed' in objects.check_objects(True)
