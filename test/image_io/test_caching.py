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

"""What is kept of decoded files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from uhr_seg_ros.image_io.caching import ArrayCache


def _array(value: int) -> np.ndarray:
    return np.full(100, value, np.uint8)


def test_the_cache_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    cache, made = ArrayCache(250), []

    def use(key: int) -> None:
        cache.get(key, lambda: made.append(key) or _array(key))

    for key in (1, 2, 1, 3, 1, 2):
        use(key)
    assert made == [1, 2, 3, 2]
    assert cache.bytes == 200
    cache.set_limit(100)
    assert cache.bytes == 100
    use(2)
    assert made == [1, 2, 3, 2]


def test_an_array_above_the_limit_is_given_but_not_kept() -> None:
    cache = ArrayCache(50)
    assert cache.get(1, lambda: _array(1)).sum() == 100
    assert cache.bytes == 0


def test_what_is_kept_cannot_be_changed() -> None:
    kept = ArrayCache(250).get(1, lambda: _array(1))
    with pytest.raises(ValueError, match='read-only'):
        kept[0] = 9


def test_what_two_threads_make_at_once_is_kept_once() -> None:
    cache = ArrayCache(1000)
    cache.get(1, lambda: cache.get(1, lambda: _array(1)).copy())
    assert cache.bytes == 100


def test_threads_share_the_cache() -> None:
    cache = ArrayCache(1000)

    def use(key: int) -> int:
        return cache.get(key, lambda: _array(key))[0]

    keys = [index % 17 for index in range(3000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, keys)) == keys
    assert cache.bytes == 1000


def test_a_limit_for_a_while() -> None:
    cache = ArrayCache(250)
    for key in (1, 2):
        cache.get(key, lambda: _array(1))
    with cache.limited(100):
        assert cache.bytes == 100
    for key in (1, 2):
        cache.get(key, lambda: _array(1))
    assert cache.bytes == 200
