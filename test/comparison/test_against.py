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

"""Who wins against the first variant of a plan, and who might."""

from __future__ import annotations

from typing import Any

from uhr_seg_ros.comparison.against import against_first, difference
from uhr_seg_ros.comparison.frame_times import FrameTime, join_times

SIZE = (2160, 3840)


def runs(*scores: float, **further: float) -> list[dict[str, Any]]:
    """One run per ground, in an order of its own."""
    return [
        {'ground': f'g{number}', 'seed': 0, 'figures': {'mIoU': score, **further}}
        for number, score in enumerate(scores)
    ]


def test_grounds_may_differ_more_than_networks() -> None:
    ours = runs(0.2, 0.9, 0.4, 0.6, 0.3, 0.7)
    better = runs(0.21, 0.92, 0.41, 0.61, 0.33, 0.71)
    found = difference(list(reversed(better)), ours, 'mIoU')
    assert found is not None and found.is_sure and found.runs == 6
    assert 0 < found.low < found.median < 0.03 + 1e-9
    mixed = difference(runs(0.5, 0.5, 0.5, 0.5, 0.5, 0.5), ours, 'mIoU')
    assert mixed is not None and not mixed.is_sure
    few = difference(better[:5], ours, 'mIoU')
    assert few is not None and few.low > 0 and not few.is_sure
    assert difference(better, [], 'mIoU') is None


def test_it_is_said_plainly() -> None:
    variants = {
        'ours': runs(*[0.5] * 6, small=0.3),
        'wins': runs(*[0.6] * 6, small=0.1),
        'is faster': runs(0.4, 0.4, 0.4, 0.4, 0.4, 0.52, small=0.3),
        'is missing': [],
    }
    times = {
        'ours': {SIZE: FrameTime(600, 590, 620, 900, 6)},
        'wins': {SIZE: FrameTime(595, 580, 700, 900, 6)},
        'is faster': {SIZE: FrameTime(300, 290, 310, 900, 6)},
        'is missing': {},
    }
    text = against_first(variants, ['mIoU', 'small'], times)
    assert '| wins | **+10.0 [+10.0, +10.0]** | -20.0 [-20.0, -20.0] | x 0.99 |' in text
    assert '| is faster | -10.0 [-10.0, +2.0] |' in text and '| **x 0.50** |' in text
    assert '| is missing | - | - | - |' in text
    assert 'Wins against ours: wins in mIoU; is faster in time at 3840x2160.' in text
    assert 'Missing: is missing.' in text and 'Ahead' not in text
    short = {name: each[:3] for name, each in variants.items()}
    text = against_first(short, ['mIoU', 'small'], times)
    assert 'Wins against ours: is faster in time at 3840x2160.' in text
    assert 'Ahead, but not for sure: wins in mIoU.' in text
    assert 'compared on 3 of the 6 runs' in text
    once = {name: {SIZE: each[SIZE]._replace(processes=5)} for name, each in times.items() if each}
    text = against_first(short, ['mIoU', 'small'], once | {'is missing': {}})
    assert 'Wins against ours: nobody.' in text


def test_processes_are_joined() -> None:
    medians = [300.0, 310.0, 290.0, 305.0, 299.0, 330.0]
    found = [{SIZE: FrameTime(each, each, each, 800 + int(each), 1)} for each in medians]
    (joined,) = join_times(found).values()
    assert joined == FrameTime(302.5, 290.0, 330.0, 1130, 6) and joined.is_sure
    assert str(joined) == '302 [290, 330] ms'
    assert str(join_times(found[:5])[SIZE]) == '300 ms'
    assert join_times([*found, {}]) == {}
