# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Masks and clouds that belong together in time."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any, NamedTuple

JUMP_NS = 1_000_000_000
"""So far behind its predecessor, ns, a message is not late: the clock was set back."""


class PairCounts(NamedTuple):
    """Clouds of one camera; `received` is the sum of the others at any moment."""

    received: int
    paired: int
    unpaired: int
    waiting: int


class Pair(NamedTuple):
    """A cloud, the mask nearest to it in time, and how much later the mask is, ns."""

    cloud: Any
    mask: Any
    difference_ns: int


class _Stamped(NamedTuple):
    stamp_ns: int
    content: Any


class Pairing:
    """
    Finds the mask of each cloud by their stamps; may be used from several threads.

    A cloud is paired once: with the nearest mask that is there when it comes, else when the first
    mask near enough comes. Newest wins, as for frames: clouds that came before a paired one are
    given up. Arrival decides what is newest, not the stamp, so a recording that starts again or a
    simulated clock that is reset goes on at once; what was kept from the time before the jump
    is given up.

    Args:
        max_difference_ns: largest difference of the stamps in a pair.
        clouds: how many may wait for a mask, which comes later by what the network takes.
        masks: how many are kept for the clouds to come.

    """

    def __init__(self, max_difference_ns: int, clouds: int = 16, masks: int = 4) -> None:
        self._max_difference_ns = max_difference_ns
        self._lock = Lock()
        # In the order of arrival.
        self._clouds: deque[_Stamped] = deque(maxlen=clouds)
        self._masks: deque[_Stamped] = deque(maxlen=masks)
        self._last_ns: dict[str, int] = {}
        self._received = 0
        self._paired = 0

    def offer_cloud(self, stamp_ns: int, cloud: Any) -> Pair | None:
        """Count a cloud; return it with its mask, or keep it until that comes."""
        with self._lock:
            self._received += 1
            self._note_stamp('cloud', stamp_ns)
            self._clouds.append(_Stamped(stamp_ns, cloud))
            return self._newest_pair()

    def offer_mask(self, stamp_ns: int, mask: Any) -> Pair | None:
        """Keep a mask; return it with the newest waiting cloud near enough, if there is one."""
        with self._lock:
            self._note_stamp('mask', stamp_ns)
            self._masks.append(_Stamped(stamp_ns, mask))
            pair = self._newest_pair()
            # Masks to come are newer still: what is too old for this one is too old for them.
            self._keep_clouds(stamp_ns - self._max_difference_ns, None)
            return pair

    def clear(self) -> None:
        """Give up what waits, such as when the node is deactivated."""
        with self._lock:
            self._clouds.clear()
            self._masks.clear()
            self._last_ns.clear()

    def counts(self) -> PairCounts:
        """Return the counters, taken in one moment."""
        with self._lock:
            waiting = len(self._clouds)
            unpaired = self._received - self._paired - waiting
            return PairCounts(self._received, self._paired, unpaired, waiting)

    def _note_stamp(self, kind: str, stamp_ns: int) -> None:
        """Give up what is from a time before the clock was set back, if it was."""
        latest_ns = stamp_ns + JUMP_NS
        if self._last_ns.get(kind, stamp_ns) > latest_ns:
            self._keep_clouds(None, latest_ns)
            self._masks = deque(
                (mask for mask in self._masks if mask.stamp_ns <= latest_ns), self._masks.maxlen
            )
        self._last_ns[kind] = stamp_ns

    def _keep_clouds(self, earliest_ns: int | None, latest_ns: int | None) -> None:
        kept = (
            cloud
            for cloud in self._clouds
            if (earliest_ns is None or cloud.stamp_ns >= earliest_ns)
            and (latest_ns is None or cloud.stamp_ns <= latest_ns)
        )
        self._clouds = deque(kept, self._clouds.maxlen)

    def _newest_pair(self) -> Pair | None:
        for place in reversed(range(len(self._clouds))):
            cloud = self._clouds[place]
            mask = self._nearest_mask(cloud.stamp_ns)
            if mask is not None:
                for _ in range(place + 1):
                    self._clouds.popleft()
                self._paired += 1
                return Pair(cloud.content, mask.content, mask.stamp_ns - cloud.stamp_ns)
        return None

    def _nearest_mask(self, stamp_ns: int) -> _Stamped | None:
        # Of equals the newest: a recording that begins again repeats its stamps.
        nearest = min(
            reversed(self._masks), key=lambda mask: abs(mask.stamp_ns - stamp_ns), default=None
        )
        if nearest is None or abs(nearest.stamp_ns - stamp_ns) > self._max_difference_ns:
            return None
        return nearest
