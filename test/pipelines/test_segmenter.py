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

"""The segmenter on the tiny bundle, whose masks can be computed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import shutil
from threading import current_thread
from typing import Any

import numpy as np
import pytest
from tiny_bundle import edited_model, expected_logits, make_tiny_bundle, paint, TINY_CLASSES

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import BundleError, ConfigError, EngineError, UhrSegError
from uhr_seg_ros.core.raw_frame import memory_shape, RawFrame
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.core.visualization import colorize, OverlayOptions, OverlayPainter
from uhr_seg_ros.pipelines import two_branch
from uhr_seg_ros.pipelines.outputs import CheckedGraphs
from uhr_seg_ros.pipelines.pipeline import PendingResult, TilingOptions
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.refinement.refine import refine, Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.smoothing import MaskSmoother
from uhr_seg_ros.pipelines.two_branch import TwoBranch
from uhr_seg_ros.synthetic.scenes import generate_scene


@pytest.fixture(scope='module')
def segmenter(tiny_bundle: Path) -> Iterator[Segmenter]:
    with Segmenter(tiny_bundle) as opened:
        yield opened


def band_mask(height: int, width: int, band: int) -> np.ndarray:
    """Return vertical bands of random classes: (H, W) uint8."""
    generator = np.random.default_rng(height * width)
    classes = generator.integers(0, len(TINY_CLASSES), -(-width // band), np.uint8)
    return classes.repeat(band)[None, :width].repeat(height, 0)


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize('band', [4, 16, 64])
def test_mask_is_exactly_what_was_painted(segmenter: Segmenter, band: int) -> None:
    mask = band_mask(192, 250, band)
    assert (segmenter(paint(mask)).mask == mask).all()
    assert (segmenter(paint(mask.T)).mask == mask.T).all()


def test_refined_boundaries(segmenter: Segmenter) -> None:
    image = random_image(192, 250)
    plain = segmenter(image)
    assert plain.refined_share is None
    assert 'refine' not in plain.stage_times
    wanted = refine(plain.mask, image, Refinement(2, 130.0))
    assert (wanted.mask != plain.mask).any()
    pictures = OverlayOptions(overlay=True, color_mask=True)
    found = segmenter(
        image,
        overlay=pictures,
        logits=True,
        refinement=Refinement(2, 130.0),
        smoothing=MaskSmoother(2),  # which leaves the first mask as it is
    )
    assert (found.mask == wanted.mask).all()
    assert found.refined_share == 1.0
    assert found.stage_times['refine'] > 0
    # No class is edited.
    assert list(found.stage_times) == [name for name in segmenter.stages if name != 'relabel']
    assert (found.color_mask == colorize(wanted.mask, TINY_CLASSES)).all()
    assert (found.overlay == OverlayPainter(TINY_CLASSES).paint(image, wanted.mask)).all()
    assert (found.logits.argmax(0) == plain.mask).all()


@pytest.mark.parametrize('size', [(1, 1), (1, 40), (15, 17), (16, 16), (33, 47), (270, 300)])
def test_any_size(segmenter: Segmenter, size: tuple[int, int]) -> None:
    image = random_image(*size)
    result = segmenter(image, confidence=True, logits=True)
    wanted = expected_logits(image)
    assert result.mask.shape == size
    assert np.abs(result.logits - wanted).max() < 1e-5
    assert (result.mask == result.logits.argmax(0)).all()
    softmax = np.exp(wanted).max(0) / np.exp(wanted).sum(0)
    assert np.abs(result.confidence - 255.0 * softmax).max() <= 0.51
    assert (segmenter(image).mask == result.mask).all()


def test_forms_of_the_result(segmenter: Segmenter) -> None:
    image = random_image(40, 56)
    result = segmenter(image)
    assert result.mask.dtype == np.uint8
    assert result.confidence is None
    assert result.logits is None
    assert list(result.stage_times) == ['convert', 'preprocess', 'semantic', 'detail', 'fusion']
    assert all(time > 0 for time in result.stage_times.values())
    full = segmenter(image, confidence=True, logits=True)
    assert (full.confidence.shape, full.confidence.dtype) == ((40, 56), np.uint8)
    assert (full.logits.shape, full.logits.dtype) == ((3, 40, 56), np.float32)


def test_results_belong_to_the_caller(segmenter: Segmenter) -> None:
    first = segmenter(random_image(64, 64), confidence=True, logits=True)
    copies = [first.mask.copy(), first.confidence.copy(), first.logits.copy()]
    segmenter(255 - random_image(64, 64), confidence=True, logits=True)
    for array, copy in zip((first.mask, first.confidence, first.logits), copies, strict=True):
        assert (array == copy).all()


def test_image_is_left_alone_and_may_be_a_view(segmenter: Segmenter) -> None:
    buffer = random_image(50, 80)
    view = buffer[:, 3:70]
    view.flags.writeable = False
    assert (segmenter(view).mask == segmenter(view.copy()).mask).all()
    assert (buffer == random_image(50, 80)).all()
    turned = buffer[::-1, ::-1]
    assert (segmenter(turned).mask == segmenter(turned.copy()).mask).all()


@pytest.mark.parametrize('name', ['bgr8', 'rgba8', 'mono8', 'uyvy', 'nv12', 'bayer_rggb8'])
def test_bytes_of_a_camera(segmenter: Segmenter, name: str) -> None:
    rows, row_bytes = memory_shape(name, 50, 80)
    memory = np.random.default_rng(0).integers(0, 256, (rows, row_bytes + 7), np.uint8)
    raw = RawFrame(memory[:, :row_bytes], name, 50, 80)
    expected = segmenter(raw.bgr.copy(), logits=True)
    result = segmenter(raw, logits=True)
    assert (result.mask == expected.mask).all()
    assert (result.logits == expected.logits).all()
    assert (segmenter.semantic_only(raw) == segmenter.semantic_only(raw.bgr)).all()


def test_bgr_is_not_copied_on_the_way(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    whole = Preprocessor.whole

    def watched(self: Preprocessor, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(image)
        return whole(self, image)

    monkeypatch.setattr(Preprocessor, 'whole', watched)
    buffer = random_image(50, 80)
    for image in (buffer, buffer[:, 3:70], RawFrame.of_bgr(buffer)):
        segmenter(image)
    assert [image.shape for image in seen] == [(50, 80, 3), (50, 67, 3), (50, 80, 3)]
    assert all(np.shares_memory(image, buffer) for image in seen)


@pytest.mark.parametrize('tile', [None, 128])
def test_pictures(tiny_bundle: Path, tile: int | None) -> None:
    image = random_image(170, 150)
    wanted = OverlayOptions(overlay=True, color_mask=True, alpha=0.25, scale=0.5)
    with Segmenter(tiny_bundle, 'onnxruntime', TilingOptions(tile=tile)) as segmenter:
        plain = segmenter(image)
        result = segmenter(image, overlay=wanted)
    assert plain.overlay is None
    assert plain.color_mask is None
    assert 'overlay' not in plain.stage_times
    assert list(result.stage_times)[-1] == 'overlay'
    assert (result.mask == plain.mask).all()
    painter = OverlayPainter(TINY_CLASSES, 0.25, 0.5)
    assert (result.overlay == painter.paint(image, plain.mask)).all()
    assert (result.color_mask == colorize(plain.mask, TINY_CLASSES, 0.5)).all()


def test_one_picture(segmenter: Segmenter) -> None:
    result = segmenter(random_image(40, 56), overlay=OverlayOptions(color_mask=True))
    assert result.overlay is None
    assert (result.color_mask == colorize(result.mask, TINY_CLASSES)).all()


@pytest.mark.parametrize('tile', [128, 200, 256])
def test_tiles_are_the_whole_frame_where_the_network_is_local(
    segmenter: Segmenter, tiny_bundle: Path, tile: int
) -> None:
    image = random_image(530, 413)
    tiled = Segmenter(tiny_bundle, tiling=TilingOptions(tile=tile))(image, logits=True)
    assert np.abs(tiled.logits - segmenter(image, logits=True).logits).max() < 1e-5
    mask = band_mask(530, 413, 16)
    assert (
        Segmenter(tiny_bundle, tiling=TilingOptions(tile=tile))(paint(mask)).mask == mask
    ).all()


def test_seams_are_blended(tmp_path: Path) -> None:
    """The bundle adds the mean of the tile: a jump at a seam without blending, none with it."""
    bundle = make_tiny_bundle(tmp_path / 'bundle', sees_whole_tile=True)
    image = np.full((128, 400, 3), 60, np.uint8)
    image[:, 300:] = 200
    whole = Segmenter(bundle)(image[:, :300], logits=True).logits
    tiled = Segmenter(bundle, tiling=TilingOptions(tile=256))(image, logits=True).logits
    assert np.abs(np.diff(whole[:, :, :280], axis=2)).max() < 1e-5
    difference = tiled[:, :, 0] - tiled[:, :, 280]
    assert np.abs(difference).max() > 0.3
    assert np.abs(np.diff(tiled[:, :, :280], axis=2)).max() < 0.02


def test_strips_are_exact(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    image = random_image(700, 130)
    whole = segmenter(image, confidence=True, logits=True)
    monkeypatch.setattr(two_branch, 'STRIP_BYTES', 1)
    strips = segmenter(image, confidence=True, logits=True)
    assert (strips.logits == whole.logits).all()
    assert (strips.mask == whole.mask).all()
    assert (strips.confidence == whole.confidence).all()


def test_strips_side_by_side_are_exact(
    segmenter: Segmenter, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(700, 130)
    whole = segmenter(image, confidence=True, logits=True)
    threads: set[str] = set()
    fuse_rows = TwoBranch._fuse_rows

    def noted(*arguments: object) -> dict[str, np.ndarray]:
        threads.add(current_thread().name.rpartition('_')[0])
        return fuse_rows(*arguments)

    monkeypatch.setattr(TwoBranch, '_fuse_rows', noted)
    several = Segmenter(tiny_bundle, options=EngineOptions(threads=3))
    for wanted in ({'confidence': True, 'logits': True}, {}):
        strips = several(image, **wanted)
        assert (strips.mask == whole.mask).all()
    assert (several(image, logits=True).logits == whole.logits).all()
    assert 'strips' in threads
    several.close()


@pytest.mark.parametrize(
    ('cells', 'tallest', 'at_once', 'heights'),
    [
        (135, 16, 2, {13, 14}),  # 4K on two cores
        (68, 33, 2, {17}),  # 1080p, not three strips
        (68, 33, 4, {17}),
        (20, 99, 4, {20}),  # too low to be shared by four
        (135, 16, 1, {15}),
    ],
)
def test_every_core_has_as_many_strips(
    cells: int, tallest: int, at_once: int, heights: set[int]
) -> None:
    strips = two_branch._even_strips(cells, tallest, at_once)
    assert {stop - start for start, stop in strips} == heights
    assert [start for start, _ in strips[1:]] == [stop for _, stop in strips[:-1]]
    assert (strips[0][0], strips[-1][1]) == (0, cells)


@pytest.fixture(scope='module')
def shipped() -> Iterator[TwoBranch]:
    """Open the model that is shipped: its fusion looks around, unlike that of the tiny bundle."""
    bundle = load_bundle('hlrc_s_aerial')
    pipeline = TwoBranch.open(bundle, TilingOptions(), EngineOptions(precision='fp32'))
    yield pipeline
    pipeline.close()


@pytest.fixture(scope='module')
def shipped_maps(shipped: TwoBranch) -> dict[str, np.ndarray]:
    """Return what its branches find in a frame of 608 x 320 px."""
    return shipped.maps(generate_scene(21, 608, 320)[0], StageClock())


def fused(
    pipeline: TwoBranch, maps: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, halo: int
) -> tuple[np.ndarray, float]:
    """Return where masks in one piece and in strips differ, and the same of the logits."""
    wanted = ['mask', 'logits']
    whole = pipeline._fuse(maps, (608, 320), wanted)
    with monkeypatch.context() as patch:
        patch.setattr(two_branch, 'STRIP_BYTES', 1)
        patch.setattr(two_branch, 'HALO', halo)
        strips = pipeline._fuse(maps, (608, 320), wanted)
    error = np.abs(strips['logits'] - whole['logits']).max() / np.abs(whole['logits']).max()
    return strips['mask'] != whole['mask'], float(error)


def test_strips_of_the_shipped_model_are_exact(
    shipped: TwoBranch, shipped_maps: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    differing, error = fused(shipped, shipped_maps, monkeypatch, two_branch.HALO)
    assert not differing.any()
    assert error < 1e-5


def test_strips_of_the_shipped_model_need_their_halo(
    shipped: TwoBranch, shipped_maps: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the test above would prove nothing."""
    differing, error = fused(shipped, shipped_maps, monkeypatch, 1)
    assert differing.any() or error > 1e-3


def test_memory_limit_makes_tiles(tmp_path: Path) -> None:
    """8 MB at 100 bytes per px hold 282 px squared: the frame does not fit, a tile does."""
    bundle = make_tiny_bundle(
        tmp_path / 'bundle', detail_bytes_per_pixel=100.0, sees_whole_tile=True
    )
    image = random_image(400, 400)
    image[:, 200:] //= 4
    whole = Segmenter(bundle)(image, logits=True).logits
    limited = Segmenter(bundle, tiling=TilingOptions(8))(image, logits=True).logits
    tiled = Segmenter(bundle, tiling=TilingOptions(tile=272))(image, logits=True).logits
    assert (limited == tiled).all()
    assert np.abs(limited - whole).max() > 0.01
    assert (Segmenter(bundle, tiling=TilingOptions(20))(image, logits=True).logits == whole).all()


def test_limits_that_are_too_small(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match='memory limit of 2 MB is too small'):
        Segmenter(tiny_bundle, tiling=TilingOptions(2))
    with pytest.raises(ConfigError, match='tile of 64 px is too small'):
        Segmenter(tiny_bundle, tiling=TilingOptions(tile=64))


def test_semantic_only(segmenter: Segmenter) -> None:
    mask = band_mask(100, 150, 64)
    found = segmenter.semantic_only(paint(mask))
    assert found.shape == mask.shape
    assert found.dtype == np.uint8
    inside = slice(8, 56)
    assert (found[inside, inside] == mask[inside, inside]).all()
    assert (found == mask).mean() > 0.8


def test_attributes(segmenter: Segmenter, tiny_bundle: Path) -> None:
    assert segmenter.backend == 'onnxruntime'
    assert segmenter.bundle == load_bundle(tiny_bundle)
    assert segmenter.provenance['bundle'] == 'tiny'
    assert segmenter.provenance['backend'] == 'onnxruntime'
    assert set(segmenter.provenance['sha256']) == set(segmenter.bundle.graphs)


def test_takes_a_loaded_bundle_and_warms_up(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter(load_bundle(tiny_bundle), options=EngineOptions(threads=1))
    ran: list[str] = []
    run = CheckedGraphs.run

    def watched(self: CheckedGraphs, graph: str, *rest: Any) -> dict[str, np.ndarray]:
        ran.append(graph)
        return run(self, graph, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(CheckedGraphs, 'run', watched)
        segmenter.warm_up((20, 30))
    assert {'semantic', 'detail', 'quarter'} <= set(ran)
    segmenter.close()
    segmenter.close()
    with pytest.raises(ConfigError, match='was closed'):
        segmenter(random_image(16, 16))


@pytest.mark.parametrize(
    ('image', 'text'),
    [
        (np.zeros((4, 4, 3), np.float32), 'is float32, expected uint8'),
        (np.zeros((4, 4), np.uint8), r'has shape \(4, 4\)'),
        (np.zeros((4, 4, 4), np.uint8), r'has shape \(4, 4, 4\)'),
        (np.zeros((0, 4, 3), np.uint8), r'has shape \(0, 4, 3\)'),
        (np.zeros((4, 0, 3), np.uint8), r'has shape \(4, 0, 3\)'),
        ([[0, 0, 0]], 'is a list'),
        (None, 'is a NoneType'),
    ],
)
def test_wrong_image(segmenter: Segmenter, image: object, text: str) -> None:
    for call in (segmenter, segmenter.semantic_only):
        with pytest.raises(ConfigError, match=text):
            call(image)


def test_wrong_class_count(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    with edited_model(bundle) as model:
        model['classes'].pop()
    text = r'graph semantic gives semantic_logits of shape \(1, 3, .* names 2 classes'
    with pytest.raises(EngineError, match=text):
        Segmenter(bundle)


def with_input(bundle: Path, folder: Path, **values: int) -> Path:
    """Copy a bundle and change fields of `input`."""
    folder = Path(shutil.copytree(bundle, folder))
    with edited_model(folder) as model:
        model['input'].update(values)
    return folder


@pytest.mark.parametrize(('multiple', 'factor'), [(48, 3), (128, 4), (8, 4), (16, 3)])
def test_padding_that_the_branches_cannot_take(
    tiny_bundle: Path, tmp_path: Path, multiple: int, factor: int
) -> None:
    bundle = with_input(tiny_bundle, tmp_path / 'bundle', multiple=multiple, low_res_factor=factor)
    with pytest.raises(BundleError, match=f'input.multiple {multiple} must be one of 16, 32'):
        Segmenter(bundle)


@pytest.mark.parametrize('tile', [128, 150, 200, 1000])
@pytest.mark.parametrize('multiple', [32, 64])
def test_tiles_of_every_side_at_every_multiple(
    tiny_bundle: Path, tmp_path: Path, multiple: int, tile: int
) -> None:
    bundle = with_input(tiny_bundle, tmp_path / 'bundle', multiple=multiple)
    mask = np.repeat(np.arange(9, dtype=np.uint8) % 3, 44)[:, None].repeat(500, 1)
    with Segmenter(bundle, tiling=TilingOptions(tile=tile)) as segmenter:
        assert np.array_equal(segmenter(paint(mask)).mask, mask)


def test_every_refusal_is_an_error_of_ours(tmp_path: Path, tiny_bundle: Path) -> None:
    for bundle, backend in ((tmp_path, 'auto'), ('no_such_model', 'auto'), (tiny_bundle, 'x')):
        with pytest.raises(UhrSegError):
            Segmenter(bundle, backend)


def resident_mb() -> float:
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='needs /proc')
def test_memory_does_not_grow_with_new_sizes(tiny_bundle: Path) -> None:
    generator = np.random.default_rng(0)
    used = []
    with Segmenter(tiny_bundle) as segmenter:
        for _ in range(12):
            for height, width in [*generator.integers(100, 400, (4, 2)), (400, 640)]:
                segmenter(np.zeros((height, width, 3), np.uint8))
            used.append(resident_mb())
    assert max(used[8:]) < max(used[:4]) + 10


def test_a_pending_result_is_there_as_often_as_it_is_asked_for() -> None:
    values = iter([1, 2])
    pending = PendingResult(lambda: next(values))
    assert (pending.result(), pending.result()) == (1, 1)


def test_a_pending_result_that_failed_fails_again() -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise EngineError('the GPU is gone')

    pending = PendingResult(fail)
    for _ in range(2):
        with pytest.raises(EngineError, match='the GPU is gone'):
            pending.result()
    assert calls == [1]
