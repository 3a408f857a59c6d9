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

"""The median of measurements of fresh processes, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb
from statistics import median
from typing import NamedTuple

CONFIDENCE = 0.95
"""How sure an interval should be."""

PROCESSES = 6
"""The fewest processes whose smallest and largest figure are such an interval: 96.9 %."""


class Interval(NamedTuple):
    """
    A median, and between which figures that of all runs lies.

    Attributes:
        median: of the sample.
        low: lower end.
        high: upper end.
        confidence: how sure that is, 0 to 1.

    """

    median: float
    low: float
    high: float
    confidence: float


def median_interval(sample: Iterable[float]) -> Interval:
    """
    Return the median of a sample with an interval of order statistics around it.

    Whatever the distribution is, a figure of a fresh process lies below its median as likely as
    above, so the k-th smallest and the k-th largest of n enclose that median but for twice the
    chance of less than k heads in n throws of a coin (W. J. Conover, "Practical Nonparametric
    Statistics", section 3.2). The narrowest pair is taken that reaches `CONFIDENCE`; the smallest
    and the largest where none does, as with fewer than `PROCESSES`.

    Args:
        sample: a figure of each process, at least one.

    """
    ordered = sorted(sample)
    count = len(ordered)
    rank = max(k for k in range(1, count // 2 + 2) if k == 1 or _covered(count, k) >= CONFIDENCE)
    return Interval(
        median(ordered), ordered[rank - 1], ordered[count - rank], _covered(count, rank)
    )


def _covered(count: int, rank: int) -> float:
    return max(0.0, 1 - 2 * sum(comb(count, below) for below in range(rank)) / 2**count)
