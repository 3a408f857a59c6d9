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

"""Masks and clouds that belong together in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
import time
from typing import Any, NamedTuple

from uhr_seg_ros.ros.topics.time_jumps import JUMP_NS

TRANSPORT_S = 2.0
"""So long, s, a frame may be under way to the node after a cloud of its time, or the other way."""

LATE_NS = 100_000_000
"""So far out of order, ns, clouds may come, as from two sensors on one topic."""


class PairCounts(NamedTuple):
    """
    Clouds of one camera; `received` is the sum of the next three at any moment.

    The last two are part of `unpaired`: clouds that a limit did not let wait on.
    """

    received: int
    paired: int
    unpaired: int
    waiting: int
    over_memory: int
    over_age: int


class Pair(NamedTuple):
    """A cloud, the mask nearest to it in time, and how much later the mask is, ns."""

    cloud: Any
    mask: Any
    difference_ns: int


class _Kept(NamedTuple):
    stamp_ns: int
    arrival: float
    size: int
    content: Any


class Pairing:
    """
    Finds the mask of each cloud by their stamps; may be used from several threads.

    A cloud is paired once: with the nearest mask that is there when it comes, else, or where a
    frame in work will replace that mask, with one that comes while it waits. A mask takes the
    nearest of the clouds that wait for it, and what is older than a paired cloud is given up:
    newest wins, as for frames.

    A cloud waits as long as a mask near enough can come, however long the network takes: while
    such a frame waits or is in work. Where there is none yet, it waits `TRANSPORT_S` for one that
    is newer than all that have come. Masks are kept in the same way for the clouds to come. Both
    have their bytes limited; the oldest go first.

    Args:
        max_difference_ns: largest difference of the stamps in a pair.
        max_bytes: of the clouds that wait, and of the masks that are kept.
        frames: gives the stamps, ns, of the frames that wait or are in work, the newest last.
        now: gives the time, s.

    Attributes:
        masks_over_memory: masks not kept for clouds to come, as they had too many bytes.
        missed_ns: how far the nearest cloud was from the last mask without one; None: none came.

    """

    def __init__(
        self,
        max_difference_ns: int,
        max_bytes: int,
        frames: Callable[[], Sequence[int]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_difference_ns = max_difference_ns
        self._max_age_s = TRANSPORT_S + max_difference_ns / 1e9
        self._max_bytes = max_bytes
        self._frames = frames
        self._now = now
        self._lock = Lock()
        # In the order of arrival.
        self._clouds: list[_Kept] = []
        self._masks: list[_Kept] = []
        self._newest_mask_ns: int | None = None
        self._cloud_stamps: deque[int] = deque(maxlen=1000)
        self._received = self._paired = self._over_memory = self._over_age = 0
        self.masks_over_memory = 0
        self.missed_ns: int | None = None

    def put_cloud(self, stamp_ns: int, cloud: Any, size: int) -> Pair | None:
        """Count a cloud of so many bytes; return it with its mask, or keep it for one to come."""
        with self._lock:
            self._received += 1
            self._tidy_masks()
            self._cloud_stamps.append(stamp_ns)
            mask = self._nearest(self._masks, stamp_ns)
            # A frame in work with the stamp of a mask is that of a recording that begins again.
            if mask is not None and mask.stamp_ns not in self._frames():
                self._give_up_until(stamp_ns)
                self._paired += 1
                return Pair(cloud, mask.content, mask.stamp_ns - stamp_ns)
            if size <= self._max_bytes:
                self._clouds.append(_Kept(stamp_ns, self._now(), size, cloud))
            else:
                self._over_memory += 1
            self._tidy_clouds()
            return None

    def put_mask(self, stamp_ns: int, mask: Any, size: int) -> Pair | None:
        """Keep a mask of so many bytes; return it with the nearest cloud that waits, if any."""
        with self._lock:
            self._newest_mask_ns = stamp_ns
            if size <= self._max_bytes:
                self._masks.append(_Kept(stamp_ns, self._now(), size, mask))
            else:
                self.masks_over_memory += 1
            self._tidy_masks()
            cloud = self._nearest(self._clouds, stamp_ns)
            if cloud is None:
                self.missed_ns = min(
                    (abs(each - stamp_ns) for each in self._cloud_stamps), default=None
                )
                self._tidy_clouds()
                return None
            self._give_up_until(cloud.stamp_ns)
            self._paired += 1
            self._tidy_clouds()
            return Pair(cloud.content, mask, stamp_ns - cloud.stamp_ns)

    def forget_after(self, stamp_ns: int) -> None:
        """Give up what is from after a time, such as one that was set back; ns."""
        with self._lock:
            self._clouds = [each for each in self._clouds if each.stamp_ns <= stamp_ns]
            self._masks = [each for each in self._masks if each.stamp_ns <= stamp_ns]
            self._newest_mask_ns = None
            self._cloud_stamps.clear()

    def clear(self) -> None:
        """Give up what waits, such as when the node is deactivated."""
        with self._lock:
            self._clouds.clear()
            self._masks.clear()
            self._newest_mask_ns = None
            self._cloud_stamps.clear()

    def counts(self) -> PairCounts:
        """Return the counters, taken in one moment."""
        with self._lock:
            self._tidy_masks()
            self._tidy_clouds()
            waiting = len(self._clouds)
            unpaired = self._received - self._paired - waiting
            return PairCounts(
                self._received,
                self._paired,
                unpaired,
                waiting,
                self._over_memory,
                self._over_age,
            )

    def _nearest(self, kept: list[_Kept], stamp_ns: int) -> _Kept | None:
        """Return what is nearest in time, if it is near enough."""
        # Of equals the newest: a recording that begins again repeats its stamps.
        nearest = min(reversed(kept), key=lambda each: abs(each.stamp_ns - stamp_ns), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp_ns) > self._max_difference_ns:
            return None
        return nearest

    def _give_up_until(self, stamp_ns: int) -> None:
        self._clouds = [each for each in self._clouds if each.stamp_ns > stamp_ns]

    def _tidy_clouds(self) -> None:
        """Give up the clouds for which no mask will come, and what is over a limit."""
        frames = list(self._frames())
        newest = frames[-1] if frames else self._newest_mask_ns
        now = self._now()
        kept = []
        for cloud in self._clouds:
            if any(abs(cloud.stamp_ns - frame) <= self._max_difference_ns for frame in frames):
                kept.append(cloud)
            elif newest is not None and self._is_passed(cloud, newest, now):
                pass
            elif now - cloud.arrival > self._max_age_s:
                self._over_age += 1
            else:
                kept.append(cloud)
        self._clouds = kept[_too_many(kept, self._max_bytes) :]
        self._over_memory += len(kept) - len(self._clouds)

    def _is_passed(self, cloud: _Kept, newest_ns: int, now: float) -> bool:
        """Return whether no frame after the newest one can reach a cloud."""
        behind_ns = newest_ns - cloud.stamp_ns
        # One that has just come from far behind may be the first after time was set back.
        is_after_jump = behind_ns > JUMP_NS and now - cloud.arrival < JUMP_NS / 1e9
        return behind_ns > self._max_difference_ns and not is_after_jump

    def _tidy_masks(self) -> None:
        earliest = self._now() - self._max_age_s
        # What a cloud newer than the newest one cannot reach; far older ones are of another clock.
        gone = range(0)
        if self._cloud_stamps:
            newest = self._cloud_stamps[-1]
            gone = range(newest - JUMP_NS, newest - self._max_difference_ns - LATE_NS)
        kept = [
            mask for mask in self._masks if mask.arrival >= earliest and mask.stamp_ns not in gone
        ]
        self._masks = kept[_too_many(kept, self._max_bytes) :]
        self.masks_over_memory += len(kept) - len(self._masks)


def _too_many(kept: list[_Kept], max_bytes: int) -> int:
    """Return how many of the oldest have to go so that the rest has no more bytes."""
    total = sum(each.size for each in kept)
    count = 0
    while total > max_bytes:
        total -= kept[count].size
        count += 1
    return count
