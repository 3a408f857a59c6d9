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
Seeds of a mask: every class thinned, all of them at once.

Sources: the project page "HD Image Segmentation" thins object and background by eight structuring
elements, n passes; Gonzalez & Woods, "Digital Image Processing", 9.5.5 and 9.5.8, for the elements
of thinning and of pruning. Without pruning, the steps of an enlarged mask keep seeds at all their
corners, and its boundaries hardly move.
"""

from __future__ import annotations

import cv2
import numpy as np

#: Rows and columns to the neighbors of a pixel, clockwise from the one above.
NEIGHBORS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
Element = tuple[tuple[int, ...], tuple[int, ...]]
"""Numbers of the neighbors that have to be of the pixel's class, and of those that must not."""


def _turned(element: Element, turn: int) -> Element:
    """Turn an element by 45 degrees `turn` times."""
    there, absent = (tuple((each + turn) % 8 for each in part) for part in element)
    return there, absent


#: Thinning takes a pixel with a row of its class on one side and none of it on the other.
THINNING = tuple(_turned(((3, 4, 5), (7, 0, 1)), turn) for turn in range(8))
#: That leaves a line from what is left to every corner there was. Pruning takes the ends of lines:
#: pixels with a neighbor on one side only.
PRUNING = tuple(
    _turned(((0,), (1, 2, 3, 4, 5, 6, 7) if turn % 2 else (2, 3, 4, 5, 6)), turn)
    for turn in range(8)
)


def thinned_band(mask: np.ndarray, passes: int) -> np.ndarray:
    """
    Find the pixels that thinning removes; what is left are the seeds.

    A pass takes about a pixel off every side of a class, but never the last one of a piece: of
    what is thinner, the middle line stays, shorter by a pixel at either end. Beyond the frame
    everything goes on as at its edge; but what is there only beyond the frame does not count, or a
    piece could withdraw to it.

    Args:
        mask: (H, W) uint8 or uint16 class ids.
        passes: of thinning with all eight elements, then of pruning.

    Returns:
        (H, W) bool.

    """
    width = mask.shape[1]
    # For each neighbor: whether it is of the pixel's class and left, and whether it is another.
    around = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    same = [_packed(_equals_neighbor(around, *offset)) for offset in NEIGHBORS]
    other = [_has_neighbor(mask.shape, *offset) for offset in NEIGHBORS]
    left = _packed(np.ones(mask.shape, bool))
    removed = np.zeros_like(left)
    for element in passes * THINNING + passes * PRUNING:
        hit = _hit(same, other, element) & left
        left &= ~hit
        removed |= hit
        for plane, offset in zip(same, NEIGHBORS, strict=True):
            plane &= ~_at_neighbor(hit, *offset, width)
    return _unpacked(removed, width)


def _hit(same: list[np.ndarray], other: list[np.ndarray], element: Element) -> np.ndarray:
    """Find where a structuring element fits."""
    there, absent = element
    fits = np.bitwise_and.reduce([same[each] & other[each] for each in there])
    return fits & ~np.bitwise_or.reduce([same[each] for each in absent])


def _nearest(size: int, step: int) -> np.ndarray:
    """Return neighbors of the indices from 0 to `size`, those beyond the ends moved inside."""
    return np.clip(np.arange(size) + step, 0, size - 1)


def _equals_neighbor(around: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return for each pixel (H, W) of (H + 2, W + 2) values whether the neighbor has its value."""
    height, width = (side - 2 for side in around.shape)
    neighbors = around[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]
    return around[1:-1, 1:-1] == neighbors


def _has_neighbor(size: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Return, packed, for which pixels a neighbor that is moved inside is not the pixel itself."""
    height, width = size
    above_or_below = _nearest(height, rows) != np.arange(height)
    beside = _packed((_nearest(width, columns) != np.arange(width))[None])
    return np.where(above_or_below[:, None], ~np.uint64(0), beside)


# Sixty-four pixels in a word: a pass over a 4K mask takes some milliseconds. Pixel x of a row is
# bit x % 64 of word x // 64.


def _packed(plane: np.ndarray) -> np.ndarray:
    """Pack (H, W) bool into (H, ceil(W / 64)) words."""
    data = np.packbits(plane, axis=1, bitorder='little')
    whole = np.pad(data, ((0, 0), (0, -data.shape[1] % 8)))
    return np.ascontiguousarray(whole).view('<u8')


def _unpacked(words: np.ndarray, width: int) -> np.ndarray:
    """Undo `_packed`."""
    return np.unpackbits(words.view(np.uint8), axis=1, count=width, bitorder='little').view(bool)


def _at_neighbor(words: np.ndarray, rows: int, columns: int, width: int) -> np.ndarray:
    """Return for each pixel the bit of its neighbor, see `_nearest`; `width` in pixels."""
    there = words[_nearest(len(words), rows)]
    if columns == 0:
        return there
    if columns == 1:
        result = there >> np.uint64(1)
        result[:, :-1] |= there[:, 1:] << np.uint64(63)
        result[:, -1] |= there[:, -1] & np.uint64(1 << (width - 1) % 64)
    else:
        result = there << np.uint64(1)
        result[:, 1:] |= there[:, :-1] >> np.uint64(63)
        result[:, 0] |= there[:, 0] & np.uint64(1)
    return result
