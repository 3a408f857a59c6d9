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

"""Transitions, bundles that cannot be loaded, and loading that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import shutil
from threading import Event

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
from stage import example_mask, frame, Stage, wait_until
from tiny_bundle import edited_model, make_tiny_bundle, paint, TINY_CLASSES

from uhr_seg_ros.core import graph_files
from uhr_seg_ros.core.bundle import file_sha256
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import UhrSegError

MakeStage = Callable[..., Stage]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))


def test_transitions_twice(make_stage: MakeStage) -> None:
    stage = make_stage(autostart=False)
    camera = stage.watcher.create_publisher(type(frame(paint(example_mask()))), 'image_raw', 10)
    for count in (1, 2):
        assert stage.state() == 'unconfigured'
        assert stage.change('configure')
        assert stage.state() == 'inactive'
        (masks,) = stage.outputs('mask')
        assert camera.get_subscription_count() == 0
        assert stage.change('activate')
        assert stage.state() == 'active'
        wait_until(camera.get_subscription_count, 'a subscription')
        camera.publish(frame(paint(example_mask()), stamp=count))
        wait_until(lambda masks=masks: len(masks) == 1, 'a mask')
        assert stage.change('deactivate')
        wait_until(lambda: not camera.get_subscription_count(), 'the end of the subscription')
        assert stage.change('cleanup')
        topics = {publisher.topic_name for publisher in stage.node.publishers}
        assert '/segmentation/mask' not in topics
    assert stage.wait_for_count(received=2, processed=2)


def test_node_keeps_nothing_of_closed_topics(make_stage: MakeStage) -> None:
    stage = make_stage(autostart=False)
    kept = []
    for _ in range(3):
        for transition in ('configure', 'activate', 'deactivate', 'cleanup'):
            assert stage.change(transition)
        kept.append(len(stage.node.default_callback_group.entities))
    assert kept[0] == kept[-1]


def test_autostart_makes_it_active(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    stage.wait_for_log('tiny on onnxruntime is ready')


def test_engines_change_only_while_unconfigured(make_stage: MakeStage, bundle: Path) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    refused = stage.set_parameter('precision', 'fp16')
    assert not refused.successful
    assert 'only while the node is unconfigured' in refused.reason
    assert stage.change('deactivate')
    assert stage.change('cleanup')
    assert stage.set_parameter('precision', 'fp16').successful
    assert stage.set_parameter('bundle', str(bundle)).successful
    assert stage.change('configure')
    stage.wait_for_log('loading bundle', str(bundle))


def test_shutdown_from_any_state(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    assert stage.change('shutdown')
    assert stage.state() == 'finalized'


def missing(bundle: Path) -> str:
    shutil.rmtree(bundle)
    return 'no bundle'


def without_model_file(bundle: Path) -> str:
    (bundle / 'model.yaml').unlink()
    return 'has no model.yaml'


def broken_model_file(bundle: Path) -> str:
    (bundle / 'model.yaml').write_text('format: [1')
    return 'model.yaml cannot be read'


def graph_missing(bundle: Path) -> str:
    (bundle / 'detail.onnx').unlink()
    return 'detail.onnx cannot be read'


def graph_changed(bundle: Path) -> str:
    with (bundle / 'detail.onnx').open('ab') as file:
        file.write(b'!')
    return f'has sha256 {file_sha256(bundle / "detail.onnx")}'


def graph_of_garbage(bundle: Path) -> str:
    file = bundle / 'quarter.onnx'
    file.write_bytes(b'this is no graph')
    with edited_model(bundle) as model:
        model['graphs']['quarter'].update(sha256=file_sha256(file))
    return 'quarter.onnx is no ONNX graph'


def wrong_multiple(bundle: Path) -> str:
    with edited_model(bundle) as model:
        model['input'].update(multiple=10)
    return 'input.multiple 10 must be one of 16, 32, 64'


def one_class_more(bundle: Path) -> str:
    with edited_model(bundle) as model:
        model['classes'].append({'name': 'grey', 'color': [9, 9, 9]})
    return 'classes'


@pytest.mark.parametrize(
    'damage',
    [
        missing,
        without_model_file,
        broken_model_file,
        graph_missing,
        graph_changed,
        graph_of_garbage,
        one_class_more,
        wrong_multiple,
    ],
)
def test_bad_bundle_leaves_a_living_node(
    make_stage: MakeStage, bundle: Path, tiny_bundle: Path, damage: Callable[[Path], str]
) -> None:
    text = damage(bundle)
    stage = make_stage(bundle=str(bundle))
    line = stage.wait_for_log('cannot be configured', text)
    assert 'Traceback' not in line
    stage.wait_for_state('unconfigured')
    status = wait_until(
        lambda: (s := stage.status('/segmentation: segmentation')) and s.level == b'\x02' and s,
        'a status of level ERROR',
    )
    assert status.level == DiagnosticStatus.ERROR
    assert text in status.message

    assert stage.set_parameter('bundle', str(tiny_bundle)).successful
    assert stage.change('configure')
    assert stage.change('activate')
    camera = stage.camera()
    camera.publish(frame(paint(example_mask())))
    stage.wait_for_count(processed=1)
    wait_until(
        lambda: stage.status('/segmentation: segmentation').level == DiagnosticStatus.OK,
        'a status of level OK',
    )


def test_unknown_backend(make_stage: MakeStage) -> None:
    stage = make_stage(backend='abacus')
    stage.wait_for_log("back end 'abacus' is unknown")
    stage.wait_for_state('unconfigured')


def test_memory_limit_that_no_tile_fits_in(make_stage: MakeStage) -> None:
    stage = make_stage(memory_limit_mb=1)
    stage.wait_for_log('cannot be configured', 'memory limit of 1 MB is too small')
    stage.wait_for_state('unconfigured')


@pytest.mark.parametrize(
    ('topic', 'text', 'state'),
    [
        ('/segmentation/mask.publisher', 'cannot be configured', 'unconfigured'),
        ('/segmentation/camera_info.publisher', 'cannot be configured', 'unconfigured'),
        ('/image_raw.subscription', 'cannot be activated', 'inactive'),
        ('/camera_info.subscription', 'cannot be activated', 'inactive'),
    ],
)
def test_override_of_qos_that_is_none(
    make_stage: MakeStage, topic: str, text: str, state: str
) -> None:
    stage = make_stage(**{f'qos_overrides.{topic}.depth': 'deep'})
    line = stage.wait_for_log(text, f'qos_overrides.{topic}.depth')
    assert 'Traceback' not in line
    stage.wait_for_state(state)
    topics = [entity.topic_name for entity in (*stage.node.publishers, *stage.node.subscriptions)]
    assert '/image_raw' not in topics
    assert ('/segmentation/mask' in topics) == (state == 'inactive')
    assert stage.change('shutdown')


def test_error_of_an_activation_does_not_outlive_it(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        msg = 'no input today'
        raise UhrSegError(msg)

    with monkeypatch.context() as patch:
        patch.setattr('uhr_seg_ros.ros.node.Camera.open_input', refuse)
        stage = make_stage()
        stage.wait_for_log('cannot be activated: no input today')
        wait_until(
            lambda: (s := stage.status('/segmentation: segmentation')) and s.level == b'\x02',
            'a status of level ERROR',
        )
    assert stage.change('activate')
    stage.camera().publish(frame(paint(example_mask())))
    stage.wait_for_count(processed=1)
    wait_until(
        lambda: stage.status('/segmentation: segmentation').level == DiagnosticStatus.OK,
        'a status of level OK',
    )


def test_cleaning_up_forgets_the_times(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.camera().publish(frame(paint(example_mask())))
    wait_until(lambda: 'detail_p50_ms' in stage.values('/segmentation: segmentation'), 'times')
    stage.wait_for_state('active')
    assert stage.change('deactivate')
    assert stage.change('cleanup')
    wait_until(lambda: 'detail_p50_ms' not in stage.values('/segmentation: segmentation'), 'none')


class SlowGraph:
    """Holds whoever reads the semantic graph, as a slow disk does, until it is delivered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = Event()
        self._delivered = Event()
        self._read = graph_files.read_regular
        monkeypatch.setattr(graph_files, 'read_regular', self._wait_and_read)

    def deliver(self) -> None:
        """Let it be read."""
        self._delivered.set()

    def _wait_and_read(self, path: Path, most: int) -> bytes:
        if path.name == 'semantic.onnx':
            self.reached.set()
            assert self._delivered.wait(60.0)
        return self._read(path, most)


def test_services_answer_while_a_model_loads(
    make_stage: MakeStage, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = SlowGraph(monkeypatch)
    stage = make_stage(bundle=str(bundle))
    stage.wait_for_state('configuring')
    assert stage.set_parameter('overlay.alpha', 0.1).successful
    assert not stage.set_parameter('bundle', 'other').successful
    assert not stage.change('configure')
    assert stage.state() == 'configuring'
    wait_until(lambda: stage.values('/segmentation: segmentation'), 'diagnostics')
    graph.deliver()
    stage.wait_for_state('active')


def test_node_can_be_stopped_while_a_model_loads(
    make_stage: MakeStage, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = SlowGraph(monkeypatch)
    stage = make_stage(bundle=str(bundle))
    assert graph.reached.wait(30)
    assert not stage.node.stop(0.1)
    stage.wait_for_state('unconfigured')
    graph.deliver()
    assert stage.node.stop(30.0)


def test_other_classes_replace_the_labels(make_stage: MakeStage, tmp_path: Path) -> None:
    other = make_tiny_bundle(tmp_path / 'two', ClassSet(('a', 'b'), TINY_CLASSES.colors[:2]))
    stage = make_stage()
    stage.wait_for_state('active')
    assert stage.change('deactivate')
    assert stage.change('cleanup')
    assert stage.set_parameter('bundle', str(other)).successful
    assert stage.change('configure')
    assert stage.change('activate')
    stage.camera().publish(frame(paint(example_mask() % 2)))
    stage.wait_for_count(processed=1)
