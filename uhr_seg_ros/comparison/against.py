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

"""
Where the others win against the first variant of a plan, and where nobody can tell.

Both are measured on the same runs - the same ground left out, the same seed, a fresh process for
each -, so their differences are compared and not their means: grounds differ more than networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from uhr_seg_ros.comparison.frame_times import FrameTime, size_text
from uhr_seg_ros.comparison.plan import Size
from uhr_seg_ros.comparison.table import markdown
from uhr_seg_ros.core.intervals import median_interval, PROCESSES

Runs = Sequence[Mapping[str, Any]]


class Difference(NamedTuple):
    """
    How much more of a figure one variant has than another on the same runs.

    Attributes:
        median: Of the differences.
        low: Lower end of the interval around it, see ``median_interval``.
        high: Upper end.
        runs: How many both have.
    """

    median: float
    low: float
    high: float
    runs: int

    @property
    def is_sure(self) -> bool:
        """Whether there are enough runs for an interval of 95 %, and it leaves zero out."""
        return self.runs >= PROCESSES and (self.low > 0 or self.high < 0)


def difference(rival: Runs, reference: Runs, figure: str) -> Difference | None:
    """
    Compare a figure on the runs that both have.

    Args:
        rival: Runs with ``ground``, ``seed`` and ``figures``.
        reference: The same of what it is compared with.
        figure: Which of the figures.

    Returns:
        None without a common run.
    """
    ours = {(run['ground'], run['seed']): run['figures'].get(figure) for run in reference}
    pairs = [(run['figures'].get(figure), ours.get((run['ground'], run['seed']))) for run in rival]
    found = [theirs - own for theirs, own in pairs if theirs is not None and own is not None]
    if not found:
        return None
    interval = median_interval(found)
    return Difference(interval.median, interval.low, interval.high, len(found))


def against_first(
    variants: Mapping[str, Runs],
    figures: Sequence[str],
    times: Mapping[str, Mapping[Size, FrameTime]],
) -> str:
    """
    Write a table of differences from the first variant, and in words where another one wins.

    Args:
        variants: Name -> its runs; those without any are missing.
        figures: Figures to compare, 0 to 1, of which more is better.
        times: Name -> time of each size; empty where it was not taken.

    Returns:
        What is better for sure is bold: in accuracy by the interval of the differences, in time
        where the intervals of both do not meet.
    """
    first, *rivals = variants
    sizes = list(times[first])
    rows: list[list[str]] = []
    wins: list[str] = []
    ahead: list[str] = []
    fewest = PROCESSES
    for name in rivals:
        found = {each: difference(variants[name], variants[first], each) for each in figures}
        rows.append(
            [
                name,
                *map(_points, found.values()),
                *(_factor(times[first][size], times[name].get(size)) for size in sizes),
            ]
        )
        for figure, value in found.items():
            if value is None:
                continue
            fewest = min(fewest, value.runs)
            if value.median > 0:
                (wins if value.is_sure else ahead).append(f'{name} in {figure}')
        wins += [
            f'{name} in time at {size_text(size)}'
            for size in sizes
            if _is_faster(times[name].get(size), times[first][size])
        ]
    head = [f'compared with {first}', *figures, *(f'time {size_text(size)}' for size in sizes)]
    notes = [f'Wins against {first}: {"; ".join(wins) or "nobody"}.']
    if ahead:
        notes.append(f'Ahead, but not for sure: {"; ".join(ahead)}.')
    if missing := [name for name, runs in variants.items() if not runs]:
        notes.append(f'Missing: {", ".join(missing)}.')
    if fewest < PROCESSES:
        notes.append(
            f'Accuracy was compared on {fewest} of the {PROCESSES} runs that an interval of 95 % '
            'takes.'
        )
    return f'{markdown(head, rows)}\n{" ".join(notes)}\n'


def _is_faster(rival: FrameTime | None, first: FrameTime) -> bool:
    """Tell if the intervals of the times leave no doubt."""
    return rival is not None and rival.is_sure and first.is_sure and rival.high < first.low


def _points(found: Difference | None) -> str:
    """Write a difference in points, with its interval where there are enough runs for one."""
    if found is None:
        return '-'
    text = f'{100 * found.median:+.1f}'
    if found.runs >= PROCESSES:
        text += f' [{100 * found.low:+.1f}, {100 * found.high:+.1f}]'
    return f'**{text}**' if found.is_sure and found.median > 0 else text


def _factor(first: FrameTime, rival: FrameTime | None) -> str:
    if rival is None:
        return '-'
    text = f'x {rival.median / first.median:.2f}'
    return f'**{text}**' if _is_faster(rival, first) else text
