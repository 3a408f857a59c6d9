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

"""Images in and masks out beside the cameras, and why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from gate import Gate
import numpy as np
from sensor_msgs.msg import CompressedImage
from stage import example_mask, frame, pixels, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros import segment_requests

MakeStage = Callable[..., Stage]


def test_images_are_answered_by_masks(make_stage: MakeStage, monkeypatch: Any) -> None:
    stage = make_stage(classes__hide=['green'], **{'mask.scale': 0.5})
    images = stage.camera('/segmentation/segment/image')
    files = stage.camera('/segmentation/segment/image/compressed', CompressedImage)
    (masks,) = stage.outputs('segment/mask')
    (answers,) = stage.outputs('segment/status', message_type=DiagnosticArray)

    def ask(publisher: Any, message: Any) -> DiagnosticStatus:
        count = len(answers)
        publisher.publish(message)
        wait_until(lambda: len(answers) > count, 'an answer')
        assert answers[-1].header == message.header
        return answers[-1].status[0]

    mask = example_mask(40, 64)
    expected = np.where(mask == 1, 255, mask)
    stage.node._worker.ignore(True)  # as ~/enable does, which is about cameras alone
    assert ask(images, frame(paint(mask), 7.0)).level == DiagnosticStatus.OK
    wait_until(lambda: masks, 'a mask')
    np.testing.assert_array_equal(pixels(masks[0]), expected)
    assert (masks[0].header.stamp.sec, masks[0].header.frame_id) == (7, 'camera')

    picture = CompressedImage(format='png', data=cv2.imencode('.png', paint(mask))[1].tobytes())
    picture.header.frame_id = 'file.png'
    assert ask(files, picture).message == 'OK'
    wait_until(lambda: len(masks) == 2, 'another mask')
    np.testing.assert_array_equal(pixels(masks[1]), expected)

    broken = ask(images, frame(paint(mask), encoding='rgba16'))
    assert broken.level == DiagnosticStatus.ERROR
    assert 'step' in broken.message
    monkeypatch.setattr(segment_requests, 'MAX_WAITING', 0)
    assert 'images wait already' in ask(images, frame(paint(mask))).message
    assert len(masks) == 2
    assert stage.change('deactivate')
    wait_until(lambda: not images.get_subscription_count(), 'the end of the subscription')


def test_images_that_wait_are_answered_after_deactivating(
    make_stage: MakeStage, gate: Gate
) -> None:
    stage = make_stage()
    images = stage.camera('/segmentation/segment/image')
    (masks,) = stage.outputs('segment/mask')
    (answers,) = stage.outputs('segment/status', message_type=DiagnosticArray)
    gate.close()
    images.publish(frame(paint(example_mask(40, 64)), 1.0))
    assert gate.reached.wait(30)
    images.publish(frame(paint(example_mask(40, 64)), 2.0))
    wait_until(lambda: stage.node._requests._waiting == 2, 'both images')
    assert stage.change('deactivate')
    gate.open()
    wait_until(lambda: len(answers) == len(masks) == 2, 'both answers')
    assert [each.header.stamp.sec for each in masks] == [1, 2]
