# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""A sample of tiles from frames, however many frames there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


def tiles_of(frame: np.ndarray, side: int) -> Iterator[np.ndarray]:
    """
    Cut a frame into tiles that share no pixel.

    Args:
        frame: (H, W, 3).
        side: of the tiles, px; a frame that is smaller is one tile, as it is.

    """
    height, width = frame.shape[:2]
    for top in range(0, max(height - side, 0) + 1, side):
        for left in range(0, max(width - side, 0) + 1, side):
            yield frame[top : top + side, left : left + side]


def sample_tiles(
    frames: Iterable[np.ndarray], side: int, count: int, seed: int
) -> list[np.ndarray]:
    """
    Draw tiles, each with the same probability, in random order.

    Args:
        frames: (H, W, 3) uint8 BGR, of any sizes; taken one at a time.
        side: of the tiles, px.
        count: of tiles, at most.
        seed: of the draw.

    """
    generator = np.random.default_rng(seed)
    chosen: list[np.ndarray] = []
    seen = 0
    for frame in frames:
        for tile in tiles_of(frame, side):
            # Reservoir sampling: a place among the chosen ones, or beyond them.
            seen += 1
            place = int(generator.integers(seen))
            if len(chosen) < count:
                chosen.insert(place, tile.copy())
            elif place < count:
                chosen[place] = tile.copy()
    return chosen
