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

"""The GPU acceptance: its kit, its sections on stand-ins, its report, and no GPU at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import tarfile
from time import monotonic, sleep
import zipfile

from built_once import built_once
import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')
torch = pytest.importorskip('torch', reason='graphs run in PyTorch here')

import onnxruntime as ort

from tools import gpu_kit, gpu_process, gpu_sections
from tools.gpu_acceptance import main, publish
from tools.gpu_cases import BUNDLE, Case, Cases, PAPER, PRETEND
from tools.gpu_expectations import draw, rows_of
from tools.gpu_inspector import Inspected
from tools.gpu_kernels import KernelBench
from tools.gpu_kit import half_graphs, Kit
from tools.gpu_pipeline import draw_timeline, measure, overlap, torch_backend
from tools.gpu_pretend import PretendedMachine
from tools.gpu_process import (
    CONTEXT_LOST,
    Record,
    run_apart,
    run_cases,
    run_with_all,
    section_command,
)
from tools.gpu_sections import Section, SECTIONS
from tools.gpu_setup import Setup
from tools.gpu_torch import TorchGraph
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.api import describe
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.raw_frame import FORMATS

ROOT = Path(__file__).parents[2]

#: One size only, for speed.
SCALE = replace(PRETEND, sizes={'4K': (64, 96)}, network='hlrc_s')
FP16 = Case(BUNDLE, '4K', 'fp16')


@pytest.fixture(scope='module')
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """Prepare a kit without compiling kernels, which test_compiling.py does."""

    def build(folder: Path) -> None:
        none = {'compile_cubin': lambda capability: b'\x7fELF'}
        gpu_kit.prepare(folder, None, (8, 7), SCALE, lambda text: None, **none)

    return Kit(built_once(tmp_path_factory, 'gpu_kit', build))


@pytest.fixture
def setup(kit: Kit, tmp_path: Path) -> Iterator[Setup]:
    """Open the kit on stand-ins."""
    machine = PretendedMachine(tmp_path / 'work')
    yield Setup(kit, machine, SCALE, tmp_path / 'work', tmp_path / 'output')
    machine.close()


def test_graphs_in_pytorch_are_those_of_onnx_runtime(kit: Kit) -> None:
    rng = np.random.default_rng(0)
    for graph, shapes, _ in half_graphs(load_bundle(BUNDLE), SCALE.sizes['4K']):
        model = kit.graph(graph, shapes)
        feeds = {name: rng.random(shape).astype(np.float16) for name, shape in shapes.items()}
        content = model.SerializeToString()
        session = ort.InferenceSession(content, providers=['CPUExecutionProvider'])
        expected = dict(zip(graph.outputs, session.run(list(graph.outputs), feeds), strict=True))
        for last in (False, True):
            compute = TorchGraph(model, 'cpu', channels_last=last)
            with torch.inference_mode():
                found = compute({name: torch.from_numpy(each) for name, each in feeds.items()})
            for name, values in expected.items():
                largest = np.abs(values.astype(np.float32)).max()
                error = np.abs(found[name].float().numpy() - values).max()
                assert error < 4e-3 * largest, (name, last)


def test_graph_with_an_unknown_operator_is_refused(kit: Kit) -> None:
    graph, shapes, model = next(half_graphs(load_bundle(BUNDLE), SCALE.sizes['4K']))
    model.graph.node[0].op_type = 'Einsum'
    with pytest.raises(EngineError, match='the graph has Einsum, which tools/gpu_operators.py'):
        TorchGraph(model, 'cpu', channels_last=False)


def test_stale_graphs_of_a_kit_are_made_again(kit: Kit, tmp_path: Path) -> None:
    shutil.copytree(kit.folder, tmp_path / 'kit')
    graph, shapes, model = next(half_graphs(load_bundle(BUNDLE), SCALE.sizes['4K']))
    for path in (tmp_path / 'kit/graphs').glob('semantic-*.onnx'):
        path.write_bytes(b'old')
    stale = Kit(tmp_path / 'kit')
    for fields in stale.facts['graphs'].values():
        fields['conversion'] = 'earlier'
    assert stale.graph(graph, shapes).graph.node == model.graph.node


def test_frames_run_with_graphs_in_pytorch(setup: Setup) -> None:
    found = measure(setup, torch_backend(setup), FP16)
    assert found['agreement'] > 0.999
    assert found['verdict'] == 'accepted'
    assert found['engines'] == {'median_ms': 1.0, 'p95_ms': 1.0, 'runs': SCALE.frames}
    assert found['two in work']['frames_per_s'] > 0
    assert found['said'] == []
    # Graphs were captured, and everything was given back.
    assert setup.machine._stand_in.cuda.captured
    assert not setup.machine._stand_in.cuda.blocks


def test_refused_agreement_keeps_its_times(setup: Setup, tmp_path: Path) -> None:
    shutil.copytree(setup.kit.folder, tmp_path / 'kit')
    expected, _ = setup.kit.reference(BUNDLE, '4K')
    cv2.imwrite(str(tmp_path / 'kit/mask_hlrc_s_aerial_4K.png'), (expected['mask'] + 1) % 5)
    setup = replace(setup, kit=Kit(tmp_path / 'kit'))
    options = EngineOptions(precision='fp16', cache=str(tmp_path / 'cache'))
    backend = setup.machine.tensorrt(BUNDLE, options, tmp_path / 'dumps')
    found = measure(setup, backend, FP16)
    assert found['verdict'].startswith('the fp16 engines of hlrc_s_aerial are refused: same class')
    assert found['agreement'] == 0.0
    assert found['end to end']['median_ms'] > 0
    assert len(list((tmp_path / 'dumps').glob('engine_*.json'))) == 3


def test_engines_are_built_with_all_names(tmp_path: Path) -> None:
    real = describe(pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed'))
    builder = Inspected(real, tmp_path).make('Builder')
    config = builder.create_builder_config()
    assert config.profiling_verbosity == real.module.ProfilingVerbosity.DETAILED
    assert hasattr(real.module.LayerInformationFormat, 'JSON')
    assert hasattr(real.module.EngineInspector, 'get_engine_information')
    assert hasattr(real.module.ICudaEngine, 'create_engine_inspector')


def test_kernels_are_checked_and_timed_beyond_the_cache(setup: Setup) -> None:
    bench = KernelBench(setup.machine, b'\x7fELF', SCALE)
    found = bench.prepare('bgr8')
    assert found['wrong_values'] == 0
    # Three sets of a frame of 18 KB and images of 39 KB are four times the cache of 32 KB: the
    # stand-in's millisecond is that of three launches of a graph that has each of them once.
    assert found['ms'] == round(1 / 9, 4)
    checks = bench.all_once()
    assert [checks[name] for name in FORMATS] == [0] * len(FORMATS)
    assert checks['finish'] > 0.999
    assert checks['wrong_flags'] == 0
    assert bench.check()['ms'] > 0
    assert (checks['largest_difference'] < 0.01, checks['wrong_colors']) == (True, 0)
    assert dict(bench.copies())['both at once']()['gb_per_s'] > 0
    assert not setup.machine._stand_in.cuda.blocks
    bench.close()


@pytest.mark.slow
def test_paper_network_travels_with_the_kit(setup: Setup, tmp_path: Path) -> None:
    """Export a network and build its engines, which most tests of exports do."""
    gpu_kit.prepare(tmp_path / 'kit', None, (8, 7), SCALE, lambda text: None, paper=True)
    setup = replace(setup, kit=Kit(tmp_path / 'kit'))
    options = EngineOptions(precision='fp16', cache=str(tmp_path / 'cache'))
    backend = setup.machine.tensorrt(PAPER, options, tmp_path / 'dumps')
    found = measure(setup, backend, Case(PAPER, 'paper', 'fp16'))
    assert found['agreement'] > 0.9
    assert found['verdict'] == 'accepted'


@pytest.mark.slow
def test_overlap_is_measured(setup: Setup, tmp_path: Path) -> None:
    """Open the bundle three times, which the dry run does, too."""
    found = overlap(setup, '4K', tmp_path / 'overlap.png')
    assert found['ratio'] == 1.0
    assert set(found['spans_ms']) == {'semantic', 'detail', 'quarter'}
    assert (tmp_path / 'overlap.png').is_file()


def test_timeline_is_drawn(tmp_path: Path) -> None:
    picture = tmp_path / 'overlap.png'
    spans = {'semantic': (0.0, 3.0), 'detail': (0.0, 8.0), 'quarter': (8.0, 9.0)}
    draw_timeline(spans, picture, 'example')
    drawn = cv2.imread(str(picture))
    assert drawn.shape == (210, 900, 3)
    assert (np.abs(drawn.astype(int) - 255).sum(2) > 0).mean() > 0.1


def fail(text: str) -> dict:
    """Fail as a case does."""
    raise EngineError(text)


def example(setup: Setup) -> Cases:
    """Give four cases, one of which takes the context with it."""
    yield 'good', lambda: {'ms': 1.0}
    yield 'bad', lambda: fail('no such bundle')
    yield 'lost', lambda: fail('CUDA: cuStreamSynchronize failed: an illegal memory access')
    yield 'last', lambda: {'ms': 2.0}


def test_what_is_done_is_kept_when_the_context_is_lost(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECTIONS, 'kernels', Section(example, 10))
    published: list[int] = []

    def note() -> None:
        published.append(len(Record(setup.work, 'kernels').content['result']))

    assert run_cases('kernels', setup, note) == CONTEXT_LOST
    assert published == [1, 2, 3]
    assert run_cases('kernels', setup, note) == 0
    record = Record(setup.work, 'kernels')
    assert record.done
    assert list(record.content['result']) == ['good', 'bad', 'lost', 'last']
    assert record.content['result']['bad']['missing'] == 'no such bundle'
    record.forget_failures()
    assert list(Record(setup.work, 'kernels').content['result']) == ['good', 'last']
    assert not Record(setup.work, 'kernels').done


def test_case_that_kills_the_process_is_left_out(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECTIONS, 'kernels', Section(example, 10))
    codes: list[int] = []

    def start(name: str, setup: Setup, timeout: float) -> subprocess.CompletedProcess[str]:
        if not codes:
            Record(setup.work, name).begin('good')
            (setup.files / f'{name}.log').write_text(
                'Fatal Python error: Segmentation fault\n\nExtension modules: numpy (total: 1)\n'
            )
            codes.append(-11)
        else:
            codes.append(run_cases(name, setup, lambda: None))
        return subprocess.CompletedProcess([], codes[-1])

    monkeypatch.setattr(gpu_process, 'start_section', start)
    run_apart('kernels', setup, 10)
    assert codes == [-11, CONTEXT_LOST, 0]
    record = Record(setup.work, 'kernels')
    assert record.done
    assert record.content['result']['good']['missing'] == (
        'exit code -11: Fatal Python error: Segmentation fault'
    )
    assert record.content['result']['last']['ms'] == 2.0


def test_case_that_takes_too_long_is_named(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(name: str, setup: Setup, timeout: float) -> subprocess.CompletedProcess[str]:
        Record(setup.work, name).begin('slow case')
        raise subprocess.TimeoutExpired('python', timeout)

    monkeypatch.setattr(gpu_process, 'start_section', start)
    run_apart('compiled', setup, 7)
    record = Record(setup.work, 'compiled')
    assert record.content['result']['slow case']['missing'] == 'stopped after 7 s'
    assert not record.done


def test_process_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    script = 'sleep 60 & echo $! > started; wait'
    child = {'args': ['bash', '-c', script], 'cwd': tmp_path}
    with pytest.raises(subprocess.TimeoutExpired):
        run_with_all(child, 1.0)
    started = int((tmp_path / 'started').read_text())
    deadline = monotonic() + 30.0
    while runs(started):  # it was sent a signal, which it gets when it has its turn
        assert monotonic() < deadline
        sleep(0.01)


def runs(process: int) -> bool:
    """Tell if a process lives: one that has ended may wait to be collected."""
    try:
        return Path(f'/proc/{process}/stat').read_text(encoding='utf-8').split()[2] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_wheels_of_the_kit_are_found(setup: Setup, kit: Kit, tmp_path: Path) -> None:
    shutil.copytree(kit.folder, tmp_path / 'kit')
    with zipfile.ZipFile(tmp_path / 'kit/wheels/rare-1.0-py3-none-any.whl', 'w') as wheel:
        wheel.writestr('rare_package.py', 'VALUE = 7\n')
    Kit(tmp_path / 'kit').unpack_wheels(setup.work / 'site')
    child = section_command('life', setup)
    command = [sys.executable, '-c', 'import rare_package; print(rare_package.VALUE)']
    done = subprocess.run(command, env=child['env'], capture_output=True, text=True, check=True)
    assert done.stdout == '7\n'


def results_on(gpu: str) -> dict:
    """Return results of one section and of a part of another, on a GPU."""
    environment = {'gpu': {'name': gpu}, 'health': {'missing': 'NVML does not know it'}}
    engines = {'4K fp16': {'engines': {'median_ms': 6.0}}}
    return {
        'pretended': False,
        'kit': {'traffic': {'4K': 2_400_000_000}},
        'sections': {
            'environment': {'done': True, 'result': environment},
            'tensorrt': {'done': False, 'result': engines, 'missing': 'exit code 1: no memory'},
        },
    }


def test_measured_stands_beside_expected(tmp_path: Path) -> None:
    rows = {row.what: row for row in rows_of(results_on('NVIDIA H200'))}
    engines = rows['hlrc_s, 4K, fp16, TensorRT']
    assert (engines.low, engines.high, engines.measured) == (1.1, 3.0, 6.0)
    assert engines.verdict == '2.00 of it'
    unfused = rows['hlrc_s, 4K, fp16, PyTorch']
    assert (unfused.low, unfused.high) == (0.625, 1.25)
    assert unfused.verdict == 'not measured'
    assert rows['hlrc_s, 4K, fp16, TensorRT']._replace(measured=2.0).verdict == 'as expected'
    on_orin = {row.what: row for row in rows_of(results_on('Orin'))}
    assert (on_orin['hlrc_s, 4K, fp16, TensorRT'].low) == 22.0
    assert rows_of(results_on('NVIDIA A2')) == []
    draw([engines], tmp_path / 'expectations.png')
    assert cv2.imread(str(tmp_path / 'expectations.png')).shape == (96, 1000, 3)


def test_report_says_what_is_missing(tmp_path: Path) -> None:
    from tools.gpu_report import write_report

    write_report(results_on('NVIDIA H200'), tmp_path / 'README.md', tmp_path)
    page = (tmp_path / 'README.md').read_text()
    assert '| hlrc_s, 4K, fp16, TensorRT | 1.1 to 3 ms | 6 ms | 2.00 of it |' in page
    assert '* environment, health: NVML does not know it' in page
    assert '* tensorrt: exit code 1: no memory' in page
    assert 'dry run' not in page


def test_results_are_published_in_two_files(setup: Setup) -> None:
    Record(setup.work, 'environment').put('gpu', {'name': 'NVIDIA H200'}, 0.1)
    publish(setup)
    assert sorted(path.name for path in setup.output.iterdir()) == ['README.md', 'results.json']
    results = json.loads((setup.output / 'results.json').read_text())
    assert results['sections']['environment']['result']['gpu']['name'] == 'NVIDIA H200'
    assert 'A dry run on stand-ins' in (setup.output / 'README.md').read_text()


def acceptance(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return subprocess.run(
        ['bash', ROOT / 'scripts/gpu_acceptance', *map(str, arguments)],
        env={**os.environ, 'PYTHON': sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_says_at_once_that_there_is_no_gpu(kit: Kit, tmp_path: Path) -> None:
    # A kit for the sizes of real frames, of which nothing is read before there is a GPU.
    shutil.copytree(kit.folder, tmp_path / 'kit')
    sizes = {'1080p': (1080, 1920), '4K': (2160, 3840), '8K': (4320, 7680)}
    facts = {**kit.facts, 'sizes': sizes, 'traffic': dict.fromkeys(sizes, 1)}
    (tmp_path / 'kit/kit.json').write_text(json.dumps(facts))
    folders = ['--kit', tmp_path / 'kit', '--work', tmp_path / 'work']
    done = acceptance(*folders, '--output', tmp_path / 'gpu', CUDA_VISIBLE_DEVICES='')
    assert done.returncode == 2
    assert 'CUDA' in done.stderr
    page = (tmp_path / 'gpu/README.md').read_text()
    assert '## Machine' in page
    assert '* life: ' in page
    assert not (tmp_path / 'work/sections/kernels.json').exists()


def test_says_how_to_prepare_a_kit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, text in (
        (['--kit'], f'holds no kit: run scripts/gpu_acceptance prepare --kit {tmp_path}'),
        (['prepare', '--wheels'], f'--wheels {tmp_path}: no *.whl in it'),
    ):
        monkeypatch.setattr(sys, 'argv', ['gpu_acceptance', *arguments, str(tmp_path)])
        assert main() == 2
        assert text in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute of CPU time, in processes one after the other
def test_dry_run_writes_every_file(tmp_path: Path) -> None:
    """Run every section in its process, which takes a minute; their parts are tested above."""
    folders = ['--kit', tmp_path / 'kit', '--work', tmp_path / 'work']
    done = acceptance('--pretend', *folders, '--output', tmp_path / 'gpu', '--seconds', 1200)
    assert 'Traceback' not in done.stderr
    files = sorted(path.name for path in (tmp_path / 'gpu').iterdir())
    assert files == ['README.md', 'results.json', 'results.tar.gz']
    with tarfile.open(tmp_path / 'gpu/results.tar.gz') as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert {'README.md', 'results.json', 'expectations.png', 'overlap_4K.png'} <= names
    sections = json.loads((tmp_path / 'gpu/results.json').read_text())['sections']
    assert list(sections) == list(gpu_sections.SECTIONS)
    assert all(section['done'] for section in sections.values())
    page = (tmp_path / 'gpu/README.md').read_text()
    for title in ('## Expected and measured', '## Frames, TensorRT', '## Kernels', '## Missing'):
        assert title in page
