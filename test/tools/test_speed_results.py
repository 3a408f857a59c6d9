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
"""The script that makes all results about speed: commands that exist, and the table of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.speed_results import command, COMMANDS, recordings, table, update
from uhr_seg_ros.cli import benchmark as benchmark_command
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.errors import ConfigError


@pytest.mark.parametrize('name', [*COMMANDS, *recordings()])
def test_commands_are_those_of_the_program(name: str, tmp_path: Path) -> None:
    first, *words = command(name, tmp_path, Path('out'), 30.0)
    assert first == 'benchmark'
    parser = CommandParser()
    benchmark_command.add_arguments(parser)
    arguments = parser.parse_args(words)
    assert arguments.json == Path(f'out/{name}.json')


def report(**more: Any) -> dict[str, Any]:
    return {
        'figures': {
            'frames': {'sent': 40, 'dropped': 30},
            'throughput_hz': 2.5,
            'latency_ms': {'p50': 400.4, 'p95': 500.0, 'p99': 600.0},
        },
        'machine': {'cpu': 'A CPU', 'cpus': 2, 'flags': ['avx2'], 'governor': 'unknown'},
        'versions': {'uhr_seg_ros': '1', 'onnxruntime': '2'},
        'commit': 'a' * 40,
        'date': '2026-01-02T03:04:05+00:00',
        'rmw': 'rmw_x',
        **more,
    }


def test_the_table() -> None:
    text = table(
        {
            'bag_1080p_peak': report(peak_hz=5.0, accuracy={'mean_iou': 0.5}),
            'bag_4k_10hz': report(accuracy=None),
        }
    )
    assert '| 1080p | peak: 5.00 | 2.50 | 75% | 400 | 500 | 600 | 0.500 |' in text
    assert '| 4K | 10 | 2.50 | 75% | 400 | 500 | 600 | – |' in text
    assert text.count('A CPU, 2 cores (avx2; governor unknown), aaaaaaaaaaaa, 2026-01-02') == 1


def test_the_page(tmp_path: Path) -> None:
    page = tmp_path / 'page.md'
    page.write_text(
        'a\n<!-- tools.speed_results -->\nold\n<!-- end of tools.speed_results -->\nb\n'
    )
    update(page, 'new\n')
    assert page.read_text() == (
        'a\n<!-- tools.speed_results -->\nnew\n<!-- end of tools.speed_results -->\nb\n'
    )
    page.write_text('a')
    with pytest.raises(ConfigError, match='has no marks'):
        update(page, 'new\n')
