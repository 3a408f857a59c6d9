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

"""Other classes and another bundle while the node is active: masks and their names agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from sensor_msgs.msg import Image
from stage import example_mask, frame, LATCHED, pixels, Stage, wait_until
from std_msgs.msg import String
from tiny_bundle import make_tiny_bundle, paint

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.ros import labels as labels_module
from uhr_seg_ros.ros.frame_processor import FrameProcessor

MakeStage = Callable[..., Stage]
NODE = '/segmentation: segmentation'

#: The same colors in another order: what was 0, 1, 2 is 2, 0, 1.
OTHER = ClassSet(('leaf', 'lake', 'roof'), ((0, 255, 0), (0, 0, 255), (255, 0, 0)))
AS_OTHER = np.array([2, 0, 1], np.uint8)


@pytest.fixture(scope='module')
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('other') / 'other'
    return make_tiny_bundle(folder, OTHER, name='other')


class Watch:
    """A node with one camera, its masks, and the names that it has published."""

    def __init__(self, make_stage: MakeStage, **parameters: Any) -> None:
        self.stage = make_stage(**parameters)
        self.stage.wait_for_state('active')
        self.camera = self.stage.camera()
        (self.masks,) = self.stage.outputs('mask')
        if labels_module.LabelInfo is None:
            self._labels = self.stage.collect(String, '/segmentation/label_info_json', LATCHED)
        else:
            kind = labels_module.LabelInfo
            self._labels = self.stage.collect(kind, '/segmentation/label_info', LATCHED)

    def see(self, mask: np.ndarray) -> Image:
        """Return the mask that the node publishes of a frame."""
        count = len(self.masks)
        self.camera.publish(frame(paint(mask), stamp=count + 1.0))
        return wait_until(lambda: self.masks[count:], 'a mask')[0]

    def names(self) -> dict[str, int]:
        """Return the ids by the names that were published last."""
        if not self._labels:
            return {}
        newest = self._labels[-1]
        if isinstance(newest, String):
            content = json.loads(newest.data)['class_map']
            return {each['class_name']: each['class_id'] for each in content}
        return {each.class_name: each.class_id for each in newest.class_map}

    def wait_for_names(self, **names: int) -> None:
        wait_until(lambda: self.names() == names, str(names), last=self.names)

    def set(self, **parameters: Any) -> str:
        """Set parameters one by one; return why the last one was refused, or an empty string."""
        reason = ''
        for name, value in parameters.items():
            reason = self.stage.set_parameter(name.replace('__', '.'), value).reason
        return reason


def test_classes_change_between_two_frames(make_stage: MakeStage) -> None:
    watch = Watch(make_stage, classes__hide=['green'])
    mask = example_mask()
    watch.wait_for_names(red=0, blue=2)
    seen = pixels(watch.see(mask))
    np.testing.assert_array_equal(seen, np.where(mask == 1, 255, mask))
    refused = watch.set(classes__hide=['gren'])
    assert "classes.hide has 'gren' (is it green?): the bundle has red, green, blue" in refused
    assert watch.set(classes__hide=['']) == ''
    assert watch.set(classes__merge=['any=blue+green'], classes__colors=['any=#0000ff']) == ''
    watch.wait_for_names(red=0, any=1)
    np.testing.assert_array_equal(pixels(watch.see(mask)), np.minimum(mask, 1))
    assert 'expected new=a+b' in watch.set(classes__merge=['blue'])
    assert "makes 'any': name that" in watch.set(classes__hide=['blue'])
    assert watch.set(classes__colors=[''], classes__merge=[''], confidence__threshold=1.0) == ''
    watch.wait_for_names(red=0, green=1, blue=2)
    doubted = wait_until(lambda: (pixels(watch.see(mask)) == 255).all(), 'nothing to be sure of')
    assert doubted


def test_a_name_that_the_bundle_does_not_have_ends_configuring(make_stage: MakeStage) -> None:
    stage = make_stage(classes__merge=['plant=tree+grass'])
    line = stage.wait_for_log('cannot be configured', "classes.merge has 'tree'")
    assert 'red, green, blue' in line
    stage.wait_for_state('unconfigured')


def test_another_bundle_takes_the_place_of_the_one_that_runs(
    make_stage: MakeStage, tiny_bundle: Path, other_bundle: Path
) -> None:
    watch = Watch(make_stage, classes__hide=['green'])
    stage, mask = watch.stage, example_mask()
    refused = watch.set(bundle=str(other_bundle))
    assert "classes.hide has 'green': the bundle has leaf, lake, roof" in refused
    assert 'no bundle' in watch.set(bundle=str(other_bundle / 'nowhere'))
    assert watch.set(classes__hide=['']) == ''
    np.testing.assert_array_equal(pixels(watch.see(mask)), mask)

    assert watch.set(bundle=str(other_bundle)) == ''
    stage.wait_for_log('loading bundle', str(other_bundle), f'beside {tiny_bundle}')
    stage.wait_for_log('other on onnxruntime runs in the place of', str(tiny_bundle))
    np.testing.assert_array_equal(pixels(watch.see(mask)), AS_OTHER[mask])
    watch.wait_for_names(leaf=0, lake=1, roof=2)
    wait_until(lambda: stage.values(NODE).get('bundle') == 'other', 'the diagnostics')
    assert stage.status(NODE).level == DiagnosticStatus.OK
    assert watch.set(classes__hide=['roof']) == ''
    wait_until(lambda: (pixels(watch.see(mask)) == 255).any(), 'a class that is hidden')
    assert stage.change('deactivate')
    assert watch.set(classes__hide=[''], bundle=str(tiny_bundle)) == ''
    watch.wait_for_names(red=0, green=1, blue=2)
    assert stage.change('activate')


def test_a_bundle_that_cannot_be_loaded_is_undone(
    make_stage: MakeStage, tiny_bundle: Path, other_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only opening the engines tells comes after the parameter was accepted."""
    watch = Watch(make_stage)
    stage, mask = watch.stage, example_mask()

    def fail(*_: Any) -> None:
        watch.see(mask)  # frames go on meanwhile
        assert stage.node._live.loading == str(other_bundle)
        raise MemoryError('no room for both')

    monkeypatch.setattr(FrameProcessor, 'open', fail)
    assert watch.set(bundle=str(other_bundle)) == ''
    stage.wait_for_log(f'bundle {other_bundle} could not be loaded, {tiny_bundle} runs on')
    wait_until(lambda: stage.node._declared.settings.bundle == str(tiny_bundle), 'the old value')
    assert stage.node.get_parameter('bundle').value == str(tiny_bundle)
    wait_until(lambda: stage.status(NODE).level == DiagnosticStatus.WARN, 'the diagnostics')
    assert 'no room for both' in stage.status(NODE).message
    np.testing.assert_array_equal(pixels(watch.see(mask)), mask)

    # A load that nobody wants any more by the time that it is over says no longer that it goes on.
    monkeypatch.undo()
    live = stage.node._live
    live._load(replace(stage.node._declared.settings, bundle=str(other_bundle)))
    wait_until(lambda: not live.loading, 'its end')
    np.testing.assert_array_equal(pixels(watch.see(mask)), mask)
