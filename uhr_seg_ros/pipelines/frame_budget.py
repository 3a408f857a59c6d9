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
How long a frame may take, and what of the frames before it is still good.

The semantic branch sees the whole frame. The detail branch, which is most of the work, sees the
tiles that gain most by it, as many as there is time for; a tile whose picture has not changed
keeps what was found there. Nothing here knows of graphs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from threading import Lock
from time import perf_counter

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.pipelines.frame_budget_tiles import TileMemory

#: So many of the newest times are asked how long the next one will take.
_RECENT = 15


class FrameBudget:
    """
    The budget of one camera, for `Segmenter`; frames of a camera follow each other.

    Example:
        >>> from uhr_seg_ros import FrameBudget, Segmenter
        >>> budget = FrameBudget(200.0)
        >>> with Segmenter('hlrc_s_aerial', 'onnxruntime') as segmenter:
        ...     result = segmenter(np.zeros((480, 640, 3), np.uint8), budget=budget)
        >>> 0.0 < result.detail_share <= 1.0
        True

    Args:
        milliseconds: what a frame may take, ms, above 0.
        clock: tells the time, s.

    Attributes:
        memory: of the tiles; None before the first frame and after `forget`.
        detail_share: share of the pixels to look at that have a result of the detail branch in
            the newest mask, 0 to 1.

    Raises:
        ConfigError: no time at all.

    """

    def __init__(self, milliseconds: float, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self.milliseconds = milliseconds
        self.memory: TileMemory | None = None
        self.detail_share = 0.0
        self._owner: object = None
        self._lock = Lock()
        self._looks: deque[float] = deque(maxlen=_RECENT)
        self._rests: deque[float] = deque(maxlen=_RECENT)
        self._is_warm = False
        self._start = self._looked = 0.0
        self._taken = 0

    @property
    def milliseconds(self) -> float:
        """What a frame may take, ms; another value counts from the next frame on."""
        return self._milliseconds

    @milliseconds.setter
    def milliseconds(self, milliseconds: float) -> None:
        if not milliseconds > 0.0:
            msg = f'a frame budget of {milliseconds:g} ms: expected more than 0'
            raise ConfigError(msg)
        self._milliseconds = milliseconds

    def forget(self) -> None:
        """Forget what was seen, as where time was set back; what things take is still known."""
        self.memory = None

    def begin(self) -> None:
        """Begin a frame."""
        self._start, self._taken = self._clock(), 0

    def adopt(self, owner: object, memory: Callable[[], TileMemory]) -> TileMemory:
        """
        Return the memory of the tiles; a new one if this one is of other frames.

        Args:
            owner: what the results in it depend on, such as the bundle and the size of frames.
            memory: makes a new one.

        """
        known = self.memory  # another thread may forget it
        if known is None or self._owner != owner:
            self.memory, self._owner = known, _ = memory(), owner
        return known

    def takes_one_more(self) -> bool:
        """Tell if there is time to look at one more tile, for the first always; for any thread."""
        with self._lock:
            needed = sum(median(times) for times in (self._looks, self._rests) if times)
            spent = self._clock() - self._start
            if self._taken and spent + needed > self._milliseconds / 1e3:
                return False
            self._taken += 1
            return True

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Note how long a look at a tile takes; the first one of all pays for memory, too."""
        begun = self._clock()
        yield
        with self._lock:
            if self._is_warm:
                self._looks.append(self._clock() - begun)
            self._is_warm = True

    def end_looking(self) -> None:
        """Note that the rest of the frame begins, which takes time as well."""
        self._looked = self._clock()

    def end(self) -> None:
        """Note the end of the frame."""
        self._rests.append(self._clock() - self._looked)
