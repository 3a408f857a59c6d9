# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Masks and clouds in time: late, early, missing, and under a clock that jumps."""

from __future__ import annotations

from threading import Thread

import pytest

from uhr_seg_ros.ros.pairing import Pair, PairCounts, Pairing

MS = 1_000_000
LIMIT = 50 * MS


@pytest.fixture
def pairing() -> Pairing:
    return Pairing(LIMIT, clouds=3, masks=2)


def test_a_cloud_waits_for_its_mask(pairing: Pairing) -> None:
    assert pairing.offer_cloud(100 * MS, 'cloud') is None
    assert pairing.counts() == PairCounts(1, 0, 0, 1)
    assert pairing.offer_mask(120 * MS, 'mask') == Pair('cloud', 'mask', 20 * MS)
    assert pairing.counts() == PairCounts(1, 1, 0, 0)


def test_a_mask_waits_for_its_clouds(pairing: Pairing) -> None:
    assert pairing.offer_mask(100 * MS, 'mask') is None
    assert pairing.offer_cloud(90 * MS, 'first') == Pair('first', 'mask', 10 * MS)
    assert pairing.offer_cloud(150 * MS, 'second') == Pair('second', 'mask', -50 * MS)


def test_what_is_too_far_apart_is_no_pair(pairing: Pairing) -> None:
    assert pairing.offer_cloud(100 * MS, 'cloud') is None
    assert pairing.offer_mask(100 * MS + LIMIT + 1, 'mask') is None
    # No mask to come is older than this one.
    assert pairing.counts() == PairCounts(1, 0, 1, 0)
    assert pairing.offer_cloud(100 * MS + 2 * LIMIT + 2, 'cloud') is None
    assert pairing.counts() == PairCounts(2, 0, 1, 1)


def test_the_nearest_mask_is_taken(pairing: Pairing) -> None:
    pairing.offer_mask(100 * MS, 'early')
    pairing.offer_mask(133 * MS, 'late')
    assert pairing.offer_cloud(112 * MS, 'cloud').mask == 'early'
    assert pairing.offer_cloud(122 * MS, 'cloud').mask == 'late'


def test_the_newest_cloud_wins(pairing: Pairing) -> None:
    for stamp in (90, 100, 200):
        pairing.offer_cloud(stamp * MS, stamp)
    assert pairing.offer_mask(100 * MS, 'mask') == Pair(100, 'mask', 0)
    assert pairing.counts() == PairCounts(3, 1, 1, 1)
    assert pairing.offer_mask(200 * MS, 'mask') == Pair(200, 'mask', 0)
    assert pairing.counts() == PairCounts(3, 2, 1, 0)


def test_a_cloud_is_paired_once(pairing: Pairing) -> None:
    pairing.offer_cloud(100 * MS, 'cloud')
    assert pairing.offer_mask(100 * MS, 'mask') is not None
    assert pairing.offer_mask(110 * MS, 'mask') is None


def test_buffers_are_bounded(pairing: Pairing) -> None:
    for number in range(10):
        pairing.offer_cloud(number * 10 * MS, number)
    assert pairing.counts() == PairCounts(10, 0, 7, 3)
    for number in range(10):
        pairing.offer_mask(1000 * MS + number * 100 * MS, number)
    assert pairing.offer_cloud(1700 * MS, 'cloud') is None
    assert pairing.offer_cloud(1800 * MS, 'cloud').mask == 8


def test_a_recording_that_starts_again(pairing: Pairing) -> None:
    for lap in range(3):
        for stamp in range(0, 5000, 100):
            pairing.offer_cloud(stamp * MS, (lap, stamp))
            pair = pairing.offer_mask(stamp * MS, (lap, stamp))
            assert pair == Pair((lap, stamp), (lap, stamp), 0)
    assert pairing.counts() == PairCounts(150, 150, 0, 0)


def test_what_is_from_before_a_jump_is_given_up(pairing: Pairing) -> None:
    pairing.offer_mask(9000 * MS, 'before')
    pairing.offer_cloud(8000 * MS, 'before')
    assert pairing.offer_cloud(5 * MS, 'after') is None
    assert pairing.counts() == PairCounts(2, 0, 1, 1)
    # The mask of a frame that was in the network when the clock was set back.
    assert pairing.offer_mask(9100 * MS, 'before') is None
    assert pairing.offer_cloud(105 * MS, 'after') is None
    assert pairing.offer_mask(100 * MS, 'after') == Pair('after', 'after', -5 * MS)
    assert pairing.offer_cloud(9000 * MS, 'much later') is None


def test_a_late_message_is_no_jump(pairing: Pairing) -> None:
    pairing.offer_mask(900 * MS, 'mask')
    pairing.offer_mask(1700 * MS, 'mask')
    pairing.offer_mask(950 * MS, 'late')
    assert pairing.offer_cloud(1700 * MS, 'cloud') == Pair('cloud', 'mask', 0)
    assert pairing.offer_cloud(950 * MS, 'late') == Pair('late', 'late', 0)


def test_clear_gives_up_what_waits(pairing: Pairing) -> None:
    pairing.offer_cloud(100 * MS, 'cloud')
    pairing.clear()
    assert pairing.offer_mask(100 * MS, 'mask') is None
    pairing.clear()
    assert pairing.offer_cloud(100 * MS, 'cloud') is None
    assert pairing.counts() == PairCounts(2, 0, 1, 1)


def test_threads_lose_nothing(pairing: Pairing) -> None:
    pairs: list[Pair] = []

    def offer(kind: str) -> None:
        put = pairing.offer_cloud if kind == 'cloud' else pairing.offer_mask
        for number in range(2000):
            pair = put(number * MS, number)
            if pair is not None:
                pairs.append(pair)

    threads = [Thread(target=offer, args=[kind]) for kind in ('cloud', 'mask')]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = pairing.counts()
    assert counts.received == 2000
    assert counts.paired == len(pairs) == len({pair.cloud for pair in pairs})
    assert counts.received == counts.paired + counts.unpaired + counts.waiting
    assert all(abs(pair.difference_ns) <= LIMIT for pair in pairs)
