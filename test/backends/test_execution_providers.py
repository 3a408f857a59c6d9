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

"""Execution providers of ONNX Runtime: what chooses one, and that none is replaced silently."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from standin_backend import ADA

from uhr_seg_ros.backends import execution_providers, onnxruntime
from uhr_seg_ros.backends.execution_providers import Provider
from uhr_seg_ros.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeEngine
from uhr_seg_ros.backends.options import EngineOptions, PROVIDERS
from uhr_seg_ros.backends.registry import (
    as_reference,
    BackendEntry,
    BACKENDS,
    is_reference,
    open_backend,
    select_backend,
)
from uhr_seg_ros.core import cuda_driver
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.gpu import GpuUnavailableError
from uhr_seg_ros.pipelines.segmenter import Segmenter


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    """Return the tiny bundle."""
    return load_bundle(tiny_bundle)


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a GPU."""
    monkeypatch.setattr(execution_providers, 'find_gpu', lambda: ADA)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """
    Let `openvino` mean a provider that every ONNX Runtime has beside the CPU.

    It takes no node of ours, so the CPU computes what a graph gives.
    """
    provider = Provider('AzureExecutionProvider', 'onnxruntime')
    if provider.name not in ort.get_available_providers():
        pytest.skip('this ONNX Runtime has no provider beside the CPU')
    monkeypatch.setitem(onnxruntime.PROVIDERS, 'openvino', provider)
    return provider


def test_every_provider_that_can_be_written_is_known() -> None:
    assert tuple(onnxruntime.PROVIDERS) == PROVIDERS
    assert {provider.name for provider in onnxruntime.PROVIDERS.values()} <= set(
        ort.get_all_providers()
    )


@pytest.mark.parametrize(
    ('text', 'name', 'provider'),
    [
        ('tensorrt', 'tensorrt', 'cpu'),
        ('onnxruntime', 'onnxruntime', 'cpu'),
        ('onnxruntime:cpu', 'onnxruntime', 'cpu'),
        ('onnxruntime:openvino', 'onnxruntime', 'openvino'),
    ],
)
def test_text_chooses(text: str, name: str, provider: str) -> None:
    found, options = select_backend(text, EngineOptions(threads=3, provider='cuda'))
    assert (found, options.backend, options.provider) == (name, name, provider)
    assert options.threads == 3
    assert is_reference(options) == (text in ('onnxruntime', 'onnxruntime:cpu'))
    assert is_reference(as_reference(options)) and as_reference(options).precision == 'fp32'


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('abacus', "back end 'abacus' is unknown, known: auto, tensorrt, onnxruntime"),
        ('abacus:cuda', "back end 'abacus:cuda' is unknown"),
        ('onnxruntime:abacus', 'provider is unknown, known: cpu, cuda, tensorrt, openvino'),
        ('onnxruntime:', 'provider is unknown'),
        ('tensorrt:cuda', 'only onnxruntime has execution providers, choose tensorrt'),
    ],
)
def test_text_that_chooses_nothing(text: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        select_backend(text, EngineOptions())


@pytest.mark.parametrize('provider', PROVIDERS[1:])
def test_a_provider_that_is_not_installed(bundle: Bundle, provider: str) -> None:
    known = onnxruntime.PROVIDERS[provider]
    if known.name in ort.get_available_providers():
        pytest.skip(f'{known.name} is installed here')
    package = re.escape(known.package)
    reason = rf'{provider} is not in .* {ort.__version__}, which has cpu: pip install {package} '
    with pytest.raises(EngineError, match=f'{reason}.*choose the back end onnxruntime'):
        open_backend(bundle, EngineOptions(provider=provider))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let ONNX Runtime say that it has CUDA, as onnxruntime-gpu does on every machine."""
    name = onnxruntime.PROVIDERS['cuda'].name
    if name in ort.get_available_providers():
        pytest.skip(f'{name} is installed here')
    monkeypatch.setattr(ort, 'get_available_providers', lambda: [name, 'CPUExecutionProvider'])
    execution_providers._load_cuda.cache_clear()
    return name


@pytest.mark.filterwarnings('ignore:Specified provider')
@pytest.mark.usefixtures('with_gpu')
@pytest.mark.parametrize('said', ['', 'Failed to load libcudnn.so.9: no such file'])
def test_a_provider_that_does_not_start(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, installed: str, said: str
) -> None:
    """Its library may be missing: ONNX Runtime goes on with the CPU, we do not."""
    monkeypatch.setattr(ort, 'preload_dlls', lambda: print(said))
    backend = open_backend(bundle, EngineOptions(provider='cuda'))
    reason = said or 'the terminal says why'
    text = rf'did not start {installed} for graph .*detail.onnx \({reason}\): pip install onnx'
    with pytest.raises(EngineError, match=text):
        backend.open(bundle.graphs['detail'])


def test_a_gpu_is_looked_for_first(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    """ONNX Runtime has the provider without a driver too, and goes on with the CPU."""
    monkeypatch.setattr(cuda_driver, 'LIBRARY', 'libcuda_that_is_not_there.so')
    with pytest.raises(GpuUnavailableError, match='libcuda_that_.*: install the NVIDIA driver'):
        open_backend(bundle, EngineOptions(provider='cuda'))


@pytest.mark.usefixtures('with_gpu')
def test_the_gpu_and_the_first_frame_are_told(
    bundle: Bundle, remote: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = onnxruntime.PROVIDERS['cuda']._replace(name=remote.name, options={})
    monkeypatch.setitem(onnxruntime.PROVIDERS, 'cuda', own)
    lines: list[str] = []
    backend = open_backend(bundle, EngineOptions(provider='cuda', report=lines.append))
    assert lines == [f'the first frame of each size {own.first_frame}']
    engine = backend.open(bundle.graphs['detail'])
    assert engine.provenance() == backend.provenance()
    assert engine.provenance()['device'] == f'{ADA.name} ({remote.name})'
    engine.close()


@pytest.mark.usefixtures('with_gpu')
def test_what_computes_in_float32_stays_float32(
    bundle: Bundle, remote: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, ONNX Runtime lets TensorRT take TF32, and has no option against it."""
    assert onnxruntime.PROVIDERS['cuda'].options == {'use_tf32': '0'}
    monkeypatch.delenv('NVIDIA_TF32_OVERRIDE', raising=False)
    own = onnxruntime.PROVIDERS['tensorrt']._replace(name=remote.name)
    monkeypatch.setitem(onnxruntime.PROVIDERS, 'tensorrt', own)
    open_backend(bundle, EngineOptions()).open(bundle.graphs['detail']).close()
    assert 'NVIDIA_TF32_OVERRIDE' not in os.environ
    open_backend(bundle, EngineOptions(provider='tensorrt')).open(bundle.graphs['detail']).close()
    assert os.environ['NVIDIA_TF32_OVERRIDE'] == '0'


def test_another_provider_runs_and_is_told(bundle: Bundle, remote: Provider) -> None:
    image = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
    results = []
    for provider in ('cpu', 'openvino'):
        backend = open_backend(bundle, EngineOptions(provider=provider))
        engine = backend.open(bundle.graphs['detail'])
        assert engine.provenance() == backend.provenance()
        results.append((engine.run({'image': image}, ['local'])['local'], engine))
        engine.close()
        backend.close()
    assert (results[0][0] == results[1][0]).all()
    on_cpu, elsewhere = (engine for _, engine in results)
    assert (on_cpu.name, elsewhere.name) == ('onnxruntime', 'onnxruntime:openvino')
    assert on_cpu.provenance()['device'] == 'cpu'
    assert elsewhere.provenance() == {
        'backend': 'onnxruntime:openvino',
        'version': ort.__version__,
        'device': f'openvino ({remote.name})',
        'precision': 'fp32',
    }


def test_auto_takes_no_other_provider(tiny_bundle: Path, remote: Provider) -> None:
    with Segmenter(tiny_bundle, 'auto') as segmenter:
        assert segmenter.provenance['backend'] in ('onnxruntime', 'tensorrt')


class Abacus(OnnxRuntimeBackend):
    """A back end of somebody else."""

    opened = verified = 0

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        super().__init__(bundle, options)
        self.name = 'abacus'

    @property
    def unverified(self) -> bool:
        return True

    def open(self, *args: Any) -> OnnxRuntimeEngine:
        Abacus.opened += 1
        return super().open(*args)

    def commit_engines(self, facts: Mapping[str, float]) -> None:
        assert facts['agreement'] == 1.0
        Abacus.verified += 1


def test_a_new_back_end_is_one_module_and_one_line(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'my_abacus', SimpleNamespace(open_backend=Abacus))
    monkeypatch.setitem(BACKENDS, 'abacus', BackendEntry('my_abacus', takes_any_shape=True))
    with Segmenter(tiny_bundle, 'abacus') as segmenter:
        mask = segmenter(np.zeros((64, 96, 3), np.uint8)).mask
    assert mask.shape == (64, 96)
    assert Abacus.opened == 4 and Abacus.verified == 1


def test_half_precision_is_fp32_elsewhere_too(bundle: Bundle, remote: Provider) -> None:
    lines: list[str] = []
    options = EngineOptions(provider='openvino', precision='fp16', report=lines.append)
    assert open_backend(bundle, options).provenance()['precision'] == 'fp32'
    assert lines == ['ONNX Runtime has no fp16 on openvino from a graph in fp32: fp32 runs']


def test_every_back_end_has_its_door() -> None:
    """Modules that a machine without a GPU can import, with the function that opens them."""
    from importlib import import_module

    assert list(BACKENDS) == ['tensorrt', 'onnxruntime']
    for entry in BACKENDS.values():
        assert callable(import_module(entry.module).open_backend)


@pytest.mark.parametrize(('code', 'is_lost'), [(700, True), (719, True), (2, False)])
def test_error_that_ends_the_context_of_a_gpu(bundle: Bundle, code: int, is_lost: bool) -> None:
    engine = OnnxRuntimeEngine(bundle.graphs['semantic'], threads=1)

    class Failing:
        def run(self, *arguments: object) -> None:
            # As onnxruntime-gpu words it.
            msg = f'CUDA failure {code}: whatever it is ; GPU=0 ; expr=cudaStreamSynchronize'
            raise RuntimeError(msg)

    engine._session = Failing()
    with pytest.raises(EngineError, match=f'failed on low_res.*CUDA failure {code}') as caught:
        engine.run({'low_res': np.zeros((1, 3, 16, 16), np.float32)}, ['tokens'])
    assert isinstance(caught.value, GpuLostError) is is_lost
