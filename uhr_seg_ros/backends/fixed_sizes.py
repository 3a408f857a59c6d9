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
For which sizes a graph that takes every size is opened anew.

Where a runtime knows the lengths of all axes, it adds up maps within convolutions, keeps more of
them in its own layout, and leaves out the arithmetic on shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

#: Values of the largest input below which a graph runs as it is: opening it takes longer than a
#: few such runs save, and images that small come in all sizes.
MIN_VALUES = 1 << 16

#: Name of an axis -> its length.
Sizes = Mapping[str, int]
#: Every length is taken.
ANY: Sizes = MappingProxyType({})


class FixedSizes:
    """
    Chooses the sizes that a graph is to be opened for, run by run.

    The first inputs decide, and the first of another size, as those of a camera after a warm-up.
    Where more come, as with photographs of all sizes, the graph that takes every size is better
    than to open one for each; those that come again and again decide anew, and each time it takes
    twice as many, so that opening stays a small part of the work.

    Args:
        axes: input -> its axes, those that are only known at run time by their names, or None.
        most: so many sizes are chosen at a time; the one that was not used for longest goes.

    """

    def __init__(self, axes: Mapping[str, Sequence[int | str | None]], most: int = 1) -> None:
        self._axes = [
            (tensor, place, name)
            for tensor, names in axes.items()
            for place, name in enumerate(names)
            if isinstance(name, str)
        ]
        self._most, self._chosen, self._last = most, list[Sizes](), ANY
        self._repeats, self._left = 0, 0

    def choose(self, feeds: Mapping[str, np.ndarray]) -> Sizes:
        """
        Return the sizes for the next run, which fit its inputs.

        Args:
            feeds: every input by name; those that do not fit the graph are left to its runtime.

        """
        sizes = self._sizes_of(feeds)
        self._repeats = self._repeats + 1 if sizes == self._last else 1
        self._last = sizes
        if sizes in self._chosen:
            self._chosen.remove(sizes)
        else:
            if len(self._chosen) == self._most:
                del self._chosen[0]
                self._left += 1
            if self._repeats < 2 ** (self._left - 1):
                return ANY
        self._chosen.append(sizes)
        return sizes

    def kept(self, feeds: Mapping[str, np.ndarray]) -> Sizes:
        """Return the chosen sizes where they fit, else any; what comes is no reason to choose."""
        return sizes if (sizes := self._sizes_of(feeds)) in self._chosen else ANY

    def give_up(self) -> None:
        """Take every size from now on: the runtime cannot open the graph for one."""
        self._axes, self._chosen = [], []

    def _sizes_of(self, feeds: Mapping[str, np.ndarray]) -> Sizes:
        if max((each.size for each in feeds.values()), default=0) < MIN_VALUES:
            return ANY
        sizes: dict[str, int] = {}
        for tensor, place, name in self._axes:
            shape = feeds[tensor].shape if tensor in feeds else ()
            length = shape[place] if place < len(shape) else 0
            # One name, two lengths: the graph does not mean it, or the inputs do not fit.
            if not length or sizes.setdefault(name, length) != length:
                return ANY
        return sizes
