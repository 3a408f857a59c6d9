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

"""A frame budget in tiles instead of milliseconds, so that a run can be repeated anywhere."""

from __future__ import annotations

import math

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.pipelines.frame_budget import FrameBudget


class FixedShare(FrameBudget):
    """
    A budget of a share of the tiles of every frame, however long they take.

    Args:
        share: of the tiles, 0 to 1; what is kept of earlier frames comes on top.

    Raises:
        ConfigError: no share.

    """

    def __init__(self, share: float) -> None:
        if not 0.0 <= share <= 1.0:
            msg = f'a detail share of {share:g}: expected 0 to 1'
            raise ConfigError(msg)
        super().__init__(math.inf)
        self._share = share

    def takes_one_more(self) -> bool:
        """Tell if fewer tiles than the share were looked at; from any thread."""
        with self._lock:
            tiles = len(self.memory.tiles) if self.memory is not None else 0
            if self._taken >= round(self._share * tiles):
                return False
            self._taken += 1
            return True
