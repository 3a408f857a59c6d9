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

"""The node on request: frames ignored and counted, and one of them kept in a folder."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from sensor_msgs.msg import Image
from small_disk import SmallDisk
from stage import example_mask, frame, Stage, wait_until
from std_msgs.msg import Header
from tiny_bundle import paint, TINY_CLASSES

from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.visualization import OverlayPainter
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.diagnostics import IGNORES
from uhr_seg_ros.ros.samples import Sample, write_samples
from uhr_seg_ros.ros.topics.header_only import header_type

MakeStage = Callable[..., Stage]


@pytest.fixture
def std_srvs() -> Any:
    return pytest.importorskip('std_srvs.srv', reason='std_srvs is not installed')


def test_a_disabled_node_counts_frames_and_computes_nothing(
    make_stage: MakeStage, std_srvs: Any
) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    enable = std_srvs.SetBool, 'enable'
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    answer = stage.call(*enable, std_srvs.SetBool.Request(data=False))
    assert (answer.success, answer.message) == (True, IGNORES)
    for stamp in (1, 2):
        camera.publish(frame(paint(example_mask()), stamp))
    values = stage.wait_for_count(received=2, ignored=2, pending=0)
    # Nobody has looked at more than the header.
    assert values['encoding'] == '' or header_type(Image) is None
    for name in ('/image_raw', '/segmentation: segmentation'):
        wait_until(lambda name=name: stage.status(name).message == IGNORES, f'{name} to say so')
        assert stage.status(name).level == DiagnosticStatus.OK
    refused = stage.call(std_srvs.Trigger, 'save_sample', std_srvs.Trigger.Request())
    assert (refused.success, 'save_sample.folder is empty' in refused.message) == (False, True)
    assert stage.set_parameter('save_sample.folder', '/nowhere').successful
    refused = stage.call(std_srvs.Trigger, 'save_sample', std_srvs.Trigger.Request())
    assert not refused.success
    assert IGNORES in refused.message

    assert stage.call(*enable, std_srvs.SetBool.Request(data=True)).success
    camera.publish(frame(paint(example_mask()), 3))
    wait_until(lambda: masks, 'a mask')
    assert masks[0].header.stamp.sec == 3
    stage.wait_for_count(received=3, ignored=2, processed=1)
    wait_until(lambda: stage.status('/image_raw').message == 'OK', 'the end of it')


def test_samples_hold_what_became_of_a_frame(
    make_stage: MakeStage, std_srvs: Any, tmp_path: Path
) -> None:
    stage = make_stage(
        cameras=['front', 'robot/left'], **{'save_sample.folder': str(tmp_path / 'samples')}
    )
    stage.wait_for_state('active')
    cameras = [stage.camera(f'{name}/image_raw') for name in ('front', 'robot/left')]
    mask = example_mask()
    for count in (1, 2):
        future = stage.begin_call(std_srvs.Trigger, 'save_sample', std_srvs.Trigger.Request())
        wait_until(lambda: stage.node._processor.samples.wanted, 'the call')
        for camera in cameras:
            camera.publish(frame(paint(mask), stamp=10 + count))
        wait_until(future.done, 'the answer')
        sample = tmp_path / f'samples/sample_{count:06d}'
        assert (future.result().success, future.result().message) == (True, str(sample))
    for name in ('front', 'robot/left'):
        folder = sample / name
        files = {'frame.png', 'mask.png', 'overlay.jpg', 'sample.json'}
        assert {each.name for each in folder.iterdir()} == files
        np.testing.assert_array_equal(cv2.imread(str(folder / 'frame.png')), paint(mask))
        found = cv2.imread(str(folder / 'mask.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(found, mask)
        shown = OverlayPainter(TINY_CLASSES, 0.5, 0.5).paint(paint(mask), mask)
        assert np.abs(cv2.imread(str(folder / 'overlay.jpg')).astype(int) - shown).mean() < 8
        content = json.loads((folder / 'sample.json').read_text())
        assert (content['topic'], content['size']) == (f'/{name}/image_raw', [160, 96])
        assert (content['frame_id'], content['stamp']['sec']) == ('camera', 12)
        assert content['classes'][1] == {'id': 1, 'name': 'green', 'color': [0, 255, 0]}
        assert content['made_by']['bundle'] == 'tiny'
        assert 0 < content['times_ms']['total'] <= content['times_ms']['latency']

    # What cannot be written is told, whatever it raises, and nothing ends.
    assert stage.set_parameter('save_sample.folder', '~nobody_of_this_name/samples').successful
    future = stage.begin_call(std_srvs.Trigger, 'save_sample', std_srvs.Trigger.Request())
    wait_until(lambda: stage.node._processor.samples.wanted, 'the call')
    for camera in cameras:
        camera.publish(frame(paint(mask), stamp=12.5))
    wait_until(future.done, 'the answer')
    assert (future.result().success, 'home' in future.result().message) == (False, True)
    assert stage.set_parameter('save_sample.folder', str(tmp_path / 'samples')).successful

    # Whoever closes the inputs does not let the caller wait for a frame that cannot come.
    future = stage.begin_call(std_srvs.Trigger, 'save_sample', std_srvs.Trigger.Request())
    wait_until(lambda: stage.node._processor.samples.wanted, 'the call')
    cameras[0].publish(frame(paint(mask), stamp=13))
    wait_until(lambda: len(stage.node._processor.samples.wanted) == 1, 'one of both frames')
    assert stage.change('deactivate')
    wait_until(future.done, 'the answer')
    answer = future.result()
    assert not answer.success
    assert 'sample_000003 lacks a frame of robot/left: the node is' in answer.message
    assert (tmp_path / 'samples/sample_000003/front/mask.png').exists()
    assert not (tmp_path / 'samples/sample_000003/robot').exists()


def sample(height: int = 4) -> Sample:
    mask = np.zeros((height, 6), np.uint8)
    image = RawFrame.of_bgr(np.random.default_rng(1).integers(0, 255, (height, 6, 3), np.uint8))
    return Sample(Header(), '/image_raw', image, Segmentation(mask, {}), {}, {})


def test_no_sample_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / 'sample_000007').mkdir()
    (tmp_path / 'sample_000008').touch()
    (tmp_path / 'sample_of_mine').mkdir()
    assert write_samples(tmp_path, {'': sample()}).name == 'sample_000009'
    assert write_samples(tmp_path, {'': sample()}).name == 'sample_000010'
    assert not [each for each in tmp_path.iterdir() if each.name.startswith('.')]


def test_a_full_disk_leaves_no_half_of_a_sample(small_disk: SmallDisk) -> None:
    with pytest.raises(OSError, match='No space left on device'):
        write_samples(small_disk.path / 'samples', {'': sample(height=40_000)})
    assert not list((small_disk.path / 'samples').iterdir())
