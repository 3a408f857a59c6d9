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

"""Frames cross from process to process, and are counted."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from uhr_seg_ros.benchmark.transport import main, measure_transport, SETTINGS


@pytest.mark.usefixtures('hostile_folder')
@pytest.mark.parametrize(
    'setting',
    [
        setting
        if setting.profile and setting.allocator
        else pytest.param(setting, marks=pytest.mark.slow)
        for setting in SETTINGS
        if setting.reliability == 'reliable'
    ],
)
def test_reliable_frames_arrive(setting: object) -> None:
    result = measure_transport(setting, (720, 1280), 3, 10.0)
    assert (result['sent'], result['received']) == (3, 3)
    assert 0 < result['latency_ms']['p50'] <= result['latency_ms']['max']


def test_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('uhr_seg_ros.benchmark.transport._CONNECT_TIMEOUT_S', 0.2)
    assert main(['publish', '["reliable", false, 8, 8, 1, 1.0]']) == 1
    assert 'no subscriber within' in capsys.readouterr().err
