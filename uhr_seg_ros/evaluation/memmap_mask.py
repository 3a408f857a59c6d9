# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""A mask on disk, so that a large image does not take memory."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType

import numpy as np

from uhr_seg_ros.evaluation.block import Window


class MemmapMask:
    """
    A mask in a temporary file; use it in a `with` block.

    Args:
        size: Height and width of the mask, px.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._file = tempfile.TemporaryFile(prefix='uhr_seg_mask_')
        self._rows = 0

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows, (h, W) uint8."""
        self._file.write(np.ascontiguousarray(rows, np.uint8))
        self._rows += len(rows)

    def read(self, window: Window) -> np.ndarray:
        """Read a window, (h, w) uint8."""
        top, left, height, width = window
        self._file.flush()
        stored = os.pread(self._file.fileno(), height * self.size[1], top * self.size[1])
        rows = np.frombuffer(stored, np.uint8).reshape(height, self.size[1])
        return rows[:, left : left + width]

    def __enter__(self) -> MemmapMask:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
