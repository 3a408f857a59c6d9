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

"""Engines that hang: transitions give up with the reason, and what comes late is cleared away."""

from __future__ import annotations

from collections.abc import Callable
import math
import time

from diagnostic_msgs.msg import DiagnosticStatus
from gate import Gate
from hold import Hold
import pytest
from stage import example_mask, frame, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros.frame_processor import FrameProcessor, Segmenter

MakeStage = Callable[..., Stage]
NODE = '/segmentation: segmentation'
SHORT_S = 0.3


def hurry(stage: Stage) -> None:
    """Let transitions give up at once, where nothing that takes its time may go on."""
    for name in ('transition_timeout', 'configure_timeout'):
        assert stage.set_parameter(name, SHORT_S).successful


def relax(stage: Stage) -> None:
    """Return transitions their usual time again."""
    for name in ('transition_timeout', 'configure_timeout'):
        assert stage.set_parameter(name, 60.0).successful


@pytest.fixture
def hanging(make_stage: MakeStage, gate: Gate) -> Stage:
    """Return an active node that hangs in a frame."""
    stage = make_stage()
    camera = stage.camera()
    stage.wait_for_state('active')
    hurry(stage)
    gate.close()
    camera.publish(frame(paint(example_mask())))
    assert gate.reached.wait(30)
    return stage


def expect(stage: Stage, state: str, *parts: str) -> None:
    """Demand a state, of rclpy and of the diagnostics, and an error that has these parts."""
    assert stage.state() == state

    def is_told() -> bool:
        status = stage.status(NODE)
        has_failed = status.level == DiagnosticStatus.ERROR or not parts
        told = all(part in status.message for part in parts)
        return has_failed and told and stage.values(NODE)['state'] == state

    wait_until(is_told, f'{state} with {parts}', last=lambda: stage.status(NODE))


def segments(stage: Stage, processed: int) -> None:
    """Demand that the node, once active, segments a frame."""
    stage.camera().publish(frame(paint(example_mask()), 9))
    stage.wait_for_count(processed=processed)
    assert stage.watcher.count_publishers('/segmentation/mask') == 1


def test_cleaning_up_gives_up_on_a_frame_and_can_be_repeated(hanging: Stage, gate: Gate) -> None:
    (masks,) = hanging.outputs('mask')
    assert hanging.change('deactivate')
    assert not hanging.change('cleanup')
    expect(hanging, 'inactive', 'cannot be cleaned up', 'inside a frame for', 'transition_timeout')
    assert hanging.watcher.count_publishers('/segmentation/mask') == 1  # still inactive in truth
    relax(hanging)
    gate.open()
    hanging.wait_for_count(received=1, processed=1, pending=0)
    assert hanging.change('activate')  # the models are there: what was given up never happens
    segments(hanging, 2)
    assert [mask.header.stamp.sec for mask in masks] == [9]
    assert hanging.change('deactivate')
    assert hanging.change('cleanup')
    expect(hanging, 'unconfigured')
    assert hanging.node._processor._segmenter is None


@pytest.mark.parametrize('state', ['active', 'inactive'])
def test_shutting_down_does_not_wait_for_a_frame_for_ever(
    hanging: Stage, gate: Gate, state: str
) -> None:
    assert state == 'active' or hanging.change('deactivate')
    assert not hanging.change('shutdown')
    expect(hanging, 'finalized', 'is shut down, but for the models', 'inside a frame for')
    wait_until(lambda: not hanging.watcher.count_publishers('/segmentation/mask'), 'no mask')
    relax(hanging)
    gate.open()
    hanging.wait_for_count(received=1, rejected=1, pending=0)
    wait_until(lambda: hanging.node._processor._segmenter is None, 'the models are unloaded')
    assert not any('Traceback' in line for line in hanging.log_lines())


def test_error_processing_does_not_wait_for_a_frame(
    hanging: Stage, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(camera: object) -> None:
        monkeypatch.undo()
        msg = 'no end today'
        raise ValueError(msg)

    monkeypatch.setattr('uhr_seg_ros.ros.node.Camera.close_input', fail)
    assert not hanging.change('deactivate')
    expect(hanging, 'unconfigured', 'no end today')
    assert not hanging.change('configure')
    expect(hanging, 'unconfigured', 'cannot be configured', 'inside a frame for')
    relax(hanging)
    gate.open()
    hanging.wait_for_count(received=1, rejected=1, pending=0)
    assert hanging.change('configure')
    assert hanging.change('activate')
    segments(hanging, 1)


def test_configuring_gives_up_on_a_warm_up_and_what_comes_late_is_unloaded(
    make_stage: MakeStage, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    unloading = Hold(monkeypatch, Segmenter, 'close')
    unloading.release()
    stage = make_stage(autostart=False)
    hurry(stage)
    gate.close()
    assert not stage.change('configure')
    parts = 'loading bundle', 'no sign of progress', 'configure_timeout 0.3'
    expect(stage, 'unconfigured', *parts)
    assert gate.reached.wait(30)
    assert not stage.change('configure')  # not doubled: the first one is still inside
    expect(stage, 'unconfigured', 'inside loading bundle', 'transition_timeout 0.3')
    relax(stage)
    answer = stage.begin_change('configure')
    wait_until(lambda: stage.state() == 'configuring', 'it waits for the first one')
    gate.open()
    wait_until(answer.done, 'the first one is over')
    assert answer.result().success
    assert unloading.ended == 1
    assert stage.change('activate')
    segments(stage, 1)


def test_shutting_down_does_not_wait_for_a_warm_up_for_ever(
    make_stage: MakeStage, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    unloading = Hold(monkeypatch, Segmenter, 'close')
    unloading.release()
    stage = make_stage(autostart=False)
    hurry(stage)
    gate.close()
    assert not stage.change('configure')
    assert not stage.change('shutdown')
    expect(stage, 'finalized', 'is shut down, but for the models', 'inside loading bundle')
    gate.open()
    wait_until(lambda: unloading.ended == 1, 'what came late is unloaded')


def test_progress_of_a_build_keeps_configuring(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = Hold(monkeypatch, FrameProcessor, 'load')
    stage = make_stage(autostart=False)
    hurry(stage)
    path = stage.node._processor
    for show in (
        lambda: path.engines.on_report('building'),
        lambda: path.engines.on_progress('build', 1, 2),
    ):
        before, path.engines.last_sign = time.monotonic(), -math.inf
        show()
        assert path.engines.last_sign >= before
    path.engines.last_sign = math.inf  # progress that never gets old
    answer = stage.begin_change('configure')
    assert loading.reached.wait(30)
    assert not loading.ended
    time.sleep(5 * SHORT_S)
    assert not answer.done()
    path.engines.last_sign = -math.inf
    wait_until(answer.done, 'it gives up')
    assert not answer.result().success
    loading.release()


def test_unloading_that_hangs(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    hurry(stage)
    unloading = Hold(monkeypatch, Segmenter, 'close')
    assert stage.change('deactivate')
    assert not stage.change('cleanup')
    expect(stage, 'unconfigured', 'unloading the models has shown no sign of progress')
    assert not stage.change('configure')
    expect(stage, 'unconfigured', 'inside unloading the models')
    relax(stage)
    unloading.release()
    assert stage.change('configure')
    assert stage.change('activate')
    segments(stage, 1)


def test_process_that_ends_while_it_waits(hanging: Stage, gate: Gate) -> None:
    assert hanging.set_parameter('transition_timeout', 0.0).successful
    assert hanging.change('deactivate')
    request = hanging.begin_change('cleanup')
    wait_until(lambda: hanging.state() == 'cleaningup', 'it waits')
    assert not hanging.node.stop(0.1)
    wait_until(request.done, 'the waiting is over')
    gate.open()
    assert hanging.node.stop(30.0)
