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

"""Windows of rasters for any kind of bundle: cut where margins meet, within the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any
import weakref

import numpy as np
import psutil
import pytest
from rasters import colored

from uhr_seg_ros.backends.fixed_sizes import Sizes
from uhr_seg_ros.backends.onnxruntime import OnnxRuntimeEngine
from uhr_seg_ros.cli.arguments import DEFAULT_BUNDLE
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.image_io.rasters import RasterWindow
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.raster_blocks import (
    BlockOptions,
    DEFAULT_RASTER_MEMORY_MB,
    window_side,
    WindowBlocks,
)
from uhr_seg_ros.pipelines.raster_engine import choose_engine
from uhr_seg_ros.pipelines.raster_tokens import RasterTokens
from uhr_seg_ros.pipelines.raster_two_branch import LogitBlocks
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.two_branch import TwoBranch


class Watched:
    """A segmenter that notes the sizes of its frames."""

    def __init__(self, segmenter: Segmenter, sizes: set[tuple[int, ...]]) -> None:
        self.bundle, self._segmenter, self._sizes = segmenter.bundle, segmenter, sizes

    def __call__(self, image: np.ndarray, **options: object) -> object:
        self._sizes.add(image.shape)
        return self._segmenter(image, **options)


def test_windows_are_cut_without_a_seam(tiny_bundle: Path) -> None:
    image = colored(333, 410)
    sizes: set[tuple[int, ...]] = set()

    def read(rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        part = image[slice(*rows), slice(*columns)]
        valid = np.ones(part.shape[:2], bool)
        if rows[0] == 0 and columns[0] == 0:
            valid[:] = False
        return RasterWindow(part, valid)

    with Segmenter(tiny_bundle, 'onnxruntime') as segmenter:
        whole = segmenter(image, confidence=True)
        blocks = WindowBlocks(segmenter, (333, 410), 176, read, BlockOptions(confidence=True))
        blocks._segmenter = Watched(segmenter, sizes)
        covered = np.zeros(image.shape[:2], int)
        for block in blocks.blocks:
            place = slice(*block.rows), slice(*block.columns)
            covered[place] += 1
            result = blocks.run(block)
            if block.index == 0:
                assert (result.mask == 255).all() and not result.confidence.any()
                continue
            assert (result.mask == whole.mask[place]).all()
            assert np.abs(result.confidence.astype(int) - whole.confidence[place]).max() <= 1
            assert (result.image == image[place]).all()
    assert (covered == 1).all()
    assert len(sizes) == 1, 'engines of a GPU are built for each size'


def test_logits_of_windows_are_blended(tiny_bundle: Path, tmp_path: Path) -> None:
    """Of a network that is local, windows give what the frame in one piece gives."""
    image = colored(700, 1000)

    def read(rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        part = image[slice(*rows), slice(*columns)]
        return RasterWindow(part, np.ones(part.shape[:2], bool))

    with Segmenter(tiny_bundle, 'onnxruntime') as segmenter:
        whole = segmenter(image, confidence=True)
        sizes: set[tuple[int, ...]] = set()
        blocks = LogitBlocks(segmenter, image.shape[:2], 512, tmp_path, read, confidence=True)
        blocks._segmenter = Watched(segmenter, sizes)
        for block in blocks.blocks:
            result = blocks.run(block)
            place = slice(*block.rows), slice(*block.columns)
            assert (result.mask != whole.mask[place]).mean() < 1e-4  # equal but for rounding
            assert np.abs(result.confidence.astype(int) - whole.confidence[place]).max() <= 2
            blocks.done(block)
    assert len(blocks.blocks) == 6 and len(sizes) == 1
    assert not list(tmp_path.glob('below_0*')), 'what no block needs any more is removed'


def test_blocks_are_fused_in_a_few_sizes(
    far_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the last ones of rows and columns in one, so that a graph of it serves them."""
    image = colored(1800, 2200)

    def read(rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        part = image[slice(*rows), slice(*columns)]
        return RasterWindow(part, np.ones(part.shape[:2], bool))

    fused: list[tuple[int, ...]] = []
    fuse = TwoBranch.fused

    def noted(
        pipeline: TwoBranch, maps: dict[str, np.ndarray], *rest: Any
    ) -> dict[str, np.ndarray]:
        fused.append(maps['tokens'].shape[2:])
        return fuse(pipeline, maps, *rest)

    monkeypatch.setattr(TwoBranch, 'fused', noted)
    with Segmenter(far_bundle, 'onnxruntime', TilingOptions(tile=512)) as segmenter:
        whole = segmenter(image).mask
        engine, tokens = choose_engine(
            segmenter,
            image.shape[:2],
            read,
            tmp_path,
            BlockOptions(),
            memory_mb=DEFAULT_RASTER_MEMORY_MB,
            detail_mb=11,
        )
        assert tokens is not None
        tokens.compute(lambda: None)
        for block in engine.blocks:
            place = slice(*block.rows), slice(*block.columns)
            assert (engine.run(block).mask == whole[place]).all()
            engine.done(block)
    assert len(engine.blocks) == 20
    assert len(set(fused)) == 4 and fused.count(fused[0]) == 12


def test_sides_of_windows_by_memory(tiny_bundle: Path) -> None:
    with Segmenter(tiny_bundle, 'onnxruntime') as segmenter:
        limit = DEFAULT_RASTER_MEMORY_MB
        assert window_side(segmenter, (2160, 3840), limit, 768) is None
        large = window_side(segmenter, (40_000, 40_000), limit, 768)
        assert large is not None and large**2 * 40 <= 768e6 < (large + 16) ** 2 * 40
        assert window_side(segmenter, (40_000, 40_000), 600, 768) < large
        assert window_side(segmenter, (40_000, 400_000), limit, 768) == large
        with pytest.raises(ConfigError, match='windows of 512 px need 46'):
            window_side(segmenter, (40_000, 40_000), 100, 768)


def test_the_semantic_branch_leaves_its_memory_to_the_tiles() -> None:
    """Sessions share an arena, which lives on when one of them goes."""
    low_res = np.random.default_rng(0).normal(size=(1, 3, 1024, 1024)).astype(np.float32)
    with Segmenter(DEFAULT_BUNDLE, 'onnxruntime') as segmenter:
        pipeline = segmenter.pipeline
        assert isinstance(pipeline, TwoBranch)
        pipeline.tokens_of(low_res[..., :256, :256])
        pipeline.leave_semantic()
        before = resident_mb()
        assert pipeline.tokens_of(low_res).shape[2:] == (256, 256)
        taken = resident_mb() - before
        pipeline.leave_semantic()
        assert taken > 150 and resident_mb() - before < 60


def test_windows_of_the_semantic_branch_run_in_one_session(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    image = colored(640, 960)

    def read(rows: tuple[int, int], columns: tuple[int, int]) -> RasterWindow:
        part = image[slice(*rows), slice(*columns)]
        return RasterWindow(part, np.ones(part.shape[:2], bool))

    with Segmenter(tiny_bundle, 'onnxruntime') as segmenter:
        pipeline = segmenter.pipeline
        assert isinstance(pipeline, TwoBranch)
        engine = pipeline._graphs._engines['semantic']
        assert isinstance(engine, OnnxRuntimeEngine)
        opened, sizes, sessions = engine._open_for, [], [weakref.ref(engine._session)]

        def noted(chosen: Sizes) -> None:
            opened(chosen)
            sizes.append(dict(chosen))
            sessions.append(weakref.ref(engine._session))

        engine._open_for = noted  # type: ignore[method-assign]
        tokens = RasterTokens(pipeline, segmenter.bundle, (640, 960), tmp_path, 1000, read)
        for _ in range(3):
            tokens._compute(0)
            (tmp_path / 'tokens_0.npy').unlink()
        assert [len(each) for each in sizes] == [2]
        pipeline.leave_semantic()
        assert [len(each) for each in sizes] == [2, 0]
        assert [each() is None for each in sessions] == [True, True, False]


def resident_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6
