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

"""The node looks whether frames are such as its bundle is for, and says where they are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import shutil
from types import SimpleNamespace
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from stage import example_mask, frame, Stage, wait_until
from std_msgs.msg import Header
from tiny_bundle import edited_model, paint

from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.export.bundle_writing import add_graph
from uhr_seg_ros.export.novelty import Known, write_known
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros import camera as camera_module
from uhr_seg_ros.ros.domain_watch import DomainWatch
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache
from uhr_seg_ros.ros.parameters.settings import Settings

MASK = np.zeros((100, 200), np.uint8)
SETTINGS = Settings(camera_height=400.0)


def calibration(focal: float = 100.0, width: int = 100) -> CameraInfo:
    """Return a calibration for frames of another size than `MASK`."""
    info = CameraInfo(width=width, height=width // 2)
    info.k = [focal, 0.0, 50.0, 0.0, focal, 25.0, 0.0, 0.0, 1.0]
    return info


def watch_of(domain: Domain = Domain()) -> tuple[DomainWatch, CameraInfoCache]:  # noqa: B008
    calibrations = CameraInfoCache()
    bundle: Any = SimpleNamespace(name='tiny', domain=domain)
    return DomainWatch(bundle, calibrations), calibrations


def look(watch: DomainWatch, *novelties: float | None, settings: Settings = SETTINGS) -> str:
    for novelty in novelties:
        watch.look(Header(), Segmentation(MASK, {}, novelty=novelty), settings)
    return watch.problem(settings)


def test_one_strange_frame_is_no_news_and_many_are() -> None:
    watch, _ = watch_of(Domain(('nadir',)))
    assert not look(watch, 0.5, 3.0, 0.5, 3.0)
    assert 'unlike those that bundle tiny knows (novelty 3.00, where' in look(watch, 3.0)
    assert 'wrong anywhere. domain_warning false ends' in watch.problem(SETTINGS)
    assert watch.values()['novelty'] == '3.00'
    # It stays while the novelty is just below the limit, and ends with familiar ground.
    assert look(watch, *[0.95] * 15)
    assert not look(watch, *[0.5] * 15)
    assert not look(watch, *[0.95] * 15)
    assert look(watch, *[1.1] * 15)
    assert not watch.problem(replace(SETTINGS, domain_warning=False))


def test_a_bundle_that_cannot_tell_says_nothing() -> None:
    watch, _ = watch_of()
    assert not look(watch, *[None] * 20)
    assert watch.values() == {}


def test_the_size_of_a_pixel() -> None:
    watch, calibrations = watch_of(Domain(('nadir',), (0.3, 1.0)))
    assert not look(watch, None)
    assert watch.values() == {}  # not calibrated
    calibrations.add(calibration())
    # 400 m over a focal length of 100 px in 100 px of width, of which the mask has 200.
    assert 'a pixel shows 2 m of the ground' not in look(watch, None)
    assert watch.values()['ground_resolution'] == '2'
    higher = replace(SETTINGS, camera_height=500.0)
    said = look(watch, None, settings=higher)
    assert (
        'a pixel shows 2.5 m of the ground, and bundle tiny is for 0.3 to 1 m: fly lower' in said
    )
    assert 'fly higher' in look(watch, None, settings=replace(SETTINGS, camera_height=20.0))
    for unknown in ({'camera_height': 0.0}, {'camera_view': 'oblique'}):
        assert not look(watch, None, settings=replace(higher, **unknown))
        assert watch.values() == {}
    calibrations.add(calibration(focal=0.0))
    assert not look(watch, None, settings=higher)


@pytest.fixture
def strange_bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """Return a bundle to which every frame is new."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    with edited_model(folder) as content:
        content['domain'] = {'view': 'nadir', 'ground_resolution': [0.3, 1.0]}
    count = len(load_bundle(folder).classes)
    known = Known(np.zeros(count), np.eye(count), np.full((1, count), 1e3), 1.0)
    write_known(known, tmp_path / 'known.onnx')
    return add_graph(folder, 'novelty', tmp_path / 'known.onnx', {})


def test_the_node_warns_until_it_is_told_not_to(
    make_stage: Callable[..., Stage], strange_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_module, 'LOOK_PERIOD_S', 0.0)
    stage = make_stage(bundle=str(strange_bundle.path), camera_height=9000.0)
    camera, infos = stage.camera(), stage.camera('camera_info', CameraInfo)
    (masks,) = stage.outputs('mask')
    infos.publish(calibration())
    wait_until(lambda: stage.values('/image_raw').get('camera_info_received') == '1', 'it')
    for count in range(1, 6):
        camera.publish(frame(paint(example_mask()), stamp=count))
        wait_until(lambda count=count: len(masks) == count, f'mask {count}')
    stage.wait_for_log('the frames are unlike those that bundle tiny knows')
    # Five frames, and one line for each thing that is new.
    assert len([line for line in stage.log_lines() if 'm of the ground, and bundle' in line]) == 2

    def has(level: bytes, *parts: str) -> bool:
        status = stage.status('/image_raw')
        return status.level == level and all(part in status.message for part in parts)

    wait_until(
        lambda: has(DiagnosticStatus.WARN, 'm of the ground', 'unlike those that bundle tiny'),
        'a warning',
        last=lambda: stage.status('/image_raw'),
    )
    assert float(stage.values('/image_raw')['novelty']) > 1
    assert float(stage.values('/image_raw')['ground_resolution']) > 2
    monkeypatch.setattr(camera_module, 'LOOK_PERIOD_S', 1.0)
    watched = stage.node._cameras['']
    due = [watched.is_watched(now, SETTINGS) for now in (1e9, 1e9 + 0.5, 1e9 + 1.1, 1e9 + 1.2)]
    assert due == [True, False, True, False]
    assert stage.set_parameter('domain_warning', False).successful
    wait_until(lambda: 'unlike' not in stage.status('/image_raw').message, 'the end of it')
