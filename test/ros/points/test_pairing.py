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

"""Masks and clouds in time: late, early, missing, and under a clock that jumps."""

from __future__ import annotations

from threading import Thread

import pytest

from uhr_seg_ros.ros.points.pairing import Pair, PairCounts, Pairing, TRANSPORT_S

MS = 1_000_000
LIMIT = 50 * MS


class Desk(Pairing):
    """
    A pairing with a clock and a worker that are set by hand.

    Attributes:
        frames: stamps of the frames that wait or are in work, ms, the newest last.
        seconds: what the clock shows.

    """

    def __init__(self, max_bytes: int = 1000) -> None:
        self.frames: list[int] = []
        self.seconds = 0.0
        super().__init__(
            LIMIT, max_bytes, lambda: [each * MS for each in self.frames], lambda: self.seconds
        )

    def cloud(self, stamp_ms: int, content: object = 'cloud', size: int = 1) -> Pair | None:
        return self.put_cloud(stamp_ms * MS, content, size)

    def mask(self, stamp_ms: int, content: object = 'mask', size: int = 1) -> Pair | None:
        return self.put_mask(stamp_ms * MS, content, size)

    def account(self) -> tuple[int, ...]:
        """Return received, paired, unpaired, waiting."""
        return self.counts()[:4]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_cloud_waits_for_its_mask(desk: Desk) -> None:
    assert desk.cloud(100) is None
    assert desk.counts() == PairCounts(1, 0, 0, 1, 0, 0)
    assert desk.mask(120) == Pair('cloud', 'mask', 20 * MS)
    assert desk.counts() == PairCounts(1, 1, 0, 0, 0, 0)


def test_a_mask_waits_for_its_clouds(desk: Desk) -> None:
    assert desk.mask(100) is None
    assert desk.cloud(90, 'first') == Pair('first', 'mask', 10 * MS)
    assert desk.cloud(150, 'second') == Pair('second', 'mask', -50 * MS)


def test_what_is_too_far_apart_is_no_pair(desk: Desk) -> None:
    assert desk.cloud(100) is None
    assert desk.put_mask(100 * MS + LIMIT + 1, 'mask', 1) is None
    # No mask to come is older than this one.
    assert desk.account() == (1, 0, 1, 0)
    assert desk.cloud(201) is None
    assert desk.account() == (2, 0, 1, 1)


def test_the_nearest_mask_is_taken(desk: Desk) -> None:
    desk.mask(100, 'early')
    desk.mask(133, 'late')
    assert desk.cloud(112).mask == 'early'
    assert desk.cloud(122).mask == 'late'


def test_the_nearest_cloud_is_taken_and_older_ones_are_given_up(desk: Desk) -> None:
    for stamp in (90, 102, 140, 200):
        desk.cloud(stamp, stamp)
    assert desk.mask(100) == Pair(102, 'mask', -2 * MS)
    assert desk.account() == (4, 1, 1, 2)
    assert desk.mask(190) == Pair(200, 'mask', -10 * MS)
    assert desk.account() == (4, 2, 2, 0)


def test_a_cloud_is_paired_once(desk: Desk) -> None:
    desk.cloud(100)
    assert desk.mask(100) is not None
    assert desk.mask(110) is None


@pytest.mark.parametrize(
    ('latency_ms', 'frame_ms', 'cloud_ms'), [(1800, 100, 100), (600, 50, 50), (3000, 30, 10)]
)
def test_a_slow_network_labels_a_cloud_per_mask(
    desk: Desk, latency_ms: int, frame_ms: int, cloud_ms: int
) -> None:
    """8K at 10 Hz and one of two 4K cameras at 20 Hz, as the worker serves them."""
    desk.frames = [0]
    paired = []
    most = 0
    for now in range(0, 10 * latency_ms, 10):
        desk.seconds = now / 1000
        if now % frame_ms == 0:  # the newest waits
            desk.frames = [desk.frames[0], now]
        if now % cloud_ms == 0:
            desk.cloud(now, now)
        if now and now % latency_ms == 0:
            done, *desk.frames = desk.frames
            paired.append(desk.mask(done))
            desk.frames = desk.frames or [now]
        most = max(most, desk.counts().waiting)
    assert len(paired) == 9
    assert all(pair is not None and pair.difference_ns == 0 for pair in paired)
    assert most <= 3 * (2 * LIMIT // MS // cloud_ms + 1)
    assert desk.counts().over_memory == desk.counts().over_age == 0


def test_clouds_that_no_frame_can_need_are_given_up_at_once(desk: Desk) -> None:
    desk.frames = [100]
    for stamp in range(100, 300, 10):
        desk.cloud(stamp)
    desk.frames = [100, 300]
    # Near the frame in work, and near the one that waits or newer than all frames.
    assert desk.account() == (20, 0, 9, 11)
    desk.frames = [300]
    assert desk.account() == (20, 0, 15, 5)


def test_a_cloud_before_its_frame_waits_for_it(desk: Desk) -> None:
    """The LiDAR is here at once, an 8K frame has hundreds of ms to go."""
    desk.mask(0)
    for stamp in range(100, 2100, 100):
        desk.seconds = stamp / 1000
        desk.cloud(stamp, stamp)
    assert desk.account() == (20, 0, 0, 20)
    assert desk.mask(1500).cloud == 1500
    desk.seconds += TRANSPORT_S + LIMIT / 1e9 + 0.1
    assert desk.counts() == PairCounts(20, 1, 19, 0, 0, 5)


def test_a_frame_in_work_keeps_its_cloud_however_long_it_takes(desk: Desk) -> None:
    desk.frames = [100]
    desk.cloud(100)
    desk.seconds = 1000.0
    assert desk.account() == (1, 0, 0, 1)
    assert desk.mask(100) is not None


def test_bytes_are_bounded(desk: Desk) -> None:
    desk.frames = [100]
    for number in range(5):
        desk.cloud(100 + number, number, 300)
    assert desk.counts() == PairCounts(5, 0, 2, 3, 2, 0)
    # One that is too large alone leaves the others.
    assert desk.cloud(110, 'giant', 1001) is None
    assert desk.counts() == PairCounts(6, 0, 3, 3, 3, 0)
    assert desk.mask(100, size=1001).cloud == 2
    assert desk.masks_over_memory == 1
    assert desk.cloud(111) is None  # the mask was not kept
    for number in range(5):
        desk.mask(1000 + 10 * number, number, 300)
    assert desk.masks_over_memory == 3
    assert desk.cloud(1000).mask == 2


def test_masks_are_kept_as_long_as_clouds_may_come(desk: Desk) -> None:
    for number in range(12):  # 60 Hz, and a LiDAR that is 200 ms late
        desk.mask(16 * number, number)
    assert desk.cloud(0).mask == 0
    assert desk.cloud(100).mask == 6
    desk.seconds = TRANSPORT_S + LIMIT / 1e9 + 0.1
    assert desk.cloud(110) is None


def test_how_far_the_nearest_cloud_was(desk: Desk) -> None:
    desk.mask(0)
    assert desk.missed_ns is None
    desk.frames = [100]
    for stamp in range(400, 2400, 100):  # those that no frame needs are long gone
        desk.cloud(stamp)
    desk.mask(100)
    assert desk.missed_ns == 300 * MS


def test_a_recording_that_starts_again(desk: Desk) -> None:
    for lap in range(3):
        for stamp in range(0, 5000, 100):
            desk.cloud(stamp, (lap, stamp))
            if lap and stamp == 100:  # as `TimeJumps` says by now
                desk.forget_after(1100 * MS)
            assert desk.mask(stamp, (lap, stamp)) == Pair((lap, stamp), (lap, stamp), 0)
    assert desk.account() == (150, 150, 0, 0)


def test_what_is_from_before_a_jump_is_given_up(desk: Desk) -> None:
    desk.mask(9000, 'before')
    desk.cloud(8000, 'before')
    desk.cloud(5, 'after')
    desk.frames = [9100, 0]  # one is from before, too
    desk.forget_after(1005 * MS)
    assert desk.account() == (2, 0, 1, 1)
    assert desk.mask(9100, 'before') is None
    desk.frames = [0]
    assert desk.cloud(105, 'next') is None
    assert desk.mask(0, 'after') == Pair('after', 'after', -5 * MS)
    assert desk.cloud(9000, 'much later') is None


def test_a_clock_that_is_set_back_is_seen_first_by_a_mask(desk: Desk) -> None:
    assert desk.cloud(100_000) is None
    assert desk.mask(100_000) is not None
    assert desk.mask(1000, 'after') is None
    assert desk.cloud(1000, 'after') == Pair('after', 'after', 0)
    assert desk.account() == (2, 2, 0, 0)


def test_sensors_out_of_order(desk: Desk) -> None:
    desk.mask(900, 'first')
    desk.mask(1000, 'second')
    assert desk.cloud(1000) == Pair('cloud', 'second', 0)
    assert desk.cloud(890, 'late') == Pair('late', 'first', 10 * MS)


def test_clear_gives_up_what_waits(desk: Desk) -> None:
    desk.cloud(100)
    desk.clear()
    assert desk.mask(100) is None
    desk.clear()
    assert desk.cloud(100) is None
    assert desk.account() == (2, 0, 1, 1)


def test_threads_lose_nothing() -> None:
    desk = Desk(max_bytes=10**9)
    pairs: list[Pair] = []

    def offer(kind: str) -> None:
        put = desk.cloud if kind == 'cloud' else desk.mask
        for number in range(500):
            pair = put(number, number)
            if pair is not None:
                pairs.append(pair)

    threads = [Thread(target=offer, args=[kind]) for kind in ('cloud', 'mask')]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = desk.counts()
    assert counts.received == 500
    assert counts.paired == len(pairs) == len({pair.cloud for pair in pairs})
    assert counts.received == counts.paired + counts.unpaired + counts.waiting
    assert all(abs(pair.difference_ns) <= LIMIT for pair in pairs)


def test_a_mask_that_is_being_replaced_is_waited_for(desk: Desk) -> None:
    desk.mask(100, 'of the first turn')
    desk.mask(1100, 'of the first turn')
    desk.frames = [100]  # the recording has begun again, and the worker is at its first frame
    assert desk.cloud(110) is None
    assert desk.mask(100, 'of the second turn') == Pair('cloud', 'of the second turn', -10 * MS)
    desk.frames = []
    assert desk.cloud(120).mask == 'of the second turn'
