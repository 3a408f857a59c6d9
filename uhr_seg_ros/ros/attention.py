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

"""How closely the frames of one camera are looked at, and which part of them."""

from __future__ import annotations

from uhr_seg_ros.pipelines.frame_budget import FrameBudget
from uhr_seg_ros.pipelines.region_of_interest import RegionOfInterest
from uhr_seg_ros.ros.parameters.regions import Region

#: What is left at least where decoding alone takes the budget: one tile is looked at.
_LEAST_MS = 1.0


class Attention:
    """
    What a camera's frames have in common, for the worker's thread; any may call `forget`.

    What follows a change of the parameters is made with the next frame.
    """

    def __init__(self) -> None:
        self._region = Region()
        self._roi: RegionOfInterest | None = None
        self._budget: FrameBudget | None = None

    def roi(self, region: Region) -> RegionOfInterest:
        """
        Return the pixels to look at.

        Raises:
            UhrSegError: see `Region.open`.

        """
        if self._roi is None or region != self._region:
            self._roi, self._region = region.open(), region
        return self._roi

    def budget(self, milliseconds: float, spent_ms: float) -> FrameBudget:
        """
        Return what a frame has left.

        Args:
            milliseconds: for the frame.
            spent_ms: on it so far.

        """
        left = max(milliseconds - spent_ms, _LEAST_MS)
        if self._budget is None:
            self._budget = FrameBudget(left)
        self._budget.milliseconds = left
        return self._budget

    def forget(self) -> None:
        """Forget the frames so far: time was set back, and the next ones are no successors."""
        if (budget := self._budget) is not None:
            budget.forget()
