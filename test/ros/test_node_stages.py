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

"""Whatever stage a frame is in: parameters, subscribers, transitions and the end come then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hold import Hold
import pytest
from sensor_msgs.msg import Image
from stage import example_mask, frame, Stage, wait_until
from test_node_cloud import calibration, cloud, Rig, wall
from tiny_bundle import paint

from uhr_seg_ros.geometry.labeling import PointLabeler
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.ros import frame_processor
from uhr_seg_ros.ros.outputs import CameraOutput

MakeStage = Callable[..., Stage]

STAGES = [
    (CameraOutput, 'wanted'),
    (frame_processor, 'read_frame'),
    (Segmenter, 'submit'),
    (CameraOutput, 'publish'),
    (CameraOutput, 'publish_times'),
    (PointLabeler, 'label'),
]


class Scene:
    """A frame and its points again and again, held up in one stage or another."""

    def __init__(self, make_stage: MakeStage) -> None:
        self.rig = Rig(make_stage)
        self.stage = self.rig.stage
        self.stage.wait_for_state('active')
        self.rig.calibrate()
        self.sent = 0
        self.clouds = 0

    def send(self) -> None:
        """Publish points and, once they are there, their frame."""
        self.sent += 1
        self.clouds += 1
        self.rig.lidar.publish(cloud(wall(), self.sent))
        self.rig.wait_for(received=self.clouds)
        self.rig.camera.publish(frame(paint(example_mask()), self.sent))

    def restart(self) -> None:
        """Bring the node from unconfigured to active again; clouds are counted anew."""
        self.clouds = 0
        assert self.stage.change('configure')
        assert self.stage.change('activate')
        stage, rig = self.stage, self.rig
        for publisher in (rig.camera, rig.lidar, rig.infos):
            wait_until(publisher.get_subscription_count, 'the subscriptions')
        for name in ('mask', 'points'):
            topic = f'/segmentation/{name}'
            wait_until(lambda topic=topic: stage._is_wanted(topic), f'{name} with a subscriber')
        rig.infos.publish(calibration())


def test_closing_in_every_stage(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(make_stage)
    stage = scene.stage
    for owner, name in STAGES:
        with monkeypatch.context() as patch:
            hold = Hold(patch, owner, name)
            scene.send()
            assert hold.reached.wait(30), name
            viewer = stage.watcher.create_subscription(
                Image, '/segmentation/overlay', lambda _: None, 10
            )
            assert stage.set_parameter('overlay.scale', 0.25).successful
            assert not stage.set_parameter('bundle', 'other').successful
            assert stage.change('deactivate')
            answer = stage.begin_change('cleanup')
            stage.wait_for_state('cleaningup')
            stage.watcher.destroy_subscription(viewer)
            assert not answer.done()
            hold.release()
            wait_until(answer.done, 'the end of cleanup')
            assert answer.result().success
            assert stage.state() == 'unconfigured'
        scene.restart()
    scene.send()
    values = stage.wait_for_count(received=scene.sent, processed=scene.sent, rejected=0)
    assert values['clouds_rejected'] == '0'
    wait_until(lambda: stage.watcher.count_publishers('/segmentation/mask') == 1, 'one mask')
    assert not [line for line in stage.log_lines() if 'Traceback' in line]


@pytest.mark.parametrize(('owner', 'name'), STAGES[1::2])
def test_shutting_down_in_every_stage(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    scene = Scene(make_stage)
    hold = Hold(monkeypatch, owner, name)
    scene.send()
    assert hold.reached.wait(30)
    answer = scene.stage.begin_change('shutdown')
    scene.stage.wait_for_state('shuttingdown')
    hold.release()
    wait_until(answer.done, 'the end of shutdown')
    assert answer.result().success
    assert scene.stage.state() == 'finalized'
    wait_until(
        lambda: not scene.stage.watcher.count_publishers('/segmentation/mask'), 'no more masks'
    )
    assert not [line for line in scene.stage.log_lines() if 'Traceback' in line]
