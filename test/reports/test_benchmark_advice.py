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

"""What is said below the figures of a benchmark, and the line about the back end above them."""

from __future__ import annotations

from typing import Any

import pytest

from uhr_seg_ros.cli.backend_line import backend_line
from uhr_seg_ros.reports.benchmark_advice import drop_advice, trust_warning


def report(dropped: int = 0, **parameters: Any) -> dict[str, Any]:
    stages = {'wait': 900.0, 'convert': 20.0, 'detail': 380.0, 'latency': 1300.0}
    return {
        'figures': {
            'frames': {'sent': 40, 'masks': 40 - dropped, 'dropped': dropped},
            'sent_hz': 5.0,
            'stage_ms': {name: {'p50': value} for name, value in stages.items()},
        },
        'node': {'parameters': parameters},
    }


def test_nothing_is_advised_where_nothing_is_dropped() -> None:
    assert drop_advice(report()) == []


def test_advice_follows_from_figures_and_parameters() -> None:
    text = '\n'.join(drop_advice(report(9, precision='auto', threads=0, detail='whole')))
    assert '9 of 40 frames were dropped' in text
    assert 'a frame takes 400 ms: play or record 2 Hz' in text
    assert 'latency.budget_ms: 160' in text
    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        'rate',
        'budget',
        'roi',
        'scale',
        'precision',
    ]
    assert 'int8' in text and 'threads' not in text
    text = '\n'.join(drop_advice(report(9, precision='int8', threads=2, detail='budget')))
    assert 'threads    0, all cores, in place of 2' in text
    assert 'int8' not in text and 'latency.budget_ms' not in text


def test_a_busy_machine_is_not_trusted() -> None:
    assert trust_warning(97.0) == '' == trust_warning(None)
    assert 'other work took 45 % of this machine' in trust_warning(55.0)


def test_the_back_end_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')  # also where there is a GPU
    cpu = {'backend': 'onnxruntime', 'device': 'cpu'}
    line = 'backend: ONNX Runtime on the CPU'
    assert backend_line(cpu, '') == line
    said = f'{line} (TensorRT needs an NVIDIA driver: docs/tensorrt.md)'
    assert backend_line(cpu, 'tensorrt is not used: much text') == said
    gpu = {'backend': 'tensorrt', 'device': 'Orin, driver 12.6'}
    assert backend_line(gpu, '') == 'backend: TensorRT on Orin, driver 12.6'
