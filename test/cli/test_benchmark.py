# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""``uhr_seg benchmark``: what it measures exists and fits together; speed itself is no test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_disk import SmallDisk

from uhr_seg_ros.cli.main import main


def benchmark(tmp_path: Path, *arguments: object) -> dict:
    report = tmp_path / 'deep/report.json'
    assert main(['benchmark', *map(str, arguments), '--json', str(report)]) == 0
    return json.loads(report.read_text(encoding='utf-8'))


@pytest.mark.usefixtures('hostile_folder')
def test_stages_of_every_size(tmp_path: Path, tiny_bundle: Path) -> None:
    sizes = ['--size', '320x192', '--size', '100x50']
    report = benchmark(tmp_path, '--bundle', tiny_bundle, *sizes, '--repeat', 2)
    assert [result['size'] for result in report['sizes']] == [[192, 320], [50, 100]]
    for result in report['sizes']:
        stages = ['convert', 'preprocess', 'semantic', 'detail', 'fusion', 'total']
        assert list(result['stage_ms']) == stages
        total = result['stage_ms']['total']
        assert 0 < total['min'] <= total['median'] <= total['max']
        assert result['peak_mb'] >= result['start_mb'] > 0


@pytest.mark.usefixtures('hostile_folder')
def test_cost_of_the_node(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    options = ['--size', '320x192', '--repeat', 3, '--node', '--rate', 5]
    node = benchmark(tmp_path, '--bundle', tiny_bundle, *options)['node']
    # A frame may be dropped for a newer one on a busy machine.
    assert 0 < node['frames_processed'] <= node['frames_played'] == 3
    # No sign of `node_ms`: medians of three frames do not add up on a busy machine.
    assert node['receive_ms'] > 0
    assert node['segmenter_ms'] > 0
    parts = (node[f'{part}_ms'] for part in ('segmenter', 'receive', 'node', 'outside'))
    assert sum(parts) == pytest.approx(node['latency_ms']['p50'], abs=0.01)
    table = capsys.readouterr().out.rpartition('Node at')[2]
    stages = ['preprocess', 'semantic', 'detail', 'fusion']
    assert node['segmenter_ms'] == pytest.approx(
        sum(node['stage_ms'][stage]['p50'] for stage in stages), abs=0.01
    )
    assert all(stage in table for stage in stages)


@pytest.mark.slow
def test_export_against_torch(tmp_path: Path) -> None:
    pytest.importorskip('torch', reason='PyTorch is not installed')
    report = benchmark(tmp_path, '--torch', 'hlrc_s', '--size', '128x64', '--repeat', 2)
    (result,) = report['against_torch']
    assert len(result['eager_ms']) == len(result['exported_ms']) == 2
    assert result['ratio'] > 0


def test_bad_sizes_and_bundles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['benchmark', '--size', '3840'])
    assert '3840' in capsys.readouterr().err
    assert main(['benchmark', '--bundle', str(tmp_path / 'none'), '--size', '64x64']) == 2
    assert str(tmp_path / 'none') in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['--frames', '0'], "'0' is no count"),
        (['--frames', 'x'], "'x' is no count"),
        (['--rate', '-1'], "'-1' is no rate"),
        (['--rate', 'nan'], "'nan' is no rate"),
    ],
)
def test_absurd_numbers(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(['demo', *arguments])
    assert text in capsys.readouterr().err


def test_report_that_cannot_be_written(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'file').touch()
    wanted = str(tmp_path / 'file/report.json')
    size = ['--size', '64x64', '--repeat', '1']
    assert main(['benchmark', '--bundle', str(tiny_bundle), *size, '--json', wanted]) == 2
    assert str(tmp_path / 'file') in capsys.readouterr().err


def test_report_on_a_full_disk(
    small_disk: SmallDisk, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = small_disk.path / 'report.json'
    wanted.write_text('earlier')
    small_disk.fill()
    before = set(small_disk.path.iterdir())
    size = ['--size', '64x64', '--repeat', '1']
    assert main(['benchmark', '--bundle', str(tiny_bundle), *size, '--json', str(wanted)]) == 2
    assert f'{wanted}: No space left on device' in capsys.readouterr().err
    assert wanted.read_text() == 'earlier'
    assert set(small_disk.path.iterdir()) == before
