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

"""What goes wrong around a running node: it goes on by itself, or says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import shutil
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from stage import example_mask, frame, RELIABLE, Stage, wait_until
from tiny_bundle import paint

MakeStage = Callable[..., Stage]
NODE = '/segmentation: segmentation'


def image(stamp: float) -> Image:
    """Return a good frame."""
    return frame(paint(example_mask()), stamp)


def test_camera_that_vanishes_and_returns(make_stage: MakeStage) -> None:
    stage = make_stage(no_frame_warning_s=0.5)
    for count in (1, 2, 3):
        camera = stage.camera()
        camera.publish(image(count))
        stage.wait_for_count(received=count, processed=count)
        stage.watcher.destroy_publisher(camera)
        wait_until(
            lambda: stage.status('/image_raw').level == DiagnosticStatus.STALE, 'silence is told'
        )
    stage.wait_for_log('no frame on /image_raw', 'publishers: none')


def test_clock_that_jumps_back_and_stands_still(make_stage: MakeStage) -> None:
    stage = make_stage(use_sim_time=True)
    clock = stage.watcher.create_publisher(Clock, '/clock', RELIABLE)
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    times = [100.0, 100.1, 5.0, 5.1, 5.1, 0.0, 2e9]
    for count, seconds in enumerate(times, 1):
        now = Clock()
        now.clock.sec, now.clock.nanosec = int(seconds), int(seconds % 1 * 1e9)
        clock.publish(now)
        camera.publish(image(seconds))
        wait_until(lambda count=count: len(masks) == count, f'mask {count}')
    values = stage.wait_for_count(received=7, processed=7, dropped=0, rejected=0)
    assert values['num_non_increasing_msg'] == '3'


def test_bundle_that_is_deleted_while_active(
    make_stage: MakeStage, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    stage = make_stage(bundle=str(bundle))
    camera = stage.camera()
    shutil.rmtree(bundle)
    camera.publish(image(1))
    stage.wait_for_count(received=1, processed=1)  # what is loaded stays
    for transition in ('deactivate', 'cleanup'):
        assert stage.change(transition)
    assert not stage.change('configure')
    stage.wait_for_log('cannot be configured', str(bundle))
    wait_until(lambda: stage.status(NODE).level == DiagnosticStatus.ERROR, 'an error')
    shutil.copytree(tiny_bundle, bundle)
    assert stage.change('configure') and stage.change('activate')
    stage.camera().publish(image(2))
    stage.wait_for_count(received=2, processed=2)


def test_second_node_of_the_same_name(make_stage: MakeStage, context: Any) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    second = Node('segmentation', context=context, start_parameter_services=False)
    try:
        wait_until(
            lambda: '2 nodes are called /segmentation' in stage.status(NODE).message, 'a warning'
        )
        assert stage.status(NODE).level == DiagnosticStatus.WARN
        stage.camera().publish(image(1))
        stage.wait_for_count(received=1, processed=1)
    finally:
        second.destroy_node()
    wait_until(
        lambda: stage.status(NODE).level == DiagnosticStatus.OK,
        'it is alone again',
        last=lambda: stage.status(NODE).message,
    )


@pytest.mark.parametrize('encoding', ['rgb8', 'mono8', 'bgra8'])
def test_encoding_that_changes_on_the_way(make_stage: MakeStage, encoding: str) -> None:
    stage = make_stage()
    camera = stage.camera()
    camera.publish(image(1))
    stage.wait_for_count(processed=1)  # else the next one takes its place
    channels = {'rgb8': 3, 'mono8': 1, 'bgra8': 4}[encoding]
    pixels = paint(example_mask())[..., [0] * channels].squeeze()
    camera.publish(frame(pixels, 2, encoding))
    stage.wait_for_count(received=2, processed=2)
    wait_until(lambda: stage.values('/image_raw')['encoding'] == encoding, 'the new encoding')
