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

"""Clouds that wait for their pose: bounded, in order, and whatever happens to one of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from stage import wait_until

from uhr_seg_ros.geometry.transform import IDENTITY, Transform
from uhr_seg_ros.ros.points.pairing import Pair
from uhr_seg_ros.ros.points.transform_waiting import Search, TransformWaiting
from uhr_seg_ros.ros.points.transforms import TransformNotYetError

LONG = 60.0


class Mask(NamedTuple):
    """Of so many bytes."""

    size: int


class Desk:
    """
    Transforms that come when `latest`, a stamp, has reached them.

    `stamps` is asked per name of a pair of frames; an exception in its place is raised.
    """

    def __init__(self, max_bytes: int = 1000) -> None:
        self.latest: dict[str, Any] = {'a': 0, 'b': 0}
        self.found: list[int] = []
        self.failed: list[tuple[int, str]] = []
        self.waiting = TransformWaiting(
            lambda search, _: self.found.append(search.stamp_ns),
            lambda search, error: self.failed.append((search.stamp_ns, str(error))),
            max_bytes,
            'limit = 1000 bytes',
        )

    def search(
        self,
        stamp: int,
        frames: str = 'a',
        size: int = 1,
        mask: Mask | None = None,
        timeout: float = LONG,
    ) -> None:
        def find() -> Transform:
            latest = self.latest[frames]
            if isinstance(latest, Exception):
                raise latest
            if latest is None or latest < stamp:
                lag = None if latest is None else stamp - latest
                raise TransformNotYetError(f'no transform {frames}', 'why', 'what to do', lag)
            return IDENTITY

        pair = Pair('cloud', mask or Mask(0), 0)
        self.waiting.find(Search(pair, ord(frames), stamp, size, find), timeout)


def test_what_is_found_keeps_the_order_of_its_stamps() -> None:
    desk = Desk()
    for stamp in (2, 1, 3):
        desk.search(stamp)
    desk.search(5, frames='b')
    desk.latest['b'] = 9
    wait_until(lambda: desk.found == [5], 'another pair of frames')
    desk.latest['a'] = 9
    desk.search(4)
    assert desk.found == [5, 1, 2, 3, 4]
    assert len(desk.waiting) == 0
    wait_until(lambda: desk.waiting._thread is None, 'its end')


def test_bytes_are_bounded_and_a_mask_counts_once() -> None:
    desk = Desk()
    mask = Mask(500)
    for stamp in range(1, 6):
        desk.search(stamp, size=100, mask=mask)
    assert (len(desk.waiting), desk.failed) == (5, [])
    desk.search(6, size=100, mask=Mask(200))
    assert len(desk.waiting) == 3
    assert [stamp for stamp, _ in desk.failed] == [1, 2, 3]
    assert 'no longer: clouds and masks that wait have more bytes than limit' in desk.failed[0][1]
    assert desk.waiting.forget_after() == 3


def test_one_that_fails_leaves_the_others() -> None:
    desk = Desk()
    desk.search(1, frames='a')
    desk.search(2, frames='b')
    desk.latest['a'] = ZeroDivisionError('of all things')
    wait_until(lambda: desk.failed == [(1, 'of all things')], 'a failure')
    desk.latest['b'] = 2
    wait_until(lambda: desk.found == [2], 'the other one')


def test_nothing_comes_after_it_was_forgotten() -> None:
    desk = Desk()
    for stamp in (1, 2, 10):
        desk.search(stamp)
    assert desk.waiting.forget_after(5) == 1
    assert desk.waiting.forget_after() == 2
    desk.latest['a'] = 99
    desk.search(11)
    assert desk.found == [11]


@pytest.mark.parametrize('timeout', [0.0, 0.02])
def test_frames_that_nothing_connects_are_waited_for_once(timeout: float) -> None:
    desk = Desk()
    desk.latest['a'] = None
    for stamp in (1, 2, 3):
        desk.search(stamp, timeout=timeout)
        wait_until(lambda s=stamp: len(desk.failed) == s, 'a failure')
    assert desk.waiting.late == (1 if timeout else 0)
    desk.latest['a'] = 4
    desk.search(4)
    desk.search(5)  # late, no more
    assert (desk.found, len(desk.waiting)) == ([4], 1)
    desk.waiting.forget_after()
