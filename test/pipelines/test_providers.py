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

"""Execution providers of ONNX Runtime are verified against the CPU as TensorRT engines are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='the bundle is made with onnx')

from uhr_seg_ros.backends import onnxruntime
from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU be what runs the provider `cuda`."""
    monkeypatch.setitem(onnxruntime.PROVIDERS, 'cuda', onnxruntime.PROVIDERS['cpu'])


def lines_of(bundle: Path, backend: str) -> list[str]:
    lines: list[str] = []
    with Segmenter(bundle, backend, options=EngineOptions(report=lines.append)) as segmenter:
        assert segmenter.provenance['backend'] == backend
        assert segmenter(generate_scene(5, 64, 96)[0]).mask.shape == (64, 96)
    return lines


@pytest.mark.usefixtures('cuda')
def test_a_provider_is_compared_with_the_cpu(tiny_bundle: Path) -> None:
    lines = lines_of(tiny_bundle, 'onnxruntime:cuda')
    assert lines[0] == 'comparing the engines with ONNX Runtime on the CPU'
    assert lines[1].startswith('same class as ONNX Runtime on 100.000% of the pixels')
    assert lines_of(tiny_bundle, 'onnxruntime') == []


@pytest.mark.usefixtures('cuda')
def test_a_provider_that_computes_something_else(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = onnxruntime.OnnxRuntimeEngine.run

    def wrong(self: object, feeds: dict, outputs: list[str]) -> dict[str, np.ndarray]:
        found = run(self, feeds, outputs)
        if self.provenance()['backend'] != 'onnxruntime' and 'logits' in found:
            found['logits'] = found['logits'] * np.float32(np.nan)
        if self.provenance()['backend'] != 'onnxruntime' and 'mask' in found:
            found['mask'] = 2 - found['mask']
        return found

    monkeypatch.setattr(onnxruntime.OnnxRuntimeEngine, 'run', wrong)
    with pytest.raises(EngineError):
        Segmenter(tiny_bundle, 'onnxruntime:cuda')
    Segmenter(tiny_bundle, 'onnxruntime').close()
