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

"""Figures: percentiles, the node's keys, sizes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from uhr_seg_ros.benchmark.figures import percentiles, segmenter_stages, stage_percentiles
from uhr_seg_ros.benchmark.stages import (
    benchmark_image,
    measure,
    measure_here,
    spread,
    StageOptions,
)
from uhr_seg_ros.cli.arguments import parse_size
from uhr_seg_ros.core.atomic_io import write_json
from uhr_seg_ros.core.bundle_kinds import BUNDLE_KINDS
from uhr_seg_ros.reports.benchmark_console import format_size


def test_percentiles() -> None:
    assert percentiles([3.0, 1.0, 2.0])['p50'] == 2.0
    assert percentiles(range(1, 101))['max'] == 100
    assert percentiles([]) == {}


def test_stage_percentiles_take_only_the_keys_of_stages() -> None:
    keys = {
        'detail_p50_ms': '1.500',
        'detail_p95_ms': '2.0',
        'detail_p99_ms': '3.0',
        'latency_max_ms': '9',
        'frames_processed': '4',
        'backend': 'onnxruntime',
    }
    assert stage_percentiles(keys) == {'detail': {'p50': 1.5, 'p95': 2.0, 'p99': 3.0}}


@pytest.mark.parametrize(
    ('stages', 'kind', 'warns'),
    [
        (['preprocess', 'semantic', 'detail', 'fusion', 'refine'], 'two_branch', False),
        (['upload', 'engines', 'download'], 'two_branch', False),
        (['reduce', 'saliency', 'sample', 'network', 'enlarge'], 'deformed', False),
        (['a stage that nobody has heard of'], 'two_branch', True),
    ],
)
def test_every_stage_that_is_not_the_nodes_is_the_segmenters(
    stages: list[str], kind: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    node = ['wait', 'convert', 'publish', 'total', 'cloud', 'latency']
    times = {name: {'p50': 2.0, 'p95': 3.0} for name in [*node, *stages]}
    with caplog.at_level('WARNING'):
        assert segmenter_stages(times, BUNDLE_KINDS[kind]) == dict.fromkeys(stages, 2.0)
    assert ('declare no stage a stage that nobody' in caplog.text) == warns


def test_spread() -> None:
    runs = [{'detail': 4.0}, {'detail': 1.0, 'refine': 6.0}, {'detail': 2.0}]
    assert spread(runs) == {
        'detail': {'min': 1.0, 'median': 2.0, 'max': 4.0},
        'refine': {'min': 0.0, 'median': 0.0, 'max': 6.0},
    }


def test_json_is_written_whole(tmp_path: Path) -> None:
    write_json(tmp_path / 'new/report.json', {'a': 1})
    assert json.loads((tmp_path / 'new/report.json').read_text()) == {'a': 1}
    assert [file.name for file in (tmp_path / 'new').iterdir()] == ['report.json']


def test_sizes() -> None:
    assert parse_size('3840x2160') == (2160, 3840)
    assert format_size((2160, 3840)) == '3840x2160'
    for text in ('3840', '0x10', '10x', 'axb', '-1x5', '999999x5'):
        with pytest.raises(argparse.ArgumentTypeError, match='is not a size: expected <width>x'):
            parse_size(text)


def test_benchmark_image_has_any_size() -> None:
    assert benchmark_image((40, 1100)).shape == (40, 1100, 3)


def test_measure_runs_in_a_process_of_its_own(tiny_bundle: Path) -> None:
    options = StageOptions(str(tiny_bundle), (500, 500), 2, 'onnxruntime', budget_ms=0.1)
    assert 0.0 < measure_here(options)['detail_share'] < 0.5  # each frame is a first one
    result = measure(StageOptions(str(tiny_bundle), (64, 96), repeat=2))
    assert result['detail_share'] == 1.0
    assert {'preprocess', 'semantic', 'detail', 'fusion', 'total'} <= set(result['stage_ms'])
    times = result['stage_ms']['total']
    assert 0 < times['min'] <= times['median'] <= times['max']
    assert 20 < result['start_mb'] <= result['peak_mb'] < 2000
    assert result['provenance']['bundle'] == 'tiny'
