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

"""What fresh processes measured, joined: medians, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from uhr_seg_ros.core.intervals import median_interval


def join_spreads(spreads: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """
    Join what processes measured.

    Args:
        spreads: of each process, stage -> `min`, `median`, `max` over its frames, ms.

    Returns:
        Stage -> `min` and `max` over all frames; `median` of the medians, and `low` and `high`
        around it.

    """
    joined: dict[str, Any] = {}
    for stage in dict.fromkeys(stage for each in spreads for stage in each):
        rows = [each[stage] for each in spreads if stage in each]
        found = median_interval(row['median'] for row in rows)
        joined[stage] = {
            'min': min(row['min'] for row in rows),
            'median': round(found.median, 3),
            'max': max(row['max'] for row in rows),
            'low': found.low,
            'high': found.high,
        }
    return joined


def join_medians(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Join the figures of runs, each a mapping of the same form, number by number.

    Returns:
        The median of every number; what else there is, of the first one. For the figures in ms at
        the top also `low` and `high`, name -> end of the interval around it, and `interval`.

    """
    times = [name for name in results[0] if isinstance(results[0][name], int | float)]
    found = {
        name: median_interval(result[name] for result in results)
        for name in times
        if name.endswith('_ms')
    }
    return {
        **_medians(results),
        'low': {name: each.low for name, each in found.items()},
        'high': {name: each.high for name, each in found.items()},
        'interval': describe_interval(len(results)),
    }


def join_against_torch(runs: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """
    Join what `export.against_torch.compare_speed` gives.

    Returns:
        `eager_ms` and `exported_ms`: all runs of all processes, one process after the other;
        `ratio` of their medians: the median over the processes, `ratio_low` and `ratio_high`
        around it, and `interval`.

    """
    ratios = [median(run['eager_ms']) / median(run['exported_ms']) for run in runs]
    found = median_interval(ratios)
    return {
        **{name: [value for run in runs for value in run[name]] for name in runs[0]},
        'ratio': found.median,
        'ratio_low': found.low,
        'ratio_high': found.high,
        'interval': describe_interval(len(runs)),
    }


def _medians(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {
            name: _medians([value[name] for value in values if name in value]) for name in first
        }
    return round(median(values), 3) if isinstance(first, int | float) else first


def describe_interval(processes: int) -> dict[str, Any]:
    """Return what `low` and `high` are, for a file of results."""
    return {
        'processes': processes,
        'method': 'order statistics of the medians of fresh processes',
        'confidence': round(median_interval(range(processes)).confidence, 4),
    }
