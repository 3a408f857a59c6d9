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

"""The sections of `scripts/reliability`, made short."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from tools.reliability import memory_at, outer_parts
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.collector import NodeReport
from uhr_seg_ros.replay.load import Load
from uhr_seg_ros.replay.results import Replay


@pytest.fixture(scope='module')
def results(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Return the results of all sections on a small bundle and small frames."""
    folder = tmp_path_factory.mktemp('reliability')
    with BagWriter(folder / 'bag', topic='/cam') as bag:
        for index in range(4):
            bag.write(np.full((240, 320, 3), 50 * index, np.uint8), (index + 1) * 10**9)
    command = [
        sys.executable,
        '-m',
        'tools.reliability',
        folder / 'bag',
        '--bundle',
        tiny_bundle,
        '--output',
        folder / 'out',
        '--minutes',
        '0.1',
        '--rate',
        '10',
        '--overload-rate',
        '1000',
        '--overload-seconds',
        '5',
        '--cycles',
        '70',
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert result.returncode == 0, result.stderr
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert again.stdout == ''  # what is done is not run again
    return {path.stem: json.loads(path.read_text()) for path in (folder / 'out').glob('*.json')}


@pytest.mark.slow
def test_switched_on_and_off_the_node_keeps_what_it_holds(results: dict[str, dict]) -> None:
    before, after = results['lifecycle']['after_warm_up'], results['lifecycle']['at_the_end']
    for name in ('threads', 'files', 'shared_memory'):
        assert after[name] <= before[name]
    assert after['memory_mb'] <= before['memory_mb'] + 25  # a leak of 0.5 MB a cycle


@pytest.mark.slow
def test_asked_for_too_much_the_node_drops_and_answers(results: dict[str, dict]) -> None:
    found = results['overload']
    frames = found['frames']
    assert frames['sent'] == sum(value for name, value in frames.items() if name != 'sent')
    assert frames['masks'] < frames['sent']
    assert found['parameter_ms']['p50'] > 0 and found['lifecycle_ms']['p50'] > 0
    assert found['memory_mb'][1] <= found['memory_mb'][0] + 20


@pytest.mark.slow
def test_soak_compares_its_ends(results: dict[str, dict]) -> None:
    found = results['soak']
    assert found['seconds'] >= 6
    frames = dict(found['frames'])
    sent = frames.pop('sent')
    assert sent == pytest.approx(60, abs=2)
    # On a busy machine a newer frame may take the place of one that waits.
    assert sum(frames.values()) == sent
    assert frames['masks'] >= 0.75 * sent
    first, last = found['p99_ms']
    assert found['p99_ratio'] == round(last / first, 3)
    assert abs(found['memory_growth']) < 0.2


def test_ends_of_a_series() -> None:
    first, last = outer_parts([1.0] * 100 + [5.0] * 400 + [2.0] * 100)
    assert (first, last) == (1.0, 2.0)
    load = Load(1.0, {}, (1, 2), [(index, 100.0 + index) for index in range(8)], 200, {})
    replay = Replay([], [], NodeReport(), load=load)
    assert memory_at(replay, 0.25, 1.0) == [102.0, 107.0]
