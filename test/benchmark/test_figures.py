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

"""Figures of replays whose figures are known, and the search for the peak."""

from __future__ import annotations

import statistics

import pytest

from uhr_seg_ros.benchmark.bag_benchmark import find_peak
from uhr_seg_ros.benchmark.figures import (
    engine_facts,
    figures,
    frame_rate,
    is_sustained,
    jitter,
    series,
    spread,
    without_extremes,
)
from uhr_seg_ros.replay.collector import NodeReport
from uhr_seg_ros.replay.load import Load
from uhr_seg_ros.replay.results import Replay

MS = 1_000_000
COUNTS = {'received': 9, 'processed': 7, 'dropped': 1, 'rejected': 1}


def example() -> Replay:
    """Return ten frames, every 100 ms, 5 ms old; masks of all but the last four after 40+i ms."""
    played = [(index + 1, 1000 * MS + index * 100 * MS, 5 * MS) for index in range(10)]
    arrivals = [(stamp, when + (40 + stamp) * MS) for stamp, when, _ in played[:6]]
    stages = {stamp: {'wait': 1.0, 'detail': 20.0 + stamp, 'total': 30.0} for stamp, _ in arrivals}
    load = Load(1.0, {'node': 150.0}, (100, 110), [(0.0, 100.5)], 120, {})
    return Replay(played, arrivals, NodeReport(), COUNTS, stages, load)


def test_facts_are_all_that_is_no_figure() -> None:
    told = {
        'state': 'active',
        'frames_received': '9',
        'detail_p95_ms': '3.0',
        'in_work_s': '1.0',
        'gpu_load_percent': '50.0',
        'bundle': 'tiny',
        'fallback': 'no GPU',
        'unheard of': 'x',
    }
    assert engine_facts(told) == {'bundle': 'tiny', 'fallback': 'no GPU', 'unheard of': 'x'}


def test_frames_are_accounted_for() -> None:
    frames = figures(example())['frames']
    assert frames == {
        'sent': 10,
        'masks': 6,
        'dropped': 1,
        'rejected': 1,
        'lost_before_node': 1,
        'lost_after_node': 1,
    }
    assert frames['sent'] == sum(value for name, value in frames.items() if name != 'sent')


def test_latency_is_matched_by_stamp() -> None:
    result = figures(example())
    assert (result['first_ms'], result['last_ms']) == (41.0, 46.0)
    assert result['latency_ms']['p50'] == 43.5
    assert result['latency_ms']['max'] == 46.0
    assert result['stamp_to_mask_ms']['max'] == 51.0
    assert result['stage_ms']['detail']['mean'] == 23.5


def test_masks_out_of_order_and_repeated_stamps() -> None:
    played = [(1, 10 * MS, 0), (2, 20 * MS, 0), (2, 30 * MS, 0), (3, 40 * MS, 0)]
    arrivals = [(3, 90 * MS), (1, 95 * MS), (2, 99 * MS), (7, 99 * MS)]
    latencies = Replay(played, arrivals, NodeReport()).latencies()
    assert latencies == [(40 * MS, 50.0, 50.0), (10 * MS, 85.0, 85.0)]


def test_what_is_drawn() -> None:
    drawn = series(example())
    assert drawn['time_s'] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert drawn['unanswered_s'] == [0.6, 0.7, 0.8, 0.9]
    assert drawn['memory'] == [(0.0, 100.5)]
    assert drawn['stage_ms']['detail'] == [21.0, 22.0, 23.0, 24.0, 25.0, 26.0]


def test_rate_is_that_of_ros2_benchmark() -> None:
    # 5 frames in 2 s, from the first to the last one.
    assert frame_rate([0, 500 * MS, 1000 * MS, 1500 * MS, 2000 * MS]) == 2.5
    assert frame_rate([7]) is None
    assert frame_rate([7, 7]) is None


def test_jitter_is_the_second_difference() -> None:
    # Intervals of 10, 14, 11 and 11 ms change by 4, 3 and 0 ms.
    times = [0, 10 * MS, 24 * MS, 35 * MS, 46 * MS]
    assert jitter(times) == {
        'mean': round(7 / 3, 3),
        'max': 4.0,
        'std': round(statistics.pstdev([4, 3, 0]), 3),
    }
    assert jitter(times[:2]) == {}


def test_spread_of_nothing_is_nothing() -> None:
    assert spread([]) == {}


def test_nothing_came_at_all() -> None:
    counts = dict.fromkeys(COUNTS, 0)
    result = figures(Replay([(1, MS, 0)], [], NodeReport(), counts))
    assert result['answered'] == 0.0
    assert result['throughput_hz'] is result['first_ms'] is None
    assert result['frames']['lost_before_node'] == 1


@pytest.mark.parametrize(
    ('answered', 'sent_hz', 'kept'),
    [(0.95, 10.0, True), (0.949, 10.0, False), (1.0, 9.4, False), (1.0, None, False)],
)
def test_a_rate_is_kept_up_with(answered: float, sent_hz: float | None, kept: bool) -> None:
    assert is_sustained({'answered': answered, 'sent_hz': sent_hz}, 10.0) is kept


def test_best_and_worst_run_are_dropped_figure_by_figure() -> None:
    runs = [
        {'hz': hz, 'ms': {'p50': p50}, 'memory': [1, p50], 'first': first, 'gpu': {}}
        for hz, p50, first in [(9, 1, None), (1, 2, 4), (2, 3, 4), (3, 4, 4), (0, 90, 4)]
    ]
    assert without_extremes(runs) == {
        'hz': 2.0,
        'ms': {'p50': 3.0},
        'memory': [1.0, 3.0],
        'first': 4.0,
        'gpu': {},
    }


@pytest.mark.parametrize('limit', [0.31, 1.9, 2.0, 7.3, 55.0])
@pytest.mark.parametrize('estimate', [1.0, 2.0, 5.0])
def test_peak_is_found_from_any_estimate(limit: float, estimate: float) -> None:
    tried: list[float] = []

    def keeps_up(rate_hz: float) -> bool:
        tried.append(rate_hz)
        return rate_hz <= limit

    peak = find_peak(keeps_up, estimate)
    assert peak <= limit
    assert limit - peak <= 0.03 * estimate
    assert len(tried) < 45


@pytest.mark.parametrize('limit', [0.85, 0.97, 1.0, 1.04, 1.2])
def test_few_trials_find_a_peak_near_the_estimate(limit: float) -> None:
    tried: list[float] = []
    find_peak(lambda rate_hz: tried.append(rate_hz) or rate_hz <= limit, 1.0)
    assert len(tried) <= 7


def test_all_rates_are_kept_up_with() -> None:
    assert find_peak(lambda _: True, 4.0) > 1000


def test_no_peak() -> None:
    assert find_peak(lambda _: False, 4.0) == 0.0
