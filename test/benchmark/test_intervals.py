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
"""Intervals around medians: they cover what they say, and are no wider than that takes."""

from __future__ import annotations

from itertools import product

import pytest

from uhr_seg_ros.benchmark.intervals import join_against_torch, join_medians, join_spreads
from uhr_seg_ros.core.intervals import CONFIDENCE, median_interval, PROCESSES


@pytest.mark.parametrize('count', [1, 2, PROCESSES - 1, PROCESSES, 9, 11])
def test_the_share_that_is_covered(count: int) -> None:
    found = median_interval(range(count))
    # All ways in which figures can lie below (0) or above (1) the median of all runs.
    ways = list(product((0, 1), repeat=count))
    ranks = range(1, count // 2 + 1)
    shares = {
        rank: sum(rank <= sum(way) <= count - rank for way in ways) / len(ways) for rank in ranks
    }
    rank = int(found.low) + 1
    assert found.high == count - rank
    assert found.confidence == pytest.approx(shares.get(rank, 0.0))
    assert (found.confidence >= CONFIDENCE) == (count >= PROCESSES)
    assert not [share for k, share in shares.items() if k > rank and share >= CONFIDENCE]


def test_an_outlier_moves_no_median() -> None:
    found = median_interval([5.0, 4.0, 6.0, 5.5, 4.5, 1e6])
    assert (found.median, found.low, found.high) == (5.25, 4.0, 1e6)


def test_stages_of_processes() -> None:
    first = {'detail': {'min': 1.0, 'median': 2.0, 'max': 9.0}}
    second = {'detail': {'min': 2.0, 'median': 4.0, 'max': 5.0}, 'tiles': first['detail']}
    joined = join_spreads([first, second])
    assert joined['detail'] == {'min': 1.0, 'median': 3.0, 'max': 9.0, 'low': 2.0, 'high': 4.0}
    assert joined['tiles']['median'] == 2.0


def test_figures_of_nodes() -> None:
    runs = [{'size': [1, 2], 'node_ms': ms, 'stage_ms': {'a': {'p50': ms}}} for ms in (3, 1, 2)]
    joined = join_medians(runs)
    assert (joined['size'], joined['node_ms'], joined['stage_ms']) == (
        [1, 2],
        2,
        {'a': {'p50': 2}},
    )
    assert (joined['low'], joined['high']) == ({'node_ms': 1}, {'node_ms': 3})


def test_ratio_to_torch() -> None:
    runs = [
        {'eager_ms': [4.0, 6.0, 8.0], 'exported_ms': [2.0] * 3},
        {'eager_ms': [5.0], 'exported_ms': [1.0]},
    ]
    joined = join_against_torch(runs)
    assert joined['eager_ms'] == [4.0, 6.0, 8.0, 5.0]
    assert (joined['ratio_low'], joined['ratio'], joined['ratio_high']) == (3.0, 4.0, 5.0)
