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

"""
Engines on the GPU path: how they are built, kept, fitted to each other and given up.

Stand-ins are the driver, pycuda and TensorRT (test/support/host_cuda.py, standin_tensorrt.py).
"""

from __future__ import annotations

from pathlib import Path
import shutil

import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

from gpu_segmenters import on_cpu, on_gpu, options, scene
from standin_backend import StandIn
from tiny_bundle import edited_model

from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import BundleError, EngineError
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.two_branch_gpu_program import FrameProgram


@pytest.fixture(scope='module')
def bundle() -> str:
    """Return the shipped model."""
    return 'hlrc_s_aerial'


@pytest.mark.parametrize(
    ('precision', 'tile', 'channels'),
    [('fp16', None, (4, 8)), ('fp16', 96, (4, 1)), ('fp32', None, (1, 1))],
)
def test_maps_lie_as_convolutions_want_them(
    stand_in: StandIn, bundle: str, precision: str, tile: int | None, channels: tuple[int, int]
) -> None:
    """What only engines and `prepare` touch: channels innermost; tiles are blended row by row."""
    loaded = load_bundle(bundle)
    backend = TensorRTBackend(loaded.name, options(precision=precision))
    try:
        program = FrameProgram(loaded, backend, (128, 192), tile)
        specs = program._engines.detail.inputs['image'], program._engines.detail.outputs['local']
        assert tuple(each.channels for each in specs) == channels
        assert program._engines.quarter.inputs['local'].channels == channels[1]
        assert specs[0].size == np.prod(specs[0].shape) * specs[0].dtype.itemsize * (
            4 / 3 if channels[0] == 4 else 1
        )
        program.close()
    finally:
        backend.close()
    assert not stand_in.cuda.blocks


def test_channels_that_do_not_fill_a_format_stay_row_by_row(
    stand_in: StandIn, tiny_bundle: Path
) -> None:
    """Three channels of `local` would be followed by five that nobody writes."""
    loaded = load_bundle(tiny_bundle)
    backend = TensorRTBackend(loaded.name, options(precision='fp16'))
    try:
        formats = {'image': 'CHW4', 'local': 'HWC8'}
        detail = backend.execution(loaded.graphs['detail'], {'image': (1, 3, 32, 48)}, formats)
        assert detail.inputs['image'].channels == 4
        assert detail.outputs['local'].channels == 1
    finally:
        backend.close()


def test_engines_are_built_once(stand_in: StandIn, tiny_bundle: Path) -> None:
    lines: list[str] = []
    for _ in range(2):
        with on_gpu(tiny_bundle, report=lines.append) as segmenter:
            segmenter.warm_up((64, 64))
    assert stand_in.trt.notes.built == 3
    assert sum('building engine' in line for line in lines) == 3
    assert sum('comparing' in line for line in lines) == 1
    assert 'none was made yet' in lines[1]


def test_built_for_the_size_to_come(stand_in: StandIn, tiny_bundle: Path) -> None:
    with Segmenter(tiny_bundle, 'tensorrt', input_size=(64, 96), options=options()):
        assert stand_in.trt.notes.built == 3


def test_new_version_builds_again_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle: Path
) -> None:
    lines: list[str] = []
    for version in ('10.3.0', '10.13.3.9.post1'):
        StandIn(monkeypatch, tmp_path, version)
        with on_gpu(tiny_bundle, report=lines.append) as segmenter:
            segmenter.warm_up((64, 64))
    text = 'tensorrt was TensorRT 10.3.0, is TensorRT 10.13.3.9.post1'
    assert sum(text in line for line in lines) == 3


def test_engine_that_tensorrt_refuses_is_replaced(
    stand_in: StandIn, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_gpu(tiny_bundle) as segmenter:
        segmenter.warm_up((64, 64))
    # Written by another build of the same version, say.
    real = stand_in.trt.Runtime.deserialize_cuda_engine
    refusals = iter([True])

    def refuse_once(self: object, plan: bytes) -> object | None:
        return real(self, b'' if next(refusals, False) else plan)

    monkeypatch.setattr(stand_in.trt.Runtime, 'deserialize_cuda_engine', refuse_once)
    lines: list[str] = []
    with on_gpu(tiny_bundle, report=lines.append) as segmenter:
        segmenter.warm_up((64, 64))
        assert segmenter(scene(64, 64)).mask.shape == (64, 64)
    assert 'magicTag' in lines[0]
    assert stand_in.trt.notes.built == 4


def test_engines_that_disagree_are_refused(
    stand_in: StandIn, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stand_in.trt._Engine.create_execution_context

    def wrong(self: object) -> object:
        context = real(self)
        if 'quarter_logits' in self._outputs:
            self._session = _Wrong(self._session)
        return context

    with on_gpu(tiny_bundle, precision='fp16') as segmenter:
        segmenter.warm_up((96, 64))
    good = set(stand_in.cache.glob('**/*.engine'))
    assert len(good) == 3
    monkeypatch.setattr(stand_in.trt._Engine, 'create_execution_context', wrong)
    text = r'fp16 engines of tiny are refused: same class as ONNX Runtime on .* precision fp32, or'
    with pytest.raises(EngineError, match=text):
        Segmenter(tiny_bundle, 'tensorrt', input_size=(64, 64), options=options(precision='fp16'))
    fallen = Segmenter(tiny_bundle, input_size=(64, 64), options=options(precision='fp16'))
    assert fallen.backend == 'onnxruntime'
    assert 'refused' in fallen.fallback
    fallen.close()
    assert set(stand_in.cache.glob('**/*.engine')) == good


class _Wrong:
    """A session that turns its results upside down."""

    def __init__(self, session: object) -> None:
        self._session = session

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [-values for values in self._session.run(names, feeds)]


def test_engine_of_a_failed_size_is_compared_when_it_is_used(
    stand_in: StandIn, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failing = stand_in.trt.Builder.build_serialized_network, iter([False, True])

    def second_fails(self: object, network: object, config: object) -> bytes | None:
        return None if next(failing, False) else real(self, network, config)

    monkeypatch.setattr(stand_in.trt.Builder, 'build_serialized_network', second_fails)
    lines: list[str] = []
    with on_gpu(tiny_bundle, report=lines.append) as segmenter:
        with pytest.raises(EngineError, match='cannot build'):
            segmenter.warm_up((64, 64))
        segmenter.warm_up((64, 96))
        # Not the one that was built for the size that failed.
        entries = EngineCache().entries()
        assert sum('agreement' in entry.facts for entry in entries) == 3
        segmenter.warm_up((64, 64))
    compared = [line for line in lines if line.startswith('comparing')]
    assert [line.split()[4] for line in compared] == ['96x64', '64x64']
    assert stand_in.trt.notes.built == 6


def test_failed_build_falls_back(stand_in: StandIn, tiny_bundle: Path) -> None:
    stand_in.trt.notes.refuses = 'out of memory'
    with Segmenter(tiny_bundle, input_size=(64, 64)) as segmenter:
        assert segmenter.backend == 'onnxruntime'
        assert 'tensorrt is not used: TensorRT cannot build' in segmenter.fallback
        assert 'out of memory' in segmenter.fallback
        assert segmenter(scene()).mask.shape == (200, 300)
    with pytest.raises(EngineError, match='out of memory'):
        Segmenter(tiny_bundle, 'tensorrt', input_size=(64, 64))
    assert not stand_in.cuda.blocks


def test_a_graph_that_was_replaced_after_loading(
    stand_in: StandIn, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    loaded = load_bundle(folder)
    shutil.copy(folder / 'scores.onnx', folder / 'quarter.onnx')
    backend = TensorRTBackend(loaded.name, options())
    try:
        with pytest.raises(BundleError, match=r'quarter\.onnx has sha256 .*model\.yaml expects'):
            backend.execution(loaded.graphs['quarter'], {'tokens': (1, 3, 4, 4)})
    finally:
        backend.close()


@pytest.mark.parametrize('backend', ['auto', 'tensorrt'])
def test_gpu_that_is_lost(stand_in: StandIn, tiny_bundle: Path, backend: str) -> None:
    with (
        Segmenter(tiny_bundle, backend, input_size=(64, 96), options=options()) as segmenter,
        on_cpu(tiny_bundle) as reference,
    ):
        image = scene(64, 96)
        pending = [segmenter.submit(image) for _ in range(2)]
        stand_in.cuda.lose()
        with pytest.raises(GpuLostError, match='illegal memory access .*only a new process'):
            pending[0].result()
        if backend == 'tensorrt':
            for use in (pending[1].result, lambda: segmenter(image), lambda: segmenter(image)):
                with pytest.raises(GpuLostError):
                    use()
            assert segmenter.is_lost
            return
        assert not segmenter.is_lost
        with pytest.raises(EngineError, match='was in work when the GPU was lost: tensorrt is'):
            pending[1].result()
        np.testing.assert_array_equal(segmenter(image).mask, reference(image).mask)
        assert segmenter.backend == segmenter.provenance['backend'] == 'onnxruntime'
        assert 'illegal memory access' in segmenter.fallback
    assert not stand_in.cuda.blocks


def test_gpu_that_is_lost_while_it_is_opened(stand_in: StandIn, tiny_bundle: Path) -> None:
    real = stand_in.trt.Runtime.deserialize_cuda_engine

    def lose(self: object, plan: bytes) -> object:
        stand_in.cuda.lose()
        return real(self, plan)

    stand_in.trt.Runtime.deserialize_cuda_engine = lose
    with pytest.raises(GpuLostError):
        Segmenter(tiny_bundle, 'tensorrt', input_size=(64, 96), options=options())
    with Segmenter(tiny_bundle, input_size=(64, 96), options=options()) as segmenter:
        assert segmenter.backend == 'onnxruntime'
        assert 'illegal memory access' in segmenter.fallback


def detail_sizes(stand_in: StandIn) -> set[str]:
    """Return the inputs that engines of `detail` were built for."""
    return {path.name.split('-')[3] for path in stand_in.cache.glob('**/tiny-detail-*.engine')}


@pytest.mark.parametrize(
    ('limit_mb', 'bytes_per_value', 'sizes'),
    [
        (6, 0, {'1x3x256x320'}),
        (6, 25, {'1x3x256x320', '1x3x256x192'}),  # found to be too large, and built in tiles
        (768, 1000, {'1x3x256x320'}),  # the GPU has memory of its own
        (0, 1000, {'1x3x256x320'}),
    ],
)
def test_tiles_are_as_large_as_engines_of_the_gpu_allow(
    stand_in: StandIn,
    tiny_bundle: Path,
    tmp_path: Path,
    limit_mb: int,
    bytes_per_value: int,
    sizes: set[str],
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'tiny'))
    with edited_model(folder) as model:
        model['memory']['detail_bytes_per_pixel'] = 90.0  # of a CPU: 6 MB are 258 x 258 px
    stand_in.trt.notes.memory_per_value = bytes_per_value
    image, built = scene(256, 320), []
    for _ in range(2):  # what was found decides at every start
        with Segmenter(
            folder,
            'tensorrt',
            TilingOptions(limit_mb),
            input_size=(256, 320),
            options=options(report=(lines := []).append),
        ) as segmenter:
            mask = segmenter(image).mask
        built.append(stand_in.trt.notes.built)
        assert detail_sizes(stand_in) == sizes
        with on_cpu(folder, TilingOptions(tile=256 if len(sizes) > 1 else None)) as reference:
            assert (mask == reference(image).mask).mean() > 0.9999
    assert built[0] == built[1]
    assert not any('other tiles' in line for line in lines)


def test_factor_that_the_kernels_do_not_know(
    stand_in: StandIn, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    with edited_model(folder) as model:
        model['input']['low_res_factor'] = 8
    with pytest.raises(BundleError, match='low_res_factor is 8, TensorRT runs with 4 only'):
        on_gpu(folder)
