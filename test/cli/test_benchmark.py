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

"""``uhr_seg benchmark``: what it measures exists and fits together; speed itself is no test."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
from pathlib import Path

import pytest
from results_files import check_provenance
from small_disk import SmallDisk

from uhr_seg_ros.benchmark.stages import measure_here, StageOptions
from uhr_seg_ros.cli import benchmark as benchmark_command
from uhr_seg_ros.cli.benchmark import KINDS
from uhr_seg_ros.cli.benchmark_recordings import _node_parameters, add_bag
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.errors import ConfigError

SMALL = ('--size', '64x64', '--repeat', '1', '--processes', '1')


def test_an_interrupted_run_writes_what_it_measured(
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left = [measure_here, measure_here, measure_here]

    def measure(options: StageOptions) -> dict:
        if not left:
            raise KeyboardInterrupt
        return left.pop()(options)

    monkeypatch.setattr(benchmark_command, 'measure', measure)
    sizes = ['--size', '64x64', '--size', '96x64', '--repeat', '1', '--processes', '2']
    report = tmp_path / 'report.json'
    command = ['benchmark', 'stages', '--bundle', str(tiny_bundle), '--json', str(report)]
    assert main([*command, *sizes]) == 130
    said = capsys.readouterr()
    assert 'ended by Ctrl-C; 1 of 2 sizes measured' in said.err
    content = json.loads(report.read_text(encoding='utf-8'))
    assert content['interrupted'] is True
    measured = [(each['size'], each['interval']['processes']) for each in content['sizes']]
    assert measured == [([64, 64], 2), ([64, 96], 1)]
    assert 'backend: ONNX Runtime on the CPU' in said.out
    assert 'rows: stages of the segmenter' in said.out


@pytest.mark.parametrize(
    ('words', 'replaced', 'kept'),
    [
        ('graphs --size 64x64', 'uhr_seg_ros.benchmark.graph_traffic._traffic', 'graphs'),
        (
            'roofline --size 64x64 --repeat 1 --precision fp32',
            'uhr_seg_ros.benchmark.roofline._times',
            'graphs',
        ),
        ('cloud --points 10 20 30', 'uhr_seg_ros.benchmark.cloud_stages.measure_cloud', 'clouds'),
    ],
)
def test_every_measurement_is_kept_when_a_signal_comes(
    words: str,
    replaced: str,
    kept: str,
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip('onnx', reason='graphs are read with onnx')
    from uhr_seg_ros.benchmark import machine_peaks, roofline

    peaks = machine_peaks.Peaks({'fp32': 1.0, 'int8': 1.0}, 1.0)
    monkeypatch.setattr(roofline, 'measure_peaks', lambda threads: peaks)
    answers = {'_times': [1.0, 2.0], 'measure_cloud': {'points': 10}}
    left = [answers.get(replaced.rpartition('.')[2], {'kernels': 1})] * 2
    monkeypatch.setattr(replaced, lambda *_: left.pop() if left else interrupt())
    monkeypatch.setattr(benchmark_command, 'print_cloud', lambda result: None)
    report = tmp_path / 'report.json'
    kind, *more = words.split()
    bundle = [] if kind == 'cloud' else ['--bundle', str(tiny_bundle)]
    assert main(['benchmark', kind, *bundle, *more, '--json', str(report)]) == 130
    assert f'ended by Ctrl-C; 2 of 3 {kept} ' in capsys.readouterr().err
    content = json.loads(report.read_text(encoding='utf-8'))
    assert content['interrupted'] is True
    assert len(content[kept]) == 2


def interrupt() -> None:
    raise KeyboardInterrupt


def test_the_node_segments_as_the_stages_were_measured(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    from uhr_seg_ros.benchmark import node_cost

    chosen: list[dict] = []
    monkeypatch.setattr(benchmark_command, '_measure_stages', lambda arguments: {})
    monkeypatch.setattr(node_cost, 'measure_node', lambda *given: chosen.append(given[-1]) or {})
    monkeypatch.setattr(benchmark_command, 'join_medians', lambda runs: {'stage_ms': {}})
    monkeypatch.setattr(benchmark_command, 'print_node', lambda *_: None)
    words = '--backend onnxruntime --precision int8 --threads 1 --memory-limit-mb 99'
    words += ' --detail budget --budget-ms 50 --processes 1'
    assert main(['benchmark', 'node', '--bundle', str(tiny_bundle), *words.split()]) == 0
    assert chosen == [
        {
            'backend': 'onnxruntime',
            'precision': 'int8',
            'threads': 1,
            'memory_limit_mb': 99,
            'refine': 'none',
            'detail': 'budget',
            'latency.budget_ms': 50.0,
        }
    ]


def benchmark(tmp_path: Path, *arguments: object) -> dict:
    report = tmp_path / 'deep/report.json'
    assert main(['benchmark', *map(str, arguments), '--json', str(report)]) == 0
    content = json.loads(report.read_text(encoding='utf-8'))
    check_provenance(content)
    return content


@pytest.mark.usefixtures('hostile_folder')
def test_stages_in_processes(tmp_path: Path, tiny_bundle: Path) -> None:
    counts = ['--repeat', 2, '--processes', 2]
    report = benchmark(tmp_path, 'stages', '--bundle', tiny_bundle, '--size', '100x50', *counts)
    assert report['bundle'] == 'tiny'
    (result,) = report['sizes']
    assert result['size'] == [50, 100]
    stages = ['convert', 'preprocess', 'semantic', 'detail', 'fusion', 'total']
    assert list(result['stage_ms']) == stages
    total = result['stage_ms']['total']
    assert 0 < total['min'] <= total['low'] < total['median'] < total['high'] <= total['max']
    assert result['interval']['processes'] == 2
    assert result['peak_mb'] >= result['start_mb'] > 0


@pytest.mark.usefixtures('hostile_folder')
def test_cost_of_the_node(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    options = ['--size', '320x192', '--repeat', 3, '--rate', 5, '--processes', 1]
    node = benchmark(tmp_path, 'node', '--bundle', tiny_bundle, *options)['node']
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
    counts = ['--repeat', 2, '--processes', 2]
    report = benchmark(tmp_path, 'torch', '--network', 'hlrc_s', '--size', '128x64', *counts)
    (result,) = report['against_torch']
    assert len(result['eager_ms']) == len(result['exported_ms']) == 4
    assert 0 < result['ratio_low'] <= result['ratio'] <= result['ratio_high']


def test_bytes_of_graphs(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('onnx', reason='graphs are read with onnx')
    reports = [
        benchmark(tmp_path, 'graphs', '--bundle', tiny_bundle, '--size', '640x320', *more)
        for more in ([], ['--as-exported'], ['--precision', 'fp32'])
    ]
    assert [(each['precision'], each['rewritten']) for each in reports] == [
        ('fp16', True),
        ('fp16', False),
        ('fp32', True),
    ]
    half, _, full = (each['graphs']['detail'] for each in reports)
    assert 0 < half['read_mb'] < full['read_mb']
    said = capsys.readouterr().out
    assert 'AGX Orin' in said
    assert 'rows: graphs of the bundle' in said


def test_graphs_against_the_machine(
    tmp_path: Path,
    tiny_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('onnx', reason='graphs are read with onnx')
    pytest.importorskip('matplotlib', reason='it draws')
    from uhr_seg_ros.benchmark import machine_peaks

    monkeypatch.setattr(machine_peaks, 'SIDE', 64)
    monkeypatch.setattr(machine_peaks, 'COPIED', 1 << 16)
    image = tmp_path / 'roof.svg'
    report = benchmark(
        tmp_path,
        'roofline',
        '--bundle',
        tiny_bundle,
        '--size',
        '640x320',
        '--repeat',
        1,
        '--chart',
        image,
    )
    assert '<svg' in image.read_text(encoding='utf-8')
    assert 'bound: the longer of both' in capsys.readouterr().out
    assert min(*report['peaks']['gflops'].values(), report['peaks']['copy_gb_s']) > 0
    assert [each['name'] for each in report['graphs']] == ['semantic', 'detail', 'quarter']
    for each in report['graphs']:
        # Each kernel waits for the slower of the two.
        slower = max(each['compute_ms'], each['memory_ms'])
        assert slower <= each['bound_ms'] + 0.01
        assert each['bound_ms'] <= each['compute_ms'] + each['memory_ms'] + 0.01
        assert 0 < each['min_ms'] <= each['median_ms']


def test_bad_sizes_and_bundles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['benchmark', 'stages', '--size', '3840'])
    assert '3840' in capsys.readouterr().err
    assert main(['benchmark', 'stages', '--bundle', str(tmp_path / 'none'), *SMALL]) == 2
    assert str(tmp_path / 'none') in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['--frames', '0'], "'0' is not a count"),
        (['--frames', 'x'], "'x' is not a count"),
        (['--rate', '-1'], "'-1' is not a rate"),
        (['--rate', 'nan'], "'nan' is not a rate"),
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
    words = ['benchmark', 'stages', '--bundle', str(tiny_bundle), *SMALL]
    assert main([*words, '--json', wanted]) == 2
    assert str(tmp_path / 'file') in capsys.readouterr().err


def test_report_on_a_full_disk(
    small_disk: SmallDisk, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = small_disk.path / 'report.json'
    wanted.write_text('earlier')
    small_disk.fill()
    before = set(small_disk.path.iterdir())
    words = ['benchmark', 'stages', '--bundle', str(tiny_bundle), *SMALL]
    assert main([*words, '--json', str(wanted)]) == 2
    assert f'{wanted}: No space left on device' in capsys.readouterr().err
    assert wanted.read_text() == 'earlier'
    assert set(small_disk.path.iterdir()) == before


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser()
    benchmark_command.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_has_help(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['benchmark', kind, '--help'])
    assert ended.value.code == 0
    assert KINDS[kind].summary.split()[-1] in capsys.readouterr().out


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('', 'stages'),
        ('--bundle b --size 8x8', 'stages --bundle b --size 8x8'),
        ('--size 8x8 --node --rate 5', 'node --size 8x8 --rate 5'),
        ('--repeat 3 --transport', 'transport --repeat 3'),
        ('--cloud --points 10 20 --json j', 'cloud --points 10 20 --json j'),
        ('--torch hlrc_s --size 8x8', 'torch --network hlrc_s --size 8x8'),
        ('--bundle b --bag r --rate max --report p', 'bag r --bundle b --rate max --report p'),
        ('--bag=r --rate=peak', 'bag r --rate=peak'),
        (
            '--bag r --bundle b --offline o --prefix p',
            'offline r --output o --bundle b --prefix p',
        ),
        ('--offline=o --bag r', 'offline r --output o'),
        ('--compare a b', 'compare a b'),
        ('--comp a b', 'compare a b'),
    ],
)
def test_the_earlier_form_names_the_one_of_today(
    old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert benchmark_command.update_words(old.split()) == new.split()
    (line,) = caplog.messages
    assert line.endswith(f'use: uhr_seg benchmark {new}')
    parse(new.split())


def test_the_earlier_form_works(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = benchmark(tmp_path, '--bundle', tiny_bundle, *SMALL)
    assert [result['size'] for result in report['sizes']] == [[64, 64]]
    line, *_ = capsys.readouterr().err.splitlines()
    assert f'uhr_seg benchmark stages --bundle {tiny_bundle} --size 64x64' in line


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        ('--bag b --cloud', '--cloud has no effect beside --bag'),
        ('--bag b --node', '--node has no effect beside --bag'),
        ('--bag b --torch hlrc_s', '--torch has no effect beside --bag'),
        ('--compare a b --bag c', '--bag has no effect beside --compare'),
        ('--torch hlrc_s --offline o', '--offline has no effect beside --torch'),
        ('--offline o', '--offline has no effect without --bag'),
        ('--compare a', '--compare needs 2 values'),
    ],
)
def test_flags_that_exclude_each_other(
    words: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['benchmark', *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'uhr_seg: error: {text}')


@pytest.mark.parametrize(
    'words',
    [
        'bag b --size 8x8',
        'bag b --points 10',
        'bag b --prefix p',
        'offline b o --rate 2',
        'offline b o --report r.html',
        'compare a b --json c',
        'compare a b --bundle c',
        'stages --rate 3',
        'stages --topic /a',
        'torch hlrc_s --backend onnxruntime',
        'torch hlrc_s --bundle b',
        'transport --memory-limit-mb 100',
        'cloud --rate 3',
        'stages --points 10',
        'nonesuch',
    ],
)
def test_a_kind_has_only_its_own_options(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['benchmark', *words.split()])
    assert ended.value.code == 2
    assert 'error: ' in capsys.readouterr().err.splitlines()[-1]


def test_parameters_of_the_measured_node(tmp_path: Path) -> None:
    file = tmp_path / 'own.yaml'
    file.write_text(
        '/**: {ros__parameters: {bundle: own, precision: int8, mask: {scale: 0.5}, cameras: [a]}}'
    )
    parser = CommandParser()
    add_bag(parser)

    def parameters(*words: str) -> dict:
        return _node_parameters(parser.parse_args(['flight', *words]))

    assert parameters() == {'bundle': 'hlrc_s_aerial'}
    options = ['--params-file', str(file)]
    own = {'bundle': 'own', 'precision': 'int8', 'mask.scale': 0.5}
    assert parameters(*options) == own  # the recording decides about cameras
    assert parameters(*options, '--precision', 'auto') == {**own, 'precision': 'auto'}
    assert parameters(*options, '--threads', '2') == {**own, 'threads': 2}
    file.write_text('/other: {ros__parameters: {bundle: own}}')
    with pytest.raises(ConfigError, match='none for /segmentation'):
        parameters(*options)
    with pytest.raises(ConfigError, match="^argument --params-file is '.*', which is not there"):
        parameters('--params-file', 'nowhere.yaml')
