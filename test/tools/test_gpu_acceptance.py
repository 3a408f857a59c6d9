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

"""The GPU acceptance script: its sections on stand-ins, its report, and no GPU at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

from standin_backend import ORIN, StandIn

from tools import gpu_cases, gpu_kernels, gpu_sections
from tools.gpu_acceptance import read_section, run_section
from tools.gpu_kernels import KernelBench
from tools.gpu_overlap import draw_timeline, measure
from tools.gpu_report import write_report
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.raw_frame import FORMATS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """Put stand-ins in the place of driver, CUDA and TensorRT, and make the work small."""
    stand_in = StandIn(monkeypatch, tmp_path / 'cache', '11.4.0.106')
    monkeypatch.setattr(gpu_kernels, 'find_gpu', lambda: ORIN)
    monkeypatch.setattr(gpu_kernels, 'compile_kernels', lambda capability: b'\x7fELF')
    monkeypatch.setattr(gpu_kernels, 'Cuda', stand_in._make_cuda)
    monkeypatch.setattr(gpu_kernels, 'LAUNCHES', 1)
    monkeypatch.setattr(gpu_sections, 'FRAMES', 4)
    monkeypatch.setattr(gpu_cases, 'SIZES', {'4K': (96, 160)})
    return stand_in


def test_kernels_are_checked(stand_in: StandIn) -> None:
    bench = KernelBench()
    for name in FORMATS:
        assert bench.prepare(name, (64, 96))['wrong_values'] == 0
    assert bench.finish(5, (128, 160))['same_class'] > 0.999
    painted = bench.paint((64, 96), 0.5)
    assert (painted['largest_difference'] <= 1, painted['wrong_colours']) == (True, 0)
    assert not stand_in.cuda.blocks
    bench.close()


def test_engines_are_measured_and_resumed(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = (('hlrc_s_aerial', '4K', 'fp16'), ('no_such_bundle', '4K', 'fp16'))
    monkeypatch.setattr(gpu_sections, 'CASES', cases)
    run_section('engines', tmp_path, tmp_path / 'work')
    section = read_section(tmp_path / 'engines.json')
    case = section['result']['hlrc_s_aerial 4K fp16']
    assert section['done'] is False
    assert case['engines']['median_ms'] == 1.0
    assert case['end to end']['median_ms'] > 0
    assert case['agreement'][0].startswith('same class as ONNX Runtime on ')
    assert 'no bundle' in section['result']['no_such_bundle 4K fp16']['missing']
    built = stand_in.trt.notes.built
    monkeypatch.setattr(gpu_sections, 'CASES', cases[:1])
    run_section('engines', tmp_path, tmp_path / 'work')
    assert stand_in.trt.notes.built == built
    write_report(tmp_path)
    page = (tmp_path / 'README.md').read_text()
    assert '| hlrc_s_aerial 4K fp16 | 1.0 ms (1.0 ms) |' in page
    assert '4K outside the engines' in page


def test_a_section_without_a_form_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / 'power.json').write_text('{"done": true, "result": {"watts": 41.5}}')
    write_report(tmp_path)
    page = (tmp_path / 'README.md').read_text()
    assert '## power' in page and '"watts": 41.5' in page


@pytest.mark.slow
def test_overlap_is_drawn(stand_in: StandIn, tmp_path: Path) -> None:
    times, spans = measure(load_bundle('hlrc_s_aerial'), (96, 160), tmp_path / 'cache')
    assert times['ratio'] == 1.0
    assert set(spans) == {'semantic', 'detail', 'quarter'}
    picture = tmp_path / 'overlap.png'
    draw_timeline(
        {'semantic': (0.0, 3.0), 'detail': (0.0, 8.0), 'quarter': (8.0, 9.0)}, picture, 'example'
    )
    drawn = cv2.imread(str(picture))
    assert drawn.shape == (210, 900, 3)
    assert (np.abs(drawn.astype(int) - 255).sum(2) > 0).mean() > 0.1


def test_says_what_is_missing_without_a_gpu(tmp_path: Path) -> None:
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'PYTHON': sys.executable}
    command = [
        'bash',
        ROOT / 'scripts/gpu_acceptance',
        '--output',
        tmp_path / 'gpu',
        '--work',
        tmp_path / 'work',
        '--only',
        'environment',
        'kernels',
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    page = (tmp_path / 'gpu/README.md').read_text()
    assert '## Machine' in page
    assert '* kernels: ' in page
    assert 'CUDA' in page
    assert json.loads((tmp_path / 'gpu/environment.json').read_text())['done'] is True
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert 'environment' not in again.stdout.splitlines()[0]
