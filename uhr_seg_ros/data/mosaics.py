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

"""Images that were cut into three rows and columns before they were published, whole again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from uhr_seg_ros.core.errors import DataError

#: Parts along each side, and all of them.
SIDE = 3
PARTS = SIDE * SIDE

_ACROSS = [(at, at + 1) for at in range(PARTS) if (at + 1) % SIDE]
_DOWN = [(at, at + SIDE) for at in range(PARTS - SIDE)]


def join(parts: Sequence[np.ndarray]) -> np.ndarray:
    """
    Put nine parts together, row by row.

    Args:
        parts: (h, w) or (h, w, 3) each; heights may differ between rows, widths between columns.

    Raises:
        DataError: The sizes do not make three rows and columns.
    """
    for edge, pairs, what in ((0, _ACROSS, 'high'), (1, _DOWN, 'wide')):
        for one, other in pairs:
            if parts[one].shape[edge] != parts[other].shape[edge]:
                msg = (
                    f'parts {one + 1} and {other + 1} do not fit together: they are '
                    f'{parts[one].shape[edge]} and {parts[other].shape[edge]} px {what}'
                )
                raise DataError(msg)
    rows = (np.hstack(parts[at : at + SIDE]) for at in range(0, PARTS, SIDE))
    return np.vstack(list(rows))


def check_order(parts: Sequence[np.ndarray]) -> None:
    """
    Check that the nine parts of an image are in their order, by what is on both sides of seams.

    Raises:
        DataError: With two of them exchanged, or with rows for columns, the seams fit better.
    """
    by_rows = list(range(PARTS))
    orders = {'rows as columns': [at % SIDE * SIDE + at // SIDE for at in by_rows]}
    for one, other in combinations(by_rows, 2):
        order = by_rows.copy()
        order[one], order[other] = other, one
        orders[f'parts {one + 1} and {other + 1} exchanged'] = order
    steps = _steps(parts)
    as_given = _step_of(by_rows, steps)
    best = min(orders, key=lambda name: _step_of(orders[name], steps))
    if _step_of(orders[best], steps) < as_given:
        msg = f'its parts fit better with {best}: they are not in their published order'
        raise DataError(msg)


_Steps = tuple[np.ndarray, np.ndarray]


def _steps(parts: Sequence[np.ndarray]) -> _Steps:
    """
    Return how much the pixels change where one part is put before another.

    Returns:
        Beside it, and below it: (9, 9), the sum of what changes along the seam; without end where
        the sides are not of one length.
    """
    tables = np.full((PARTS, PARTS), np.inf), np.full((PARTS, PARTS), np.inf)
    signed = [part.astype(np.int16) for part in parts]
    for one in range(PARTS):
        for other in range(PARTS):
            beside = signed[one][:, -1], signed[other][:, 0]
            below = signed[one][-1], signed[other][0]
            for table, (before, after) in zip(tables, (beside, below), strict=True):
                if before.shape == after.shape:
                    table[one, other] = np.abs(before - after).sum()
    return tables


def _step_of(order: Sequence[int], steps: _Steps) -> float:
    return sum(
        table[order[one], order[other]]
        for table, pairs in zip(steps, (_ACROSS, _DOWN), strict=True)
        for one, other in pairs
    )
