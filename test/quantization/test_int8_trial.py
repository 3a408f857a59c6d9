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

"""Tiles of frames: no pixel twice, every tile as likely as the others."""

from __future__ import annotations

from collections import Counter

import numpy as np

from uhr_seg_ros.quantization.int8_trial import sample_tiles, tiles_of


def numbered(height: int, width: int) -> np.ndarray:
    return np.arange(height * width).reshape(height, width, 1).repeat(3, 2)


def test_tiles_share_no_pixel() -> None:
    tiles = list(tiles_of(numbered(70, 100), 32))
    assert [tile.shape for tile in tiles] == [(32, 32, 3)] * 6
    assert len(np.unique(np.stack(tiles))) == 6 * 32 * 32


def test_small_frame_is_one_tile() -> None:
    (tile,) = tiles_of(numbered(20, 100), 64)
    assert tile.shape == (20, 64, 3)
    (tile,) = tiles_of(numbered(20, 30), 64)
    assert tile.shape == (20, 30, 3)


def test_every_tile_is_as_likely() -> None:
    counts: Counter[int] = Counter()
    first: Counter[int] = Counter()
    for seed in range(600):
        frames = (np.full((2, 4, 3), frame * 2) + [[[0], [0], [1], [1]]] for frame in range(4))
        chosen = [int(tile[0, 0, 0]) for tile in sample_tiles(frames, 2, 3, seed)]
        assert len(set(chosen)) == 3
        counts.update(chosen)
        first.update(chosen[:1])
    assert set(counts) == set(range(8))
    # 225 each on average, 12 standard deviation; the first one: 75, 8.
    assert all(abs(count - 225) < 60 for count in counts.values())
    assert all(abs(first[tile] - 75) < 40 for tile in range(8))


def test_tiles_are_copies() -> None:
    frame = numbered(8, 8)
    (tile,) = sample_tiles([frame], 8, 3, 0)
    assert not np.shares_memory(tile, frame)
