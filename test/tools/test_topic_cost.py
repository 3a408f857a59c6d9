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

"""What topics cost: medians of runs, each less what its node costs when nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('rclpy')

from tools.topic_cost import joined, LOADS, NODES, show


def run(idle_ms: float, ms_each: float, sent: float, peak_mb: int) -> dict[str, Any]:
    """Return what a node took that spends as many milliseconds on every message."""
    loads = {
        load.name: {'busy_ms': idle_ms + (ms_each * sent if load.frames or load.clock else 0.0)}
        | {'sent': sent if load.frames or load.clock else 0.0}
        for load in LOADS
    }
    return {'loads': loads, 'peak_mb': peak_mb}


def test_costs_are_those_of_the_full_rate() -> None:
    found = joined([run(10.0, 2.0, 5.0, 90), run(20.0, 4.0, 2.5, 110), run(30.0, 3.0, 4.0, 100)])
    assert found['peak_mb'] == 100
    percent = {name: each['core_percent'] for name, each in found['loads'].items()}
    assert percent['nothing'] == 2.0
    assert percent['frames at 10 Hz'] == 3.0
    assert percent['/clock at 100 Hz'] == 30.0
    assert found['loads']['frames at 10 Hz']['ms_per_message'] == 3.0
    assert found['loads']['frames at 10 Hz']['sent_hz'] == 4.0


def test_the_table_has_both_nodes_and_their_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    node, plain = (joined([run(10.0, ms, 10.0, 90)]) for ms in (1.0, 4.0))
    show(dict(zip(NODES.values(), (node, plain), strict=True)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *('percent', 'of', 'a', 'core', 'node', 'as', 'rclpy', 'does', 'ratio')
    ]
    assert lines[2].split() == ['frames', 'at', '10', 'Hz', '1.0', '4.0', '0.25']
