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

"""While a frame is inferred: newest wins, cameras share, and everything else goes on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from gate import Gate
import numpy as np
import pytest
from rclpy.publisher import Publisher
from stage import example_mask, frame, Stage, wait_until
from tiny_bundle import paint

MakeStage = Callable[..., Stage]


def publish(camera: Publisher, *stamps: float) -> None:
    for stamp in stamps:
        camera.publish(frame(paint(example_mask()), stamp))


def stamps(messages: list) -> list[int]:
    return [message.header.stamp.sec for message in messages]


def test_newest_frame_wins_and_the_counters_add_up(make_stage: MakeStage, gate: Gate) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    gate.close()
    publish(camera, 1)
    assert gate.reached.wait(30)
    publish(camera, 2, 3, 4, 5)
    stage.wait_for_count(received=5, processed=0, dropped=3, rejected=0, pending=2)
    gate.open()
    values = stage.wait_for_count(received=5, processed=2, dropped=3, rejected=0, pending=0)
    assert values['total_dropped_frames'] == '3'
    wait_until(lambda: len(masks) == 2, 'two masks')
    assert stamps(masks) == [1, 5]


def test_two_cameras_share_the_worker_fairly(make_stage: MakeStage, gate: Gate) -> None:
    stage = make_stage(cameras=['front', 'left'])
    front, left = (stage.camera(f'{name}/image_raw') for name in ('front', 'left'))
    fronts, lefts = stage.outputs('front/mask', 'left/mask')
    gate.close()
    publish(front, 1)
    assert gate.reached.wait(30)
    publish(front, 2, 3, 4)
    publish(left, 5, 6)
    stage.wait_for_count('/front/image_raw', received=4, dropped=2, pending=2)
    stage.wait_for_count('/left/image_raw', received=2, dropped=1, pending=1)
    gate.open()
    wait_until(lambda: len(fronts) == 2 and len(lefts) == 1, 'masks of both')
    assert (stamps(fronts), stamps(lefts)) == ([1, 4], [6])

    def totals() -> dict[str, str] | None:
        values = stage.values('/segmentation: segmentation')
        return values if values.get('frames_pending') == '0' else None

    values = wait_until(totals, 'totals')
    names = ('received', 'processed', 'dropped', 'rejected')
    assert [values[f'frames_{name}'] for name in names] == ['6', '3', '3', '0']


def test_inference_blocks_neither_services_nor_diagnostics(
    make_stage: MakeStage, gate: Gate
) -> None:
    stage = make_stage()
    camera = stage.camera()
    gate.close()
    publish(camera, 1)
    assert gate.reached.wait(30)
    stage.wait_for_state('active')  # its input is open a moment before
    assert stage.set_parameter('overlay.alpha', 0.1).successful
    stage.wait_for_count(received=1, pending=1)
    gate.open()
    stage.wait_for_count(processed=1)


def test_services_answer_while_a_frame_is_taken(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage()
    camera = stage.camera()
    monitor = stage.node._cameras[''].monitor
    note, taking, taken = monitor.note, Event(), Event()

    def slowly(*arguments: object) -> None:
        taking.set()
        assert taken.wait(60)
        note(*arguments)

    monkeypatch.setattr(monitor, 'note', slowly)
    publish(camera, 1)
    assert taking.wait(30)
    assert stage.set_parameter('overlay.alpha', 0.1).successful
    assert stage.state() == 'active'
    taken.set()
    stage.wait_for_count(processed=1)


def test_transitions_during_inference(make_stage: MakeStage, gate: Gate) -> None:
    stage = make_stage()
    camera = stage.camera()
    gate.close()
    publish(camera, 1)
    assert gate.reached.wait(30)
    stage.wait_for_state('active')
    publish(camera, 2)
    stage.wait_for_count(received=2)
    assert stage.change('deactivate')
    stage.wait_for_count(received=2, dropped=1, pending=1)
    gate.open()
    assert stage.change('cleanup')
    stage.wait_for_count(received=2, processed=1, dropped=1, pending=0)
    assert stage.change('configure')
    assert stage.change('activate')
    wait_until(camera.get_subscription_count, 'the new subscription')
    publish(camera, 3)
    stage.wait_for_count(received=3, processed=2)


def test_unexpected_failure_rejects_one_frame(make_stage: MakeStage, gate: Gate) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    gate.failure = RuntimeError('out of something')
    publish(camera, 1)
    stage.wait_for_count(received=1, rejected=1)
    stage.wait_for_log('frame rejected', 'Traceback', 'out of something')
    publish(camera, 2)
    stage.wait_for_count(received=2, processed=1, rejected=1)
    wait_until(lambda: masks, 'a mask')
    assert stamps(masks) == [2]


def with_nan(values: np.ndarray) -> np.ndarray:
    values[..., 0, 0, :] = np.nan
    return values


@pytest.mark.parametrize(
    ('name', 'change', 'text'),
    [
        ('tokens', with_nan, 'gives tokens that are not finite'),
        ('local', lambda values: np.full_like(values, np.inf), 'gives local that are not finite'),
        ('affinity', lambda values: values[:, 1:], 'gives affinity of shape (1, '),
        ('local', lambda values: values[0], 'gives local of shape ('),
        ('quarter_logits', lambda values: values[..., 1:], 'gives quarter_logits of shape (1, '),
        ('quarter_logits', with_nan, 'gives quarter_logits that are not finite'),
    ],
)
def test_back_end_that_gives_nonsense_costs_one_frame(
    make_stage: MakeStage, gate: Gate, name: str, change: Callable, text: str
) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    gate.spoil = name, change
    publish(camera, 1)
    stage.wait_for_count(received=1, rejected=1)
    stage.wait_for_log('frame rejected', text)
    publish(camera, 2)
    stage.wait_for_count(received=2, processed=1, rejected=1)
    wait_until(lambda: masks, 'a mask')
    assert stamps(masks) == [2]


def test_rate_limit_holds_frames_back(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    assert stage.set_parameter('max_rate_hz', 0.001).successful
    publish(camera, 1)
    stage.wait_for_count(processed=1)
    publish(camera, 2, 3)
    stage.wait_for_count(received=3, processed=1, dropped=1, pending=1)
    assert stage.set_parameter('max_rate_hz', 0.0).successful
    stage.wait_for_count(received=3, processed=2, dropped=1, pending=0)


def test_node_can_be_destroyed_during_inference(make_stage: MakeStage, gate: Gate) -> None:
    stage = make_stage()
    camera = stage.camera()
    gate.close()
    publish(camera, 1)
    assert gate.reached.wait(30)
    assert not stage.node.stop(0.1)
    stage.node.destroy_node()
    gate.open()
    assert stage.node.stop(30.0)
