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
The node on the GPU path: real messages over DDS, real strategy and kernels.

Stand-ins are the driver, pycuda and TensorRT (test/engines).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.publisher import Publisher
from small_disk import SmallDisk
from stage import example_mask, frame, pixels, Stage, wait_until
from standin_backend import StandIn
from tiny_bundle import make_tiny_bundle, paint

from uhr_seg_ros.core.classes import ClassSet

MakeStage = Callable[..., Stage]
NODE = '/segmentation: segmentation'


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """Put stand-ins in the place of driver, CUDA and TensorRT."""
    return StandIn(monkeypatch, tmp_path / 'cache', '10.3.0')


def make_gpu_stage(make_stage: MakeStage, **parameters: object) -> Stage:
    """Start the node on the stand-ins, for frames of the example's size."""
    height, width = example_mask().shape
    usual = {'backend': 'tensorrt', 'precision': 'fp32', 'input_size': [width, height]}
    return make_stage(**{**usual, **parameters})


def test_masks_and_pictures(make_stage: MakeStage, stand_in: StandIn) -> None:
    stage = make_gpu_stage(make_stage, overlay__scale=1.0)
    camera = stage.camera()
    masks, overlays, colors = stage.outputs('mask', 'overlay', 'color_mask')
    outputs = masks, overlays, colors
    for count in range(1, 5):
        camera.publish(frame(paint(example_mask()), count))
        wait_until(lambda count=count: {len(each) for each in outputs} == {count}, 'outputs')
    for message in masks:
        np.testing.assert_array_equal(pixels(message), example_mask())
    np.testing.assert_array_equal(pixels(colors[-1]), paint(example_mask()))
    values = stage.values(NODE)
    assert values['backend'] == 'tensorrt'
    assert values['precision'] == 'fp32'
    assert values['backend_version'] == 'TensorRT 10.3.0'
    assert stage.status(NODE).level == DiagnosticStatus.OK
    wait_until(lambda: stage.values(NODE).get('engines_p50_ms'), 'the time of the engines')
    lines = '\n'.join(stage.log_lines())
    assert 'building engine tiny-detail-fp32' in lines
    assert 'same class as ONNX Runtime on 100.000%' in lines


def test_another_size_is_built_when_it_comes(make_stage: MakeStage, stand_in: StandIn) -> None:
    stage = make_gpu_stage(make_stage, input_size=[64, 64])
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    assert stand_in.trt.notes.built == 3
    camera.publish(frame(paint(example_mask()), 1))
    wait_until(lambda: masks, 'a mask')
    np.testing.assert_array_equal(pixels(masks[0]), example_mask())
    assert stand_in.trt.notes.built == 6


def test_another_bundle_is_loaded_by_the_worker(
    make_stage: MakeStage, stand_in: StandIn, tmp_path: Path
) -> None:
    """What is of CUDA belongs to the thread that opens it, and both are open for a moment."""
    names, colors = ('leaf', 'lake', 'roof'), ((0, 255, 0), (0, 0, 255), (255, 0, 0))
    other = make_tiny_bundle(tmp_path / 'other', ClassSet(names, colors), name='other')
    stage = make_gpu_stage(make_stage)
    stage.wait_for_state('active')
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    assert stage.set_parameter('bundle', str(other)).successful
    stage.wait_for_log('other on tensorrt runs in the place of')
    camera.publish(frame(paint(example_mask()), 1))
    wait_until(lambda: masks, 'a mask', last=stage.log_lines)
    np.testing.assert_array_equal(pixels(masks[0]), np.array([2, 0, 1])[example_mask()])


def test_explicit_tensorrt_fails_to_configure(make_stage: MakeStage, stand_in: StandIn) -> None:
    stand_in.trt.notes.refuses = 'no implementation for node X'
    stage = make_gpu_stage(make_stage)
    # The reason is told while the transition still ends.
    wait_until(
        lambda: stage.status(NODE) and stage.values(NODE)['state'] == 'unconfigured', 'the end'
    )
    status = wait_until(
        lambda: (found := stage.status(NODE)).level == DiagnosticStatus.ERROR and found, 'an error'
    )
    assert 'no implementation for node X' in status.message


def test_auto_goes_on_with_the_cpu(make_stage: MakeStage, stand_in: StandIn) -> None:
    stand_in.trt.notes.refuses = 'no implementation for node X'
    stage = make_gpu_stage(make_stage, backend='auto')
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    camera.publish(frame(paint(example_mask()), 1))
    wait_until(lambda: masks, 'a mask')
    wait_until(
        lambda: (found := stage.status(NODE)) and found.level == DiagnosticStatus.WARN,
        'a warning',
    )
    assert 'no implementation for node X' in stage.status(NODE).message


def test_engines_of_another_size_are_refused(
    make_stage: MakeStage, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node goes on in fp32, and says so as it does when it starts."""
    stage = make_gpu_stage(make_stage, backend='auto', precision='auto', input_size=[64, 64])
    wait_until(lambda: stage.values(NODE).get('precision') == 'fp16', 'an open model')
    real = stand_in.trt._Engine.create_execution_context

    def spoiled(engine: object) -> object:
        for name, values in engine._outputs.items():
            if name == 'quarter_logits' and values.dtype == np.float16:
                engine._session = SimpleNamespace(
                    run=lambda names, feeds: [-each.copy() for each in engine._outputs.values()]
                )
        return real(engine)

    monkeypatch.setattr(stand_in.trt._Engine, 'create_execution_context', spoiled)
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    camera.publish(frame(paint(example_mask()), 1))
    wait_until(lambda: masks, 'a mask')
    np.testing.assert_array_equal(pixels(masks[0]), example_mask())
    status = wait_until(
        lambda: (found := stage.status(NODE)).level == DiagnosticStatus.WARN and found, 'a warning'
    )
    assert status.message.startswith('tensorrt computes in fp32: the fp16 engines of tiny are ')
    wait_until(lambda: stage.values(NODE)['precision'] == 'fp32', 'what runs now')
    lines = [line for line in stage.log_lines() if line.startswith('tensorrt computes in fp32: ')]
    assert lines == [status.message]


def test_services_are_answered_during_a_build(
    make_stage: MakeStage, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stand_in.trt.Builder.build_serialized_network
    begun, go_on = Event(), Event()

    def slow(self: object, network: object, config: object) -> bytes:
        begun.set()
        assert go_on.wait(30)
        return real(self, network, config)

    monkeypatch.setattr(stand_in.trt.Builder, 'build_serialized_network', slow)
    stage = make_gpu_stage(make_stage)
    try:
        assert begun.wait(30)
        assert stage.state() == 'configuring'
        wait_until(lambda: stage.values(NODE).get('state') == 'configuring', 'diagnostics')
    finally:
        go_on.set()
    wait_until(lambda: stage.state() == 'active', 'an active node')


def unwritable(kind: str, disk: SmallDisk) -> Path:
    """Return a cache folder in which nothing can be written, for this reason."""
    if kind == 'full':
        disk.fill()
    elif kind == 'read-only':
        disk.make_read_only()
    else:
        (disk.path / 'cache').write_text('a file where the folder should be')
    return disk.path / 'cache'


@pytest.mark.parametrize(
    ('kind', 'reason'),
    [
        ('full', 'No space left on device'),
        ('read-only', 'Read-only file system'),
        ('a file', 'File exists'),
    ],
)
def test_engines_that_cannot_be_kept_run(
    make_stage: MakeStage, stand_in: StandIn, small_disk: SmallDisk, kind: str, reason: str
) -> None:
    folder = unwritable(kind, small_disk)
    stage = make_gpu_stage(make_stage, engine_cache=str(folder))
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    for count in (1, 2, 3):
        camera.publish(frame(paint(example_mask()), count))
        wait_until(lambda count=count: len(masks) == count, 'a mask')
    np.testing.assert_array_equal(pixels(masks[-1]), example_mask())
    stage.wait_for_count(received=3, processed=3, dropped=0, rejected=0)
    status = stage.status(NODE)
    assert status.level == DiagnosticStatus.WARN
    assert 'engines are built again at the next start' in status.message
    assert f'{folder} cannot be written ({reason}): choose a folder' in status.message
    assert stage.values(NODE)['backend'] == 'tensorrt'
    lines = [line for line in stage.log_lines() if 'built again' in line]
    assert len(lines) == 1  # not one for each engine


def test_disk_that_has_room_again(
    make_stage: MakeStage, stand_in: StandIn, small_disk: SmallDisk
) -> None:
    folder = unwritable('full', small_disk)
    stage = make_gpu_stage(make_stage, engine_cache=str(folder))
    stage.wait_for_state('active')
    wait_until(lambda: stage.status(NODE).level == DiagnosticStatus.WARN, 'a warning')
    small_disk.make_room()
    built = stand_in.trt.notes.built
    assert all(map(stage.change, ('deactivate', 'cleanup', 'configure', 'activate')))
    assert stand_in.trt.notes.built == 2 * built
    wait_until(lambda: stage.status(NODE).level == DiagnosticStatus.OK, 'all is well')
    assert len(list(folder.glob('*.engine'))) == built
    stage.camera().publish(frame(paint(example_mask()), 1))
    stage.wait_for_count(received=1, processed=1)


def lose(stage: Stage, stand_in: StandIn) -> Publisher:
    """Segment a frame, lose the GPU, and send another one; gives the camera."""
    camera = stage.camera()
    camera.publish(frame(paint(example_mask()), 1))
    stage.wait_for_count(received=1, processed=1)
    stand_in.cuda.lose()
    camera.publish(frame(paint(example_mask()), 2))
    stage.wait_for_count(received=2, processed=1, rejected=1)
    return camera


def test_lost_gpu_ends_the_process(make_stage: MakeStage, stand_in: StandIn) -> None:
    stage = make_gpu_stage(make_stage)
    lose(stage, stand_in)
    assert 'illegal memory access' in stage.node.fatal
    status = wait_until(
        lambda: (found := stage.status(NODE)).level == DiagnosticStatus.ERROR and found, 'an error'
    )
    assert 'cannot go on: CUDA: cuEventSynchronize failed: an illegal' in status.message


def test_auto_goes_on_with_the_cpu_when_the_gpu_is_lost(
    make_stage: MakeStage, stand_in: StandIn
) -> None:
    stage = make_gpu_stage(make_stage, backend='auto')
    (masks,) = stage.outputs('mask')
    camera = lose(stage, stand_in)
    camera.publish(frame(paint(example_mask()), 3))
    stage.wait_for_count(received=3, processed=2, rejected=1)
    wait_until(lambda: len(masks) == 2, 'a mask')
    np.testing.assert_array_equal(pixels(masks[-1]), example_mask())
    assert not stage.node.fatal
    status = wait_until(
        lambda: (found := stage.status(NODE)).level == DiagnosticStatus.WARN and found, 'a warning'
    )
    assert 'tensorrt is not used: CUDA: cuEventSynchronize failed' in status.message
    assert stage.values(NODE)['backend'] == 'onnxruntime'
    stage.wait_for_log('tensorrt is not used', 'illegal memory access')
