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

"""What was decoded last is kept for all threads of the process, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np


class ArrayCache:
    """
    Arrays that were used last, up to a number of bytes; for several threads.

    Args:
        limit: Bytes. An array above it is not kept at all.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    @property
    def bytes(self) -> int:
        """Bytes of what is kept."""
        return self._bytes

    def set_limit(self, limit: int) -> None:
        """Change the number of bytes; what is too much goes at once."""
        with self._lock:
            self._limit = limit
            self._shrink()

    @contextmanager
    def limited(self, limit: int) -> Iterator[None]:
        """Change the number of bytes within a block."""
        before = self._limit
        self.set_limit(limit)
        try:
            yield
        finally:
            self.set_limit(before)

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array of a key, made now if it is not here. It is read-only."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        # Outside the lock: others may read meanwhile. Two threads may make the same array.
        array = make()
        array.flags.writeable = False
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = array
                self._bytes += array.nbytes
                self._shrink()
        return array

    def _shrink(self) -> None:
        while self._bytes > self._limit:
            _, array = self._arrays.popitem(last=False)
            self._bytes -= array.nbytes
