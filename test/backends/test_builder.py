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

"""ONNX to plan: by the stand-in in every version, for real by TensorRT for RTX."""

from __future__ import annotations

from pathlib import Path
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip('onnx', reason='graphs to build are made with onnx')

import onnx
from standin_tensorrt import API, make_tensorrt, public_names, VERSIONS

from uhr_seg_ros.backends.tensorrt.api import (
    describe,
    load_tensorrt,
    PRODUCTS,
    TensorRT,
    TensorRTError,
)
from uhr_seg_ros.backends.tensorrt.builder import build_plan, Built
from uhr_seg_ros.core.bundle import load_bundle

SHAPES = {'image': (1, 3, 64, 96)}


@pytest.fixture(params=VERSIONS)
def tensorrt(request: pytest.FixtureRequest) -> TensorRT:
    """Return a stand-in of every version."""
    return describe(make_tensorrt(request.param))


@pytest.fixture
def newest() -> TensorRT:
    """Return a stand-in of the newest version."""
    return describe(make_tensorrt('11.4.0.106'))


@pytest.fixture
def model(tiny_bundle: Path) -> bytes:
    """Return the detail graph of the tiny bundle."""
    return load_bundle(tiny_bundle).graphs['detail'].path.read_bytes()


def build(
    tensorrt: TensorRT,
    model: bytes,
    shapes: dict[str, tuple[int, ...]] = SHAPES,
    **changes: object,
) -> Built:
    """Build with usual options."""
    options = {'capability': (8, 9), 'precision': 'fp16', 'workspace_mb': 512, **changes}
    return build_plan(tensorrt, model, shapes, **options)


def test_stand_in_has_only_real_names() -> None:
    unreal = [
        f'{version} {owner}.{name}'
        for version in ('8.5.3.1', '10.3.0', '11.4.0.106')
        for owner, name in public_names()
        if not any(name in API[other].get(owner, ()) for other in API)
    ]
    assert not unreal


def test_builds_in_every_version(tensorrt: TensorRT, model: bytes) -> None:
    built = build(tensorrt, model)
    notes: SimpleNamespace = tensorrt.module.notes
    assert built.plan
    assert notes.workspace == 512 << 20
    assert 'TF32' not in notes.flags
    before_10 = tensorrt.version < (10,) and not tensorrt.is_rtx
    assert ('FP16' in notes.flags) == before_10
    assert ('OBEY_PRECISION_CONSTRAINTS' in notes.flags) == before_10
    assert 'INT8' not in notes.flags
    is_10 = not tensorrt.is_rtx and tensorrt.version[0] == 10
    assert notes.creation == (
        {'EXPLICIT_BATCH'} if before_10 else {'STRONGLY_TYPED'} if is_10 else set()
    )


def test_float32_never_gets_the_half_flag(tensorrt: TensorRT, model: bytes) -> None:
    build(tensorrt, model, precision='fp32')
    assert tensorrt.module.notes.flags <= {'REQUIRE_USER_ALLOCATION'}
    assert not tensorrt.module.notes.held


def test_int8_needs_its_flag_before_10(model: bytes) -> None:
    tensorrt = describe(make_tensorrt('8.6.0'))
    build(tensorrt, model, precision='int8')
    assert {'FP16', 'INT8'} <= tensorrt.module.notes.flags


def test_timing_cache_grows_and_a_foreign_one_is_left(newest: TensorRT, model: bytes) -> None:
    first = build(newest, model).timing_cache
    assert len(build(newest, model, timing_cache=first).timing_cache) > len(first)
    assert build(newest, model, timing_cache=b'of another GPU').timing_cache == first


def test_progress(tensorrt: TensorRT, model: bytes) -> None:
    seen = []
    build(tensorrt, model, on_progress=lambda *step: seen.append(step))
    expected = [('Building engine', 1, 2), ('Building engine', 2, 2)]
    has_monitor = 'IProgressMonitor' in vars(tensorrt.module)
    assert seen == (expected if has_monitor else [])


def test_interrupted_build(newest: TensorRT, model: bytes) -> None:
    def interrupt(phase: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(newest, model, on_progress=interrupt)


def test_graph_that_is_none(tensorrt: TensorRT) -> None:
    with pytest.raises(TensorRTError, match=r'TensorRT.* cannot read the graph: node .*INVALID'):
        build(tensorrt, b'no graph')


def test_bytes_inside_a_graph_are_refused(newest: TensorRT, tiny_bundle: Path) -> None:
    fusion = load_bundle(tiny_bundle).graphs['fusion'].path.read_bytes()
    with pytest.raises(TensorRTError, match=r'node /bad \(Bad\): .*UINT8.*export'):
        build(newest, fusion)


def test_input_without_a_shape(newest: TensorRT, model: bytes) -> None:
    with pytest.raises(TensorRTError, match='input image that no shape is known of'):
        build(newest, model, {})


def test_failed_build_repeats_the_log(newest: TensorRT, model: bytes) -> None:
    newest.module.notes.refuses = 'Could not find any implementation for node X'
    text = r'cannot build .* image \(1, 3, 64, 96\) in fp16 \(TensorRT 11.*\): Could not find'
    with pytest.raises(TensorRTError, match=text):
        build(newest, model)
    newest.module.notes.refuses = ''
    assert build(newest, model).plan


def test_libraries_that_give_nothing(newest: TensorRT, model: bytes) -> None:
    def nothing(log: object) -> None:
        log.log(log.ERROR, 'CUDA initialization failure with error: 35')
        msg = 'pybind11::init(): factory function returned nullptr'
        raise TypeError(msg)

    newest.module.Builder = nothing
    text = r'TensorRT makes no Builder \(TensorRT 11.*\): CUDA initialization failure'
    with pytest.raises(TensorRTError, match=text):
        build(newest, model)


def test_none_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PRODUCTS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TensorRTError, match=r'cannot be imported .*onnxruntime:cuda'):
        load_tensorrt()


def test_too_old() -> None:
    module = make_tensorrt('8.5.3.1')
    module.__version__ = '8.4.1.5'
    with pytest.raises(TensorRTError, match=r'TensorRT 8\.4\.1\.5 is too old: 8\.5 or newer'):
        describe(module)


@pytest.fixture
def real() -> TensorRT:
    """Return TensorRT for RTX, whose parser and builder need no GPU."""
    return describe(pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed'))


def test_really_builds(real: TensorRT, model: bytes) -> None:
    seen = []
    built = build(real, model, precision='fp32', on_progress=lambda *step: seen.append(step))
    assert len(built.plan) > 1000
    assert len(seen) > 5
    assert all(0 < done <= total for _, done, total in seen)


def test_really_refuses(real: TensorRT, model: bytes) -> None:
    fusion = load_bundle('hlrc_s_aerial').graphs['fusion'].path.read_bytes()
    with pytest.raises(TensorRTError, match=r'cannot read the graph: node .*Cast.*UINT8'):
        build(real, fusion)
    with pytest.raises(TensorRTError, match='cannot read the graph'):
        build(real, model[:200])
    with pytest.raises(TensorRTError, match=r'cannot build the graph for image \(1, 4, 64, 96\)'):
        build(real, model, {'image': (1, 4, 64, 96)}, precision='fp32')


def test_really_refuses_an_unknown_operator(real: TensorRT, model: bytes) -> None:
    graph = onnx.load_model_from_string(model)
    graph.graph.node[0].op_type = 'Frobnicate'
    graph.graph.node[0].name = 'the_node'
    with pytest.raises(TensorRTError, match=r'node the_node \(Frobnicate\)'):
        build(real, graph.SerializeToString())


def test_really_interrupted(real: TensorRT, model: bytes) -> None:
    def interrupt(phase: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(real, model, on_progress=interrupt)
