# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What the values of a label image mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from uhr_seg_ros.classes import UNLABELLED
from uhr_seg_ros.data.errors import DataError


class Encoding:
    """
    What the values in a label image mean.

    Args:
        ids: Class id of every value that may occur; 255 for values that are ignored.
        hints: Texts for the error at values that are known mistakes, by value.
    """

    def __init__(self, ids: Mapping[int, int], hints: Mapping[int, str] | None = None) -> None:
        self.ids = dict(ids)
        self.hints = dict(hints or {})
        self._table = np.full(256, UNLABELLED, np.uint8)
        self._table[list(self.ids)] = list(self.ids.values())
        self._unknown = np.ones(256, np.uint8)
        self._unknown[list(self.ids)] = 0

    @classmethod
    def of_classes(cls, count: int) -> Encoding:
        """Values are class ids, and 255 is ignored."""
        return cls({**{value: value for value in range(count)}, UNLABELLED: UNLABELLED})

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
            wrong = [value for value in np.unique(values).tolist() if value not in self.ids]
            hint = next((self.hints[value] for value in wrong if value in self.hints), '')
            msg = f'{path} holds the value {wrong[0]}, expected {self._expected()}{hint}'
            raise DataError(msg)
        return cv2.LUT(values, self._table)

    def _expected(self) -> str:
        known = sorted(set(self.ids) - {UNLABELLED})
        ignored = f' or {UNLABELLED}' if UNLABELLED in self.ids else ''
        return f'{known[0]} to {known[-1]}{ignored}'
