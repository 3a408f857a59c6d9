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

"""The node keeps a frame budget, and leaves out what nobody looks at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
from stage import frame, pixels, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros.attention import Attention
from uhr_seg_ros.ros.diagnostics import check_frame_budget
from uhr_seg_ros.ros.parameters.regions import Region

MakeStage = Callable[..., Stage]

NODE = '/segmentation: segmentation'


def stripes(height: int = 320, width: int = 480) -> np.ndarray:
    """Return a mask of stripes that are too thin for the semantic branch."""
    return np.tile((np.arange(width) // 4 % 3).astype(np.uint8), (height, 1))


def test_budget_is_switched_live(make_stage: MakeStage) -> None:
    stage = make_stage(latency__budget_ms=0.5)
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    (times,) = stage.outputs('latency', message_type=DiagnosticArray)
    mask, shares = stripes(), []

    def publish() -> np.ndarray:
        count = len(times) + 1
        camera.publish(frame(paint(mask), stamp=count))
        wait_until(lambda: len(masks) == len(times) == count, 'mask and times')
        values = {each.key: float(each.value) for each in times[-1].status[0].values}
        shares.append(values['detail_share'])
        return pixels(masks[-1])

    np.testing.assert_array_equal(publish(), mask)
    assert stage.set_parameter('detail', 'budget').successful
    assert (publish() != mask).any()
    for _ in range(5):  # six tiles, one a frame: half a millisecond is not enough for two
        last = publish()
    assert shares[0] == 1.0
    assert 0.0 < shares[1] < 0.5
    assert shares[1:] == sorted(shares[1:])
    assert shares[-1] == 1.0
    np.testing.assert_array_equal(last, mask)
    told = wait_until(lambda: stage.values(NODE).get('detail_share'), 'the share')
    assert 0.0 < float(told) <= 1.0
    assert stage.set_parameter('detail', 'whole').successful
    np.testing.assert_array_equal(publish(), mask)
    assert stage.set_parameter('detail', 'some').reason == (
        "detail is 'some': expected one of whole, budget"
    )


def test_a_budget_without_time_is_told(make_stage: MakeStage) -> None:
    stage = make_stage(detail='budget')
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    camera.publish(frame(paint(stripes())))
    np.testing.assert_array_equal(pixels(wait_until(lambda: masks, 'a mask')[0]), stripes())
    wait_until(lambda: stage.status(NODE).level == DiagnosticStatus.WARN, 'a warning')
    message = stage.status(NODE).message
    assert 'detail is budget, but latency.budget_ms is 0: set it' in message
    assert check_frame_budget([120.0] * 20, 100.0) is None
    level, text = check_frame_budget([120.0] * 18 + [130.0] * 2, 100.0) or (0, '')
    assert level == DiagnosticStatus.WARN
    assert text.startswith('2 of 20 frames took over 1.25 times latency.budget_ms 100, the long')


def test_region_of_each_camera(make_stage: MakeStage, tmp_path: Path) -> None:
    seen = np.zeros((320, 480), np.uint8)
    seen[:, 100:] = 1
    cv2.imwrite(str(tmp_path / 'seen.png'), seen)
    stage = make_stage(
        cameras=['front', 'rear'],
        confidence__enabled=True,
        roi__front__rectangles=[0, 120, 0, 0],
        roi__front__mask=str(tmp_path / 'seen.png'),
    )
    cameras = [stage.camera(f'{name}/image_raw') for name in ('front', 'rear')]
    masks = stage.outputs('front/mask', 'rear/mask', 'front/confidence')
    mask = stripes()
    for camera in cameras:
        camera.publish(frame(paint(mask)))
    front, rear, confidence = (
        pixels(wait_until(lambda each=each: each, 'a picture')[0]) for each in masks
    )
    np.testing.assert_array_equal(rear, mask)
    inside = seen.astype(bool)
    inside[:120] = False
    np.testing.assert_array_equal(front, np.where(inside, mask, 255))
    assert (confidence[~inside] == 0).all()
    assert (confidence[inside] > 0).all()
    # Live, and a picture of another size costs the frame.
    assert stage.set_parameter('roi.rear.rectangles', [0, 0, 0, 8]).successful
    assert not stage.set_parameter('roi.rear.rectangles', [0, 0, -1, 8]).successful
    cameras[1].publish(frame(paint(mask), stamp=2.0))
    wait_until(lambda: len(masks[1]) == 2, 'the next mask')
    np.testing.assert_array_equal(pixels(masks[1][1])[8:], 255)
    cameras[0].publish(frame(paint(stripes(96, 160)), stamp=2.0))
    assert 'is 480 x 320 px, the frame 160 x 96' in stage.wait_for_log('front', 'rejected')


def test_a_region_that_cannot_be_read_is_told_at_once(make_stage: MakeStage) -> None:
    stage = make_stage(roi__mask='/nowhere/seen.png')
    line = stage.wait_for_log('cannot be configured')
    assert '/nowhere/seen.png' in line
    stage.wait_for_state('unconfigured')


def test_attention_of_a_camera() -> None:
    attention = Attention()
    budget = attention.budget(200.0, 50.0)
    assert budget.milliseconds == 150.0
    assert attention.budget(40.0, 50.0) is budget
    assert budget.milliseconds == 1.0  # decoding took it all
    budget.memory = object()  # type: ignore[assignment]
    attention.forget()
    assert budget.memory is None
    region = attention.roi(Region((0, 10, 0, 0)))
    assert attention.roi(Region((0, 10, 0, 0))) is region
    assert attention.roi(Region((0, 20, 0, 0))) is not region
    assert not Region().is_part
