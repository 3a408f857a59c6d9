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

"""Frames within a budget: what is looked at, what is kept, and what of it is in the mask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_bundle import make_tiny_bundle, paint

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.errors import ConfigError, EngineError
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.frame_budget_frames import FramesWithinBudget
from uhr_seg_ros.pipelines.frame_budget_looks import TileLooker
from uhr_seg_ros.pipelines.frame_budget_ranking import expected_gain
from uhr_seg_ros.pipelines.frame_budget_tiles import lay_tiles, TileMemory
from uhr_seg_ros.pipelines.region_of_interest import RegionOfInterest
from uhr_seg_ros.pipelines.segmenter import Segmenter

#: Three tiles high and four wide.
SIZE = 670, 810
TILES = 12

LOOK_S, SEMANTIC_S, REST_S = 0.010, 0.030, 0.005


@pytest.fixture(scope='module')
def segmenter(tiny_bundle: Path) -> Iterator[Segmenter]:
    with Segmenter(tiny_bundle, 'onnxruntime', options=EngineOptions(threads=1)) as opened:
        yield opened


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    """Return blobs of colors, which the semantic branch sees far too coarsely."""
    generator = np.random.default_rng(7)
    small = generator.integers(0, 256, (SIZE[0] // 6, SIZE[1] // 6, 3), np.uint8)
    return cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


class Looks:
    """Counts looks at tiles, and is a clock that they, and a frame itself, move on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.tiles: list[Any] = []
        look, gain, fuse = TileLooker.look, FramesWithinBudget._gain, FramesWithinBudget._fuse

        def looked(looker: TileLooker, *arguments: Any) -> np.ndarray:
            self.now += LOOK_S
            self.tiles.append(arguments[2])
            return look(looker, *arguments)

        def after(seconds: float, method: Any, *arguments: Any) -> Any:
            self.now += seconds
            return method(*arguments)

        monkeypatch.setattr(TileLooker, 'look', looked)
        monkeypatch.setattr(
            FramesWithinBudget, '_gain', lambda *each: after(SEMANTIC_S, gain, *each)
        )
        monkeypatch.setattr(FramesWithinBudget, '_fuse', lambda *each: after(REST_S, fuse, *each))

    def budget(self, milliseconds: float) -> FrameBudget:
        return FrameBudget(milliseconds, lambda: self.now)

    def take(self) -> int:
        """Return how many there were since the last call."""
        tiles, self.tiles = self.tiles, []
        return len(tiles)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def test_all_tiles_give_the_mask_of_the_whole(
    segmenter: Segmenter, image: np.ndarray, looks: Looks
) -> None:
    whole = segmenter(image, confidence=True, logits=True)
    found = segmenter(image, confidence=True, logits=True, budget=looks.budget(1e6))
    assert looks.take() == TILES
    assert (whole.detail_share, found.detail_share) == (1.0, 1.0)
    # The detail branch of this bundle is local, so windows change nothing.
    assert (found.mask == whole.mask).mean() > 0.9999
    assert (found.mask != segmenter.semantic_only(image)).mean() > 0.1
    np.testing.assert_allclose(found.logits, whole.logits, atol=1e-4)
    # It is enlarged, not computed at every px.
    assert np.abs(found.confidence.astype(int) - whole.confidence).mean() < 8.0
    assert list(found.stage_times) == list(whole.stage_times)


def test_several_threads_see_the_same(tiny_bundle: Path, image: np.ndarray) -> None:
    with Segmenter(tiny_bundle, 'onnxruntime', options=EngineOptions(threads=3)) as several:
        found = several(image, budget=FrameBudget(1e6))
        assert found.detail_share == 1.0
        assert (found.mask == several(image).mask).mean() > 0.9999


def test_the_rest_is_the_semantic_branch(
    segmenter: Segmenter, image: np.ndarray, looks: Looks
) -> None:
    budget = looks.budget(1.0)
    found, sure = segmenter(image, budget=budget), segmenter(image, budget=budget).mask
    assert 0.0 < found.detail_share < 2.0 / TILES
    (tile, other) = looks.tiles
    assert tile != other
    inside = np.zeros(SIZE, bool)
    inside[16 * tile.rows[0] : 16 * tile.rows[1], 16 * tile.columns[0] : 16 * tile.columns[1]] = 1
    distance = cv2.distanceTransform(inside.view(np.uint8), cv2.DIST_C, 3)
    away = cv2.distanceTransform((~inside).view(np.uint8), cv2.DIST_C, 3)
    whole, semantic = segmenter(image).mask, segmenter.semantic_only(image)
    assert (found.mask == whole)[distance > 12].all()
    # Enlarged in two steps.
    assert (found.mask == semantic)[away > 32].mean() > 0.98
    # Where the two are mixed, a px has the class of one of them or of one between them.
    assert ((found.mask == whole) | (found.mask == semantic))[
        (distance > 0) | (away < 16)
    ].mean() > 0.9
    assert (sure == whole)[distance > 12].all()


def test_no_seams_where_both_branches_agree(segmenter: Segmenter, looks: Looks) -> None:
    image = paint(np.full(SIZE, 1, np.uint8))
    image[:300] = paint(np.full((1, 1), 2, np.uint8))[0, 0]
    found = segmenter(image, confidence=True, logits=True, budget=looks.budget(1.0))
    flat = found.mask[400:], found.mask[:200]
    assert [set(np.unique(part)) for part in flat] == [{1}, {2}]
    confidence = found.confidence[400:].astype(int)
    assert np.ptp(confidence) <= 8  # the branches weigh differently ...
    assert np.abs(np.diff(confidence, axis=1)).max() <= 2  # ... and fade into each other
    (tile,) = looks.tiles
    lines = found.logits[1, 16 * tile.rows[0] + 32], found.logits[1, :, 16 * tile.columns[0] + 32]
    for line in (lines[0], lines[1][420:] if tile.rows[0] else lines[1][:180]):
        assert np.abs(np.diff(line)).max() <= np.ptp(line) / 12  # over 16 px
    assert np.ptp(lines[0]) > 0.01


def test_a_still_picture_becomes_all_detail_and_stays(
    segmenter: Segmenter, image: np.ndarray, looks: Looks
) -> None:
    budget, generator, shares = looks.budget(1.0), np.random.default_rng(1), []
    for _ in range(TILES):
        noise = generator.integers(-2, 3, image.shape)
        frame = np.clip(image + noise, 0, 255).astype(np.uint8)
        shares.append(segmenter(frame, budget=budget).detail_share)
        assert looks.take() == 1
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    before = segmenter(image, budget=budget).mask
    noise = generator.integers(-2, 3, image.shape)
    after = segmenter(np.clip(image + noise, 0, 255).astype(np.uint8), budget=budget).mask
    assert looks.take() == 0
    assert (before == after).all()


def test_what_changes_is_looked_at_again(
    segmenter: Segmenter, image: np.ndarray, looks: Looks
) -> None:
    budget = looks.budget(1e6)
    segmenter(image, budget=budget)
    looks.take()
    changed = image.copy()
    changed[80:112, 80:112] = 255 - changed[80:112, 80:112]
    found = segmenter(changed, budget=budget)
    assert [(tile.rows[0], tile.columns[0]) for tile in looks.tiles] == [(0, 0)]
    assert looks.take() == 1
    assert (found.mask == segmenter(changed).mask).mean() > 0.9999
    # Without time for it, it is the semantic branch's, and the rest stays as it was.
    memory = budget.memory
    assert memory is not None
    memory.see(np.zeros_like(memory._reference))
    assert not memory.valid.any()


def test_another_size_another_bundle_and_time_set_back(
    segmenter: Segmenter, image: np.ndarray, looks: Looks
) -> None:
    budget = looks.budget(1e6)
    segmenter(image, budget=budget)
    assert looks.take() == TILES
    segmenter(image[:300, :300], budget=budget)
    assert looks.take() == 4
    budget.forget()
    assert budget.memory is None
    segmenter(image[:300, :300], budget=budget)
    assert looks.take() == 4
    assert segmenter(image[:3, :5], budget=budget).mask.shape == (3, 5)


@pytest.mark.parametrize(
    ('milliseconds', 'wanted'), [(1.0, 1), (76.0, 4), (86.0, 5), (1e4, TILES)]
)
def test_budget_is_kept(
    segmenter: Segmenter, image: np.ndarray, looks: Looks, milliseconds: float, wanted: int
) -> None:
    budget = looks.budget(milliseconds)
    for _ in range(4):  # with the first one, what things take is learned
        budget.forget()
        looks.take()
        begun = looks.now
        segmenter(image, budget=budget)
    assert looks.take() == wanted
    spent_ms = 1e3 * (looks.now - begun)
    assert spent_ms == pytest.approx(1e3 * (SEMANTIC_S + REST_S + wanted * LOOK_S))
    assert wanted == 1 or spent_ms <= milliseconds
    # And another budget counts at once.
    budget.milliseconds = 1e6
    budget.forget()
    segmenter(image, budget=budget)
    assert looks.take() == TILES


@pytest.mark.parametrize('milliseconds', [0.0, -5.0, float('nan')])
def test_no_time_at_all(milliseconds: float) -> None:
    with pytest.raises(ConfigError, match='expected more than 0'):
        FrameBudget(milliseconds)


def test_tiles_cover_a_frame_once_and_see_as_much_each() -> None:
    for cells in ((1, 1), (14, 15), (29, 100), (135, 240)):
        seen = np.zeros(cells, int)
        tiles = lay_tiles(cells)
        for tile in tiles:
            seen[slice(*tile.rows), slice(*tile.columns)] += 1
            for (start, stop), (first, last), count in zip(
                (tile.rows, tile.columns),
                (tile.window_rows, tile.window_columns),
                cells,
                strict=True,
            ):
                assert 0 <= first <= max(start - 1, 0)
                assert min(stop + 1, count) <= last <= count
        assert (seen == 1).all()
        sides = {
            (
                tile.window_rows[1] - tile.window_rows[0],
                tile.window_columns[1] - tile.window_columns[0],
            )
            for tile in tiles
        }
        assert len(sides) == 1


def test_gain_is_where_classes_are_close_or_meet() -> None:
    logits = np.zeros((3, 1, 5), np.float32)
    logits[0] = 9.0
    logits[1, 0] = [0.0, 8.9, 0.0, 0.0, 20.0]
    gain = expected_gain(logits)[0]
    assert gain[1] > gain[3] > gain[0]
    assert gain[4] > 0.5 > gain[0] > 0.0
    softmax = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(0)
    best = np.sort(softmax, 0)
    edges = np.array([0, 0, 0, 0.5, 0.5])
    np.testing.assert_allclose(gain, 0.01 + 1 - (best[2] - best[1]) + edges, atol=1e-6)


def test_a_graph_may_guess_the_gain(tmp_path: Path, looks: Looks) -> None:
    bundle = make_tiny_bundle(tmp_path / 'tiny', guesses_gain=True)
    mask = np.full(SIZE, 1, np.uint8)
    mask[200:600, 600:800] = 0  # what the graph calls worth while
    mask[::7] = 2
    with Segmenter(bundle, 'onnxruntime', options=EngineOptions(threads=1)) as guessing:
        assert guessing(paint(mask), budget=looks.budget(1.0)).detail_share > 0.0
        assert 'detail_gain' in guessing.provenance['sha256']
    (tile,) = looks.tiles
    assert tile.columns[1] * 16 > 600


def test_errors_in_tiles_are_raised_and_nothing_stays_of_them(
    segmenter: Segmenter, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = FrameBudget(1e6)

    def broken(*_: object) -> np.ndarray:
        raise EngineError('broken')

    with monkeypatch.context() as patch:
        patch.setattr(TileLooker, 'look', broken)
        with pytest.raises(EngineError, match='broken'):
            segmenter(image, budget=budget)
    found = segmenter(image, budget=budget)
    assert (found.mask == segmenter(image).mask).mean() > 0.9999


def test_noise_of_the_camera_is_no_change(image: np.ndarray) -> None:
    generator = np.random.default_rng(3)
    memory = TileMemory((20, 20), 2, level=1.0)
    picture = generator.uniform(0, 255, (3, 80, 80)).astype(np.float32)

    def frame(shift: float = 0.0) -> np.ndarray:
        return (picture + generator.normal(shift, 2.0, picture.shape)).astype(np.float32)

    seen = frame()
    memory.see(seen)
    for index, tile in enumerate(memory.tiles):
        rows, columns = (4 * (b - a) for a, b in (tile.window_rows, tile.window_columns))
        memory.keep(index, np.zeros((2, rows, columns), np.float32), seen)
    memory.see(frame())
    assert memory.valid.all()
    moved = frame()
    moved[:, 40:44, 40:44] += 60.0
    memory.see(moved)
    assert not memory.valid[9:12, 9:12].any()  # with what is around it
    assert memory.valid.sum() == memory.valid.size - 9
    memory.see(frame(shift=40.0))
    assert not memory.valid.any()


def test_region_of_interest(segmenter: Segmenter, image: np.ndarray, looks: Looks) -> None:
    region = RegionOfInterest([(0, 400, 0, 0)])
    whole = segmenter(image, confidence=True, roi=region, overlay=OverlayOptions(overlay=True))
    plain = segmenter(image, confidence=True)
    assert (whole.mask[:400] == 255).all() and (whole.confidence[:400] == 0).all()
    assert (whole.mask[400:] == plain.mask[400:]).all()
    assert (whole.confidence[400:] == plain.confidence[400:]).all()
    assert (whole.overlay[:400] == image[:400]).all()
    budget = looks.budget(1e6)
    found = segmenter(image, confidence=True, roi=region, budget=budget)
    assert looks.take() == 8  # none of the tiles above
    assert found.detail_share == 1.0
    assert (found.mask[:400] == 255).all() and (found.confidence[:400] == 0).all()
    assert (found.mask[400:] == plain.mask[400:]).mean() > 0.999


def test_region_from_a_picture_and_rectangles() -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:50, 20:70] = 3
    region = RegionOfInterest([(0, 0, 30, 30), (60, 20, 0, 10)], mask)
    seen = region.pixels((60, 80))
    wanted = np.zeros((60, 80), np.uint8)
    wanted[10:30, 20:30] = wanted[20:30, 60:70] = 255
    np.testing.assert_array_equal(seen, wanted)
    assert region.pixels((60, 80)) is seen
    deep = np.full((60, 80), 300, np.uint16)
    left = region.leave_out(deep)['mask']
    assert left.dtype == np.uint16
    assert set(np.unique(left)) == {300, 65535}
    with pytest.raises(ConfigError, match='is 80 x 60 px, the frame 81 x 60'):
        region.pixels((60, 81))
    with pytest.raises(ConfigError, match='leaves no pixel of a frame of 30 x 20'):
        RegionOfInterest([(40, 0, 10, 10)]).pixels((20, 30))
    for wrong in ((1, 2, 3), (0, 0, -1, 5)):
        with pytest.raises(ConfigError, match='expected left, top, width and height'):
            RegionOfInterest([wrong])
    with pytest.raises(ConfigError, match='no pixel to look at'):
        RegionOfInterest(mask=np.zeros((4, 4), np.uint8))
