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

"""What the values of a label image mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.core.errors import DataError

#: So many wrong values are named.
SHOWN = 8
#: The foreground of a mask that is meant to be looked at has at least this value.
WHITE = 100


class LabelMap:
    """
    What the values in a label image mean.

    Args:
        ids: Class id of every value that may occur; 255 for values that are ignored.
        hints: Texts for the error at values that are known mistakes, by value.
    """

    def __init__(self, ids: Mapping[int, int], hints: Mapping[int, str] | None = None) -> None:
        self.ids = dict(ids)
        self.hints = dict(hints or {})
        self._table = np.full(256, UNLABELED, np.uint8)
        self._table[list(self.ids)] = list(self.ids.values())
        self._unknown = np.ones(256, np.uint8)
        self._unknown[list(self.ids)] = 0

    @classmethod
    def of_classes(cls, count: int) -> LabelMap:
        """Values are class ids, and 255 is ignored."""
        return cls({**{value: value for value in range(count)}, UNLABELED: UNLABELED})

    @property
    def classes(self) -> set[int]:
        """Class ids that values can mean."""
        return set(self.ids.values()) - {UNLABELED}

    def ids_of(self, counts: np.ndarray) -> np.ndarray:
        """
        Turn counts of values, (256,), into counts of class ids, (256,) int64, 255 for ignored.

        Every value has to have a meaning: see `fault`.
        """
        ids = np.zeros(256, np.int64)
        np.add.at(ids, self._table, counts)
        return ids

    def fault(self, counts: np.ndarray) -> str:
        """Name the values in counts, (256,), that have no meaning; empty if all have one."""
        present = np.flatnonzero(counts).tolist()
        wrong = [value for value in present if value not in self.ids]
        if not wrong:
            return ''
        plural = 's' if len(wrong) > 1 else ''
        listed = ', '.join(map(str, wrong[:SHOWN]))
        more = f' and {len(wrong) - SHOWN} more' if len(wrong) > SHOWN else ''
        hint = self._hint(wrong, present)
        return f'holds the value{plural} {listed}{more}, expected {self._expected()}{hint}'

    def decode(self, values: np.ndarray, path: Path) -> np.ndarray:
        """
        Turn values into class ids.

        Args:
            values: (h, w) uint8 as stored.
            path: The file that they came from, for the text of the error.

        Raises:
            DataError: A value has no meaning.
        """
        if cv2.LUT(values, self._unknown).any():
            present = np.unique(values).tolist()
            wrong = [value for value in present if value not in self.ids]
            hint = self._hint(wrong, present)
            msg = f'{path} holds the value {wrong[0]}, expected {self._expected()}{hint}'
            raise DataError(msg)
        return cv2.LUT(values, self._table)

    def _hint(self, wrong: Sequence[int], present: Sequence[int]) -> str:
        """Guess what was stored instead of ids, from all values that are there."""
        if known := [self.hints[value] for value in wrong if value in self.hints]:
            return known[0]
        if len(wrong) == 1 and wrong[0] >= WHITE and set(present) <= {0, *wrong}:
            return (
                f' (a mask of 0 and {wrong[0]}: divide it by {wrong[0]}, docs/data.md has a '
                'command)'
            )
        if present[0] == 1 and wrong == [len(self.classes)]:
            return ' (ids start at 0, these at 1: subtract 1)'
        if len(wrong) > SHOWN:
            return ' (grey levels, colours or a lossy copy: write class ids as docs/data.md does)'
        return ''

    def _expected(self) -> str:
        known = sorted(set(self.ids) - {UNLABELED})
        ignored = f' or {UNLABELED}' if UNLABELED in self.ids else ''
        return f'{known[0]} to {known[-1]}{ignored}'
