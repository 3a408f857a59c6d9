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

from pathlib import Path
import shutil

import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

from gpu_segmenters import on_cpu, on_gpu, options, scene
from standin_backend import StandIn
from standin_tensorrt import first_becomes, VERSIONS

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import ConfigError, EngineError
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


@pytest.fixture(scope='module')
def bundle() -> str:
    """Return the shipped model."""
    return 'hlrc_s_aerial'


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
            own = ['refine', 'smooth', 'relabel', 'overlay']
            assert list(segmenter.stages) == [*found.stage_times, *own]
        assert [graph.launches for graph in stand_in.cuda.captured] == ([2, 2] if graphs else [])


def test_half_precision(stand_in: StandIn, bundle: str) -> None:
    with on_gpu(bundle, precision='fp16') as segmenter:
        found = segmenter(scene())
        assert segmenter.provenance['precision'] == 'fp16'
    with on_cpu(bundle) as reference:
        assert (found.mask == reference(scene()).mask).mean() > 0.998


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
