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
The GPU path, run on the CPU: real pipeline, buffers, graphs and kernels.

Stand-ins are the driver, pycuda and TensorRT (test/support/host_cuda.py, standin_tensorrt.py).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
import shutil

import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

from standin_backend import StandIn
from standin_tensorrt import first_becomes, VERSIONS
from tiny_bundle import edited_model

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.backend import TensorRTBackend
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import BundleError, ConfigError, EngineError
from uhr_seg_ros.core.raw_frame import FORMATS, memory_shape, RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.export.bundle_writing import add_graph
from uhr_seg_ros.export.novelty import Known, write_known
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.pipeline import OutputRequest, TilingOptions
from uhr_seg_ros.pipelines.region_of_interest import RegionOfInterest
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.two_branch_gpu import TwoBranchGpu
from uhr_seg_ros.pipelines.two_branch_gpu_program import FrameProgram
from uhr_seg_ros.synthetic.scenes import generate_scene


@pytest.fixture(scope='module')
def bundle() -> str:
    """Return the shipped model."""
    return 'hlrc_s_aerial'


@cache
def scene(height: int = 200, width: int = 300, seed: int = 5) -> np.ndarray:
    """Return a generated frame."""
    return generate_scene(seed, height, width)[0]


def options(**changes: object) -> EngineOptions:
    """Return the options of most tests."""
    return EngineOptions(**{'precision': 'fp32', **changes})


def on_gpu(bundle: str | Bundle, **changes: object) -> Segmenter:
    """Open a segmenter on the stand-ins."""
    return Segmenter(bundle, 'tensorrt', options=options(**changes))


def on_cpu(bundle: str | Bundle, limits: TilingOptions | None = None) -> Segmenter:
    """Open the reference, which by itself might take int8."""
    return Segmenter(bundle, 'onnxruntime', limits or TilingOptions(), options=options())


@pytest.mark.parametrize(
    ('graphs', 'order'),
    [
        (True, 'lazy'),
        (True, 'hasty'),
        pytest.param(True, 'eager', marks=pytest.mark.slow),
        (False, 'lazy'),
        pytest.param(False, 'hasty', marks=pytest.mark.slow),
        pytest.param(False, 'eager', marks=pytest.mark.slow),
    ],
)
def test_the_mask_of_the_cpu_path(
    stand_in: StandIn, bundle: str, order: str, graphs: bool
) -> None:
    stand_in.order, stand_in.graphs = order, graphs
    with on_gpu(bundle) as segmenter, on_cpu(bundle) as reference:
        for seed in range(6):  # first frames run without a graph, later ones with it
            image = scene(seed=seed)
            found = segmenter(image, confidence=True, logits=True)
            expected = reference(image, confidence=True, logits=True)
            assert (found.mask == expected.mask).mean() > 0.9999
            np.testing.assert_allclose(found.logits, expected.logits, atol=2e-3)
            assert np.abs(found.confidence.astype(int) - expected.confidence).max() <= 2
            assert list(found.stage_times) == ['upload', 'engines', 'download']
            assert list(segmenter.stages) == [*found.stage_times, 'refine', 'smooth', 'overlay']
        assert [graph.launches for graph in stand_in.cuda.captured] == ([2, 2] if graphs else [])


def test_half_precision(stand_in: StandIn, bundle: str) -> None:
    with on_gpu(bundle, precision='fp16') as segmenter:
        found = segmenter(scene())
        assert segmenter.provenance['precision'] == 'fp16'
    with on_cpu(bundle) as reference:
        assert (found.mask == reference(scene()).mask).mean() > 0.998


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


def test_tiles_in_half_precision(stand_in: StandIn, bundle: str) -> None:
    limits, image = TilingOptions(tile=192), scene(250, 300)
    with on_cpu(bundle, limits) as reference:
        expected = reference(image).mask
    half = options(precision='fp16')
    with Segmenter(bundle, 'tensorrt', limits, options=half) as segmenter:
        assert (segmenter(image).mask == expected).mean() > 0.998


@pytest.mark.parametrize('version', VERSIONS)
def test_every_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle: Path, version: str
) -> None:
    StandIn(monkeypatch, tmp_path, version)
    with on_gpu(tiny_bundle) as segmenter, on_cpu(tiny_bundle) as reference:
        assert (segmenter(scene()).mask == reference(scene()).mask).mean() > 0.9999


# Eager is the plain order, in which a missing wait does no harm.
@pytest.mark.parametrize('order', ['lazy', 'hasty', pytest.param('eager', marks=pytest.mark.slow)])
def test_tiles(stand_in: StandIn, bundle: str, order: str) -> None:
    stand_in.order = order
    limits = TilingOptions(tile=192)
    image = scene(250, 300)
    with on_cpu(bundle, limits) as reference:
        expected = reference(image, logits=True)
    with Segmenter(bundle, 'tensorrt', limits, options=options()) as segmenter:
        for _ in range(4):
            found = segmenter(image, logits=True)
            np.testing.assert_allclose(found.logits, expected.logits, atol=2e-3)


def test_every_pixel_format(stand_in: StandIn, tiny_bundle: Path) -> None:
    random = np.random.default_rng(0)
    with on_gpu(tiny_bundle) as segmenter, on_cpu(tiny_bundle) as reference:
        for name in FORMATS:
            rows, row_bytes = memory_shape(name, 64, 96)
            data = random.integers(0, 256, (rows, row_bytes + 5), np.uint8)
            frame = RawFrame(data[:, :row_bytes], name, 64, 96)
            found, expected = (each(frame, logits=True) for each in (segmenter, reference))
            np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4, err_msg=name)


def test_the_frame_crosses_the_bus_once(stand_in: StandIn, tiny_bundle: Path) -> None:
    with on_gpu(tiny_bundle) as segmenter:
        segmenter(scene())
        before = stand_in.cuda.uploaded
        segmenter(scene(), confidence=True, overlay=OverlayOptions(True, True, 0.5, 0.5))
        assert stand_in.cuda.uploaded - before == 200 * 300 * 3


@pytest.mark.parametrize('order', ['lazy', 'hasty'])
def test_integrated_gpu_works_in_the_memory_of_the_host(
    stand_in: StandIn, tiny_bundle: Path, order: str
) -> None:
    stand_in.is_integrated, stand_in.order = True, order
    pictures = OverlayOptions(True, True, 0.5, 0.5)
    with on_gpu(tiny_bundle) as segmenter, on_cpu(tiny_bundle) as reference:
        segmenter(scene())
        uploaded, downloaded = stand_in.cuda.uploaded, stand_in.cuda.downloaded
        for seed in range(6):
            image = scene(seed=seed)
            found = segmenter(image, confidence=True, overlay=pictures)
            expected = reference(image, confidence=True, overlay=pictures)
            assert (found.mask == expected.mask).mean() > 0.9999
            assert (found.color_mask == expected.color_mask).mean() > 0.999
        assert stand_in.cuda.uploaded == uploaded
        assert stand_in.cuda.downloaded == downloaded
    assert not stand_in.cuda.blocks


def test_copies_run_beside_the_work(stand_in: StandIn, tiny_bundle: Path) -> None:
    stand_in.graphs = False
    with on_gpu(tiny_bundle) as segmenter:
        segmenter(scene())
        for streams in stand_in.cuda.used.values():
            streams.clear()
        segmenter(scene(), confidence=True)
        used = stand_in.cuda.used
        assert [len(used[what]) for what in ('upload', 'kernel', 'download')] == [1, 2, 1]
        assert len(set().union(*used.values())) == 4


def test_pictures(stand_in: StandIn, bundle: str) -> None:
    pictures = OverlayOptions(True, True, 0.3, 0.4)
    with on_gpu(bundle) as segmenter:
        found = segmenter(scene(), overlay=pictures)
        expected = pictures.paint(scene(), found.mask, segmenter.bundle.classes)
        np.testing.assert_array_equal(found.color_mask, expected['color_mask'])
        assert np.abs(found.overlay.astype(int) - expected['overlay']).max() <= 1
        alone = segmenter(scene(), overlay=OverlayOptions(overlay=True, scale=0.2))
        assert alone.overlay.shape == (40, 60, 3)
        assert alone.color_mask is None
        assert segmenter(scene()).overlay is None


def test_changing_scales_keep_memory_bounded(stand_in: StandIn, tiny_bundle: Path) -> None:
    with on_gpu(tiny_bundle) as segmenter:
        scales = [0.1 + 0.05 * step for step in range(15)]
        for scale in (*scales, *scales, 0.5):
            pictures = OverlayOptions(True, True, 0.5, scale)
            found = segmenter(scene(), overlay=pictures)
            expected = pictures.paint(scene(), found.mask, segmenter.bundle.classes)
            np.testing.assert_array_equal(found.color_mask, expected['color_mask'])
        assert len(stand_in.cuda.blocks) < 40


def test_results_belong_to_the_caller(stand_in: StandIn, tiny_bundle: Path) -> None:
    with on_gpu(tiny_bundle) as segmenter:
        first = segmenter(scene(seed=1)).mask
        copy = first.copy()
        for seed in range(2, 6):
            segmenter(scene(seed=seed))
        np.testing.assert_array_equal(first, copy)


def test_next_frame_is_uploaded_while_one_is_computed(stand_in: StandIn, bundle: str) -> None:
    gpu = TwoBranchGpu.open(load_bundle(bundle), TilingOptions(), options())
    images = [scene(seed=seed) for seed in range(6)]
    with on_cpu(bundle) as reference:
        expected = [reference(image).mask for image in images]
    frames = [RawFrame.of_bgr(image) for image in images]
    pending = gpu.submit(frames[0], OutputRequest(), StageClock())
    for place, frame in enumerate(frames[1:], start=1):
        following = gpu.submit(frame, OutputRequest(), StageClock())
        assert (pending.result()['mask'] == expected[place - 1]).mean() > 0.9999
        pending = following
    assert (pending.result()['mask'] == expected[-1]).mean() > 0.9999
    gpu.close()


def test_no_more_than_two_frames_at_a_time(stand_in: StandIn, tiny_bundle: Path) -> None:
    gpu = TwoBranchGpu.open(load_bundle(tiny_bundle), TilingOptions(), options())
    frame = RawFrame.of_bgr(scene())
    pending = [gpu.submit(frame, OutputRequest(), StageClock()) for _ in range(2)]
    with pytest.raises(EngineError, match='2 frames are in work already'):
        gpu.submit(frame, OutputRequest(), StageClock())
    assert (pending[0].result()['mask'] == pending[1].result()['mask']).all()
    gpu.submit(frame, OutputRequest(), StageClock()).result()
    gpu.close()


def test_semantic_branch_alone(stand_in: StandIn, bundle: str) -> None:
    with on_gpu(bundle) as segmenter, on_cpu(bundle) as reference:
        found, expected = (each.semantic_only(scene()) for each in (segmenter, reference))
        assert (found == expected).mean() > 0.999


def test_novelty_is_that_of_its_own_frame(
    stand_in: StandIn, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    count = len(load_bundle(folder).classes)
    write_known(Known(np.zeros(count), np.eye(count), np.eye(count), 1.0), tmp_path / 'known.onnx')
    bundle = add_graph(folder, 'novelty', tmp_path / 'known.onnx', {})
    first, second = scene(seed=5), scene(seed=6) // 3
    with on_gpu(bundle) as segmenter, on_cpu(bundle) as reference:
        pending = segmenter.submit(first, novelty=True)
        other = segmenter.submit(second)
        expected = [reference(each, novelty=True).novelty for each in (first, second)]
        assert pending.result().novelty == pytest.approx(expected[0], rel=1e-3)
        assert other.result().novelty is None
        assert abs(expected[0] - expected[1]) > 0.01


def test_sizes_come_and_go(stand_in: StandIn, tiny_bundle: Path) -> None:
    sizes = [(64, 64 + 16 * step) for step in range(5)]  # one more than stay open
    with on_gpu(tiny_bundle) as segmenter, on_cpu(tiny_bundle) as reference:
        for size in (*sizes, *sizes):
            image = scene(*size)
            assert (segmenter(image).mask == reference(image).mask).mean() > 0.999
        used = sum(block.nbytes for block in stand_in.cuda.blocks.values())
    assert used < 20e6
    assert not stand_in.cuda.blocks


def test_engines_are_built_once(stand_in: StandIn, tiny_bundle: Path) -> None:
    lines: list[str] = []
    for _ in range(2):
        with on_gpu(tiny_bundle, report=lines.append) as segmenter:
            segmenter.warm_up((64, 64))
    assert stand_in.trt.notes.built == 3
    assert sum('building engine' in line for line in lines) == 3
    assert sum('comparing' in line for line in lines) == 1
    assert 'none was made yet' in lines[1]


def test_a_frame_after_the_warm_up_captures_nothing(stand_in: StandIn, tiny_bundle: Path) -> None:
    with on_gpu(tiny_bundle) as segmenter:
        segmenter.warm_up((64, 64))
        captured = len(stand_in.cuda.captured)
        assert captured
        for _ in range(2):
            segmenter(scene(64, 64))
        assert len(stand_in.cuda.captured) == captured


def test_the_whole_frame_or_nothing(stand_in: StandIn, tiny_bundle: Path) -> None:
    region, image = RegionOfInterest([(0, 16, 40, 0)]), scene(64, 96)
    with on_gpu(str(tiny_bundle)) as segmenter:
        assert 'no frame budget on tensorrt' in segmenter.why_whole
        with pytest.raises(ConfigError, match='or choose the back end onnxruntime'):
            segmenter(image, budget=FrameBudget(100.0))
        plain, found = segmenter(image), segmenter(image, confidence=True, roi=region)
    assert found.detail_share == 1.0
    np.testing.assert_array_equal(found.mask[16:, :40], plain.mask[16:, :40])
    assert set(np.unique(found.mask[:, 40:])) == set(np.unique(found.mask[:16])) == {255}
    assert not found.confidence[:16].any()


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


@pytest.mark.parametrize('tile', [None, 128])
def test_what_is_not_finite_is_refused_as_on_the_cpu(
    stand_in: StandIn, tiny_bundle: Path, tile: int | None
) -> None:
    # As if a rectifier had made a number of what is none.
    mended = {'quarter_logits': lambda values: values.fill(1)}
    limits, image = TilingOptions(tile=tile), scene(64, 208)
    with Segmenter(tiny_bundle, 'tensorrt', limits, options=options()) as segmenter:
        right = segmenter(image).mask
        for name, graph in {
            'tokens': 'semantic',
            'affinity': 'detail',
            'local': 'detail',
            'quarter_logits': 'quarter',
        }.items():
            for value in (np.nan, np.inf, -np.inf):
                stand_in.trt.notes.spoil = {**mended, **first_becomes(value, name)}
                text = f'graph {graph} gives {name} that are not finite: use precision fp32'
                with pytest.raises(EngineError, match=text):
                    segmenter(image)
                stand_in.trt.notes.spoil = {}
                np.testing.assert_array_equal(segmenter(image).mask, right)


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


def test_factor_that_the_kernels_do_not_know(
    stand_in: StandIn, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    with edited_model(folder) as model:
        model['input']['low_res_factor'] = 8
    with pytest.raises(BundleError, match='low_res_factor is 8, TensorRT runs with 4 only'):
        on_gpu(folder)


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
