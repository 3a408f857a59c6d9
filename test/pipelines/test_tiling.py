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

"""Tiles cover, overlap, blend to one and fit into memory."""

from __future__ import annotations

import numpy as np
import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.pipelines.tiling import (
    blend_weights,
    checked_tile,
    overlap_of,
    pixels_for_memory,
    strip_spans,
    tile_for_pixels,
    tile_spans,
)


@pytest.mark.parametrize('tile', [128, 256, 272, 512, 1024, 2048])
@pytest.mark.parametrize('size', [16, 128, 144, 528, 1008, 2160, 3840, 7680])
def test_tiles_cover_the_axis(size: int, tile: int) -> None:
    spans = tile_spans(size, tile, 16)
    assert spans[0][0] == 0
    assert spans[-1][1] == size
    assert all(start % 16 == 0 and stop % 16 == 0 for start, stop in spans)
    assert len({stop - start for start, stop in spans}) == 1
    assert spans[0][1] <= tile
    for (_, before), (after, _) in zip(spans[:-1], spans[1:], strict=True):
        assert before - after >= overlap_of(tile, 16)


@pytest.mark.parametrize(
    ('tile', 'multiple', 'shared'),
    [(128, 16, 64), (512, 16, 64), (640, 16, 80), (1024, 16, 128), (1100, 32, 160)]
    + [(2048, 16, 256), (4096, 64, 256)],
)
def test_what_tiles_share(tile: int, multiple: int, shared: int) -> None:
    """An eighth of the tile, at least 64 and at most 256 px, in whole multiples."""
    assert overlap_of(tile, multiple) == shared
    (_, stop), (start, _) = tile_spans(8192, tile, multiple)[:2]
    assert stop - start >= shared


def test_one_tile_where_one_is_enough() -> None:
    assert tile_spans(500, 512, 16) == [(0, 500)]
    assert len(tile_spans(3840, 1920, 16)) == 3
    assert len(tile_spans(3840, 2048, 16)) == 2


@pytest.mark.parametrize(('size', 'tile'), [(528, 128), (3840, 1024), (2160, 512), (256, 256)])
@pytest.mark.parametrize('step', [1, 4, 16])
def test_weights_add_up_to_one(size: int, tile: int, step: int) -> None:
    spans = [(start // step, stop // step) for start, stop in tile_spans(size, tile, 16)]
    total = np.zeros(size // step)
    for (start, stop), weights in zip(spans, blend_weights(spans, size // step), strict=True):
        assert (weights > 0).all()
        total[start:stop] += weights
    assert np.allclose(total, 1)


def test_weights_fade_linearly() -> None:
    left, right = blend_weights([(0, 8), (4, 12)], 12)
    assert left.tolist() == [1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]
    assert right.tolist() == left[::-1].tolist()


def test_strips() -> None:
    assert strip_spans(10, 10) == [(0, 10)]
    assert strip_spans(10, 4) == [(0, 3), (3, 6), (6, 10)]


def test_tile_from_memory() -> None:
    pixels = pixels_for_memory(100.0, 100)
    assert pixels == 1_000_000
    assert tile_for_pixels(1000, 1000, pixels, 16) is None
    assert tile_for_pixels(1008, 1008, pixels, 16) == 992


@pytest.mark.parametrize('limit', [6, 0, -5])
def test_memory_limit_too_small(limit: int) -> None:
    text = f'limit of {limit} MB is too small: .* 256 px at 100 bytes per pixel needs 7 MB'
    with pytest.raises(ConfigError, match=text):
        pixels_for_memory(100.0, limit)


def test_tile_too_small() -> None:
    assert checked_tile(500, 16) == 496
    with pytest.raises(ConfigError, match='tile of 100 px is too small, the smallest one is 128'):
        checked_tile(100, 16)
