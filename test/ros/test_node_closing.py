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

"""What fails while something is closed: it is told, the rest is closed, and the state is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
from stage import example_mask, frame, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.ros import node as node_module
from uhr_seg_ros.ros.camera import Camera, CameraInput
from uhr_seg_ros.ros.node import SegmentationNode
from uhr_seg_ros.ros.outputs import CameraOutput
from uhr_seg_ros.ros.points.cloud_labeler import CloudLabeler

MakeStage = Callable[..., Stage]
NODE = '/segmentation: segmentation'

# What fails, once, and whether its work is done before that.
FAULTS = {
    'cameras': [
        (Camera, 'close_input', False),
        (Camera, 'close_output', False),
        (CameraInput, 'close', False),
        (CameraOutput, 'close', True),
    ],
    'points': [
        (CloudLabeler, 'close_input', False),
        (CloudLabeler, 'close', False),
    ],
    'topics': [
        (SegmentationNode, 'destroy_lifecycle_publisher', True),
        (SegmentationNode, 'destroy_publisher', False),
        (SegmentationNode, 'destroy_subscription', False),
    ],
    'memory': [
        (Segmenter, 'close', False),
        (node_module, 'trim_heap', False),
    ],
}


def break_once(patch: pytest.MonkeyPatch, owner: Any, name: str, *, works: bool) -> list[str]:
    """Let the next call of a function fail, and return a list that is empty until then."""
    original, broken = getattr(owner, name), []

    def fail(*arguments: Any, **more: Any) -> Any:
        if broken:
            return original(*arguments, **more)
        broken.append(f'{name} is broken')
        if works:
            original(*arguments, **more)
        raise ValueError(broken[0])

    patch.setattr(owner, name, fail)
    return broken


def expect_state(stage: Stage, *labels: str) -> str:
    """Demand one of these states of rclpy, and the same of the diagnostics."""
    state = stage.state()
    assert state in labels
    wait_until(lambda: stage.values(NODE).get('state') == state, f'diagnostics say {state}')
    return state


def expect_one_of_each(stage: Stage, masks: list, processed: int) -> None:
    """Demand that the node has every topic once, and gives one mask for one frame."""
    camera = stage.camera()
    for name in ('mask', 'confidence', 'points', 'label_info_json'):
        topic = f'/segmentation/{name}'
        wait_until(lambda topic=topic: stage.watcher.count_publishers(topic) == 1, f'one {topic}')
    for topic in ('/image_raw', '/points', '/camera_info'):
        wait_until(lambda topic=topic: stage.watcher.count_subscribers(topic) == 1, f'one {topic}')
    wait_until(lambda: stage._is_wanted('/segmentation/mask'), 'somebody who wants masks')
    masks.clear()
    camera.publish(frame(paint(example_mask()), processed))
    stage.wait_for_count(processed=processed)
    wait_until(lambda: masks, 'a mask')
    assert [mask.header.stamp.sec for mask in masks] == [processed]
    stage.watcher.destroy_publisher(camera)


@pytest.mark.parametrize('kind', FAULTS)
def test_step_that_fails_while_closing(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    stage = make_stage(cloud__enabled=True)
    stage.wait_for_state('active')
    (masks,) = stage.outputs('mask')
    for count, (owner, name, works) in enumerate(FAULTS[kind], 1):
        with monkeypatch.context() as patch:
            broken = break_once(patch, owner, name, works=works)
            for transition in ('deactivate', 'cleanup'):
                assert stage.change(transition) == (not broken)
                state = expect_state(stage, 'unconfigured' if broken else 'inactive')
                if state == 'unconfigured':
                    break
        assert broken
        wait_until(lambda broken=broken: broken[0] in stage.status(NODE).message, broken[0])
        assert stage.status(NODE).level == DiagnosticStatus.ERROR
        stage.wait_for_log(broken[0])
        assert stage.change('configure') and stage.change('activate')
        expect_state(stage, 'active')
        assert broken[0] not in stage.status(NODE).message
        expect_one_of_each(stage, masks, count)


@pytest.mark.parametrize(('owner', 'state'), [(Camera, 'active'), (Segmenter, 'inactive')])
def test_step_that_fails_while_shutting_down(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch, owner: type, state: str
) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    assert state == 'active' or stage.change('deactivate')
    broken = break_once(
        monkeypatch, owner, 'close_output' if owner is Camera else 'close', works=False
    )
    assert not stage.change('shutdown')
    expect_state(stage, 'finalized')
    assert broken[0] in stage.status(NODE).message
    wait_until(lambda: not stage.watcher.count_publishers('/segmentation/mask'), 'no mask')
    wait_until(lambda: not stage.watcher.count_subscribers('/image_raw'), 'no subscription')


def test_transition_that_raises_is_told(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    with monkeypatch.context() as patch:
        broken = break_once(patch, node_module.Worker, 'pause', works=False)
        assert not stage.change('deactivate')
    expect_state(stage, 'unconfigured')
    stage.wait_for_log('cannot be deactivated', broken[0])
    wait_until(lambda: not stage.watcher.count_subscribers('/image_raw'), 'no subscription')


def test_camera_that_cannot_be_followed_does_not_end_the_node(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = break_once(monkeypatch, Camera, 'check_publishers', works=False)
    stage = make_stage()
    stage.wait_for_log('following its publishers', 'check_publishers is broken')
    assert broken
    stage.wait_for_state('active')
    stage.camera().publish(frame(paint(example_mask())))
    stage.wait_for_count(processed=1)
