# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Which memory is worth keeping: that of frames as they usually come, not of the largest ever."""

from __future__ import annotations

from collections import deque

#: Sizes that are remembered; of them, what came once is no reason to keep memory.
_REMEMBERED = 8
#: How many times the usual size may be kept.
_SLACK = 1.5


class UsualSize:
    """
    Tells when buffers that grow with the work should be given back.

    They may stay as large as what came twice among the last pieces of work, so that two cameras
    of different sizes, or a change of resolution, cost nothing for long.
    """

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)
        self._held = 0

    def outgrows(self, size: int) -> bool:
        """
        Note a piece of work; True asks for its buffers to be given back when it is done.

        Args:
            size: of the work, in any unit.

        """
        self._recent.append(size)
        usual = sorted(self._recent)[-2] if len(self._recent) > 1 else size
        self._held = max(self._held, size)
        if self._held <= _SLACK * usual:
            return False
        self._held = 0
        return True
