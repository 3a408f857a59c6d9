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

"""TensorRT for RTX: which GPUs it is for, what it compiles when it runs, and CUDA graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

from real_networks import real_rtx
from standin_backend import ADA, ORIN, StandIn
from standin_tensorrt import make_tensorrt

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.api import describe, TensorRT, TensorRTError
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.builder import build_plan
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.gpu import Gpu
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.pipelines.pipeline import OutputRequest, TilingOptions
from uhr_seg_ros.pipelines.two_branch_gpu import TwoBranchGpu
from uhr_seg_ros.synthetic.scenes import generate_scene

TURING = replace(ADA, name='NVIDIA GeForce RTX 2080', capability=(7, 5))
HOPPER = replace(ADA, name='NVIDIA H200', capability=(9, 0))
THOR = replace(ORIN, name='NVIDIA Thor', capability=(11, 0))
KNOWN = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """Put stand-ins in the place of driver, CUDA and TensorRT for RTX."""
    return StandIn(monkeypatch, tmp_path / 'cache', 'rtx1.7.1')


@pytest.fixture(params=['stand-in', 'real'])
def rtx(request: pytest.FixtureRequest) -> TensorRT:
    """Return the stand-in, and the real one where it is installed."""
    if request.param == 'stand-in':
        return describe(make_tensorrt('rtx1.7.1'))
    return real_rtx()


def run(bundle: Path, frames: int = 1, **options: Any) -> list[str]:
    """Open a bundle on the stand-ins, segment frames, and return what was reported."""
    lines: list[str] = []
    options = {'report': lines.append, 'warn': lines.append, **options}
    engine_options = EngineOptions(precision='fp32', backend='tensorrt', **options)
    pipeline = TwoBranchGpu.open(load_bundle(bundle), TilingOptions(), engine_options)
    frame = RawFrame.of_bgr(generate_scene(5, 64, 96)[0])
    try:
        for _ in range(frames):
            pipeline.segment(frame, OutputRequest(), StageClock())
    finally:
        pipeline.close()
    return lines


@pytest.mark.parametrize('gpu', [ORIN, HOPPER, THOR], ids=lambda gpu: gpu.name)
def test_a_gpu_that_it_does_not_know(rtx: TensorRT, gpu: Gpu) -> None:
    text = (
        rf'TensorRT-RTX 1\.7\.1.* does not run on {gpu.name} \(compute capability '
        rf'{gpu.capability[0]}\.{gpu.capability[1]}\), only on '
        r'7\.5, 8\.0, 8\.6, 8\.9, 12\.0, 12\.1: install TensorRT itself, .* back end onnxruntime'
    )
    with pytest.raises(TensorRTError, match=text):
        rtx.check_gpu(gpu)


@pytest.mark.parametrize('capability', KNOWN)
def test_the_gpus_that_it_knows(rtx: TensorRT, capability: tuple[int, int]) -> None:
    rtx.check_gpu(replace(ADA, capability=capability))
    config = rtx.module.Builder(rtx.log).create_builder_config()
    rtx.aim(config, capability)
    assert config.num_compute_capabilities == 1


def test_tensorrt_itself_says_which_gpus_it_knows() -> None:
    describe(make_tensorrt('10.3.0')).check_gpu(ORIN)


def test_it_is_refused_before_anything_is_built(stand_in: StandIn, tiny_bundle: Path) -> None:
    stand_in.gpu = ORIN
    with pytest.raises(TensorRTError, match='does not run on Orin'):
        run(tiny_bundle)
    assert stand_in.trt.notes.built == 0
    assert stand_in.cuda is None


def test_it_builds_for_the_gpu_at_hand(stand_in: StandIn, tiny_bundle: Path) -> None:
    """By itself it would not build for Turing."""
    stand_in.gpu = TURING
    backend = TensorRTBackend('tiny', EngineOptions(precision='fp32'))
    backend.execution(load_bundle(tiny_bundle).graphs['detail'], {'image': (1, 3, 64, 96)})
    backend.close()
    assert stand_in.trt.notes.targets == ['SM75']


def test_what_the_real_builder_is_told() -> None:
    real = real_rtx()
    config = real.make('Builder').create_builder_config()
    real.aim(config, (7, 5))
    assert config.get_compute_capability(0) == real.module.ComputeCapability.SM75
    assert config.get_flag(real.module.BuilderFlag.REQUIRE_USER_ALLOCATION)


def test_turing_has_no_float32_matrix_products() -> None:
    """The real builder says so at once."""
    quarter = load_bundle('hlrc_s_aerial').graphs['quarter']
    shapes = {'tokens': (1, 32, 4, 6), 'affinity': (1, 16, 24, 9), 'local': (1, 32, 16, 24)}
    options = {'precision': 'fp32', 'workspace_mb': 256}
    text = (
        r'cannot build .* in fp32 .*FP32 GEMM is not supported.*: TensorRT for RTX has no float32 '
        r'matrix products on Turing, .*: install TensorRT itself, .*or choose the back end'
    )
    with pytest.raises(TensorRTError, match=text):
        build_plan(real_rtx(), quarter.read(), shapes, capability=(7, 5), **options)
    assert build_plan(real_rtx(), quarter.read(), shapes, capability=(8, 6), **options).plan


def test_kernels_are_compiled_once(stand_in: StandIn, tiny_bundle: Path) -> None:
    notes = stand_in.trt.notes
    run(tiny_bundle, frames=3)
    assert notes.compiled == 3
    kept = sorted(path.name for path in stand_in.cache.rglob('*.runtime'))
    assert [name.partition('-fp32')[0] for name in kept] == [
        'tiny-detail',
        'tiny-quarter',
        'tiny-semantic',
    ]
    times = [path.stat().st_mtime_ns for path in stand_in.cache.rglob('*.json')]
    run(tiny_bundle)
    assert notes.compiled == 3
    assert times == [path.stat().st_mtime_ns for path in stand_in.cache.rglob('*.json')]


def test_kernels_of_another_driver_are_replaced(stand_in: StandIn, tiny_bundle: Path) -> None:
    notes = stand_in.trt.notes
    run(tiny_bundle)
    notes.driver = '13.0'
    for compiled in (6, 6):
        run(tiny_bundle)
        assert notes.compiled == compiled
    for path in stand_in.cache.rglob('*.runtime'):
        path.write_bytes(b'damaged')
    for compiled in (9, 9):
        run(tiny_bundle)
        assert notes.compiled == compiled


def test_kernels_that_cannot_be_kept(stand_in: StandIn, tiny_bundle: Path) -> None:
    folder = stand_in.cache / 'uhr_seg_ros'
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    lines = run(tiny_bundle)
    assert sum('can be written by other users' in line for line in lines) == 1
    assert stand_in.trt.notes.compiled == 3


def test_engines_are_captured(stand_in: StandIn, tiny_bundle: Path) -> None:
    lines = run(tiny_bundle, frames=4)
    # The first frame is that of the comparison with ONNX Runtime.
    assert [graph.launches for graph in stand_in.cuda.captured] == [2, 1]
    assert not any('CUDA graphs' in line for line in lines)


def test_engines_that_cannot_be_captured(
    stand_in: StandIn, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorRT, 'aim', lambda *_: None)
    lines = run(tiny_bundle, frames=4)
    text = 'engine tiny-semantic-fp32-1x3x16x24 cannot be captured, says TensorRT-RTX 1.7.1'
    assert f'frames run without CUDA graphs, for now: {text}' in lines
    assert stand_in.cuda.captured == []


def test_too_old() -> None:
    module = make_tensorrt('rtx1.7.1')
    module.__version__ = '1.3.0.35'
    with pytest.raises(TensorRTError, match=r'TensorRT-RTX 1\.3\.0\.35 is too old: 1\.4 or newer'):
        describe(module)
