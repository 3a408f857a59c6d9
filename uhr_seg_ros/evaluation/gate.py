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
What a model of aerial images has to hold to be relied on: limits on errors that are dangerous.

A mean over classes hides them. A lawn that is called water, or a brown field that is called a
building, decides where a vehicle lands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uhr_seg_ros.core.errors import ConfigError

#: Classes whose recall is averaged, in the gate: those that open ground consists of.
OPEN_GROUND = ('land', 'vegetation', 'water')
#: Classes that the gate is about.
CLASSES = ('building', *OPEN_GROUND)
#: So many roofs of a size give a recall; large ones are few, and what the gate is about.
FEWEST_ROOFS = 5
#: What differences of shares may be off by.
ROUNDING = 1e-9

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Limit:
    """
    One condition.

    Attributes:
        name: What is measured.
        measure: Takes it from the figures of an evaluation, 0 to 1; None where labels do not tell.
        least: Lowest value that passes, or None.
        most: Highest value that passes, or None.
    """

    name: str
    measure: Callable[[Figures], float | None]
    least: float | None = None
    most: float | None = None

    def passes(self, value: float) -> bool:
        """Tell if a value is within the limit; one that equals it is."""
        return (self.least is None or value >= self.least - ROUNDING) and (
            self.most is None or value <= self.most + ROUNDING
        )


def _called(true: str, found: str) -> Callable[[Figures], float | None]:
    """Share of what is labelled one class that is called another one."""

    def measure(figures: Figures) -> float | None:
        names = list(figures['iou'])
        row = np.array(figures['confusion'])[names.index(true)]
        return float(row[names.index(found)] / row.sum()) if row.sum() else None

    return measure


def _mean_recall(figures: Figures) -> float | None:
    """Mean recall of the classes of open ground; None unless all of them are labelled."""
    recalls = [figures['recall'][name] for name in OPEN_GROUND]
    labeled = np.array(figures['confusion']).sum(1)
    names = list(figures['iou'])
    if not all(labeled[names.index(name)] for name in OPEN_GROUND):
        return None
    return float(np.mean(recalls))


def _roof_spread(figures: Figures) -> float | None:
    """Largest difference of the recall of roofs of two sizes; None with fewer than two sizes."""
    recalls = [
        size['classes']['building']
        for size in figures['object_recall'].values()
        if size['objects_by_class']['building'] >= FEWEST_ROOFS
    ]
    return max(recalls) - min(recalls) if len(recalls) > 1 else None


LIMITS = (
    Limit('vegetation called water', _called('vegetation', 'water'), most=0.05),
    Limit('land called building', _called('land', 'building'), most=0.05),
    Limit('mean recall of land, vegetation, water', _mean_recall, least=0.85),
    Limit('recall of roofs by size, largest difference', _roof_spread, most=0.15),
)


def check_gate_classes(names: Sequence[str]) -> None:
    """
    Refuse classes that the gate says nothing about.

    Raises:
        ConfigError: Names what is missing.
    """
    if missing := [name for name in CLASSES if name not in names]:
        msg = (
            f'--gate is for models of the classes {", ".join(CLASSES)}, and {", ".join(missing)} '
            f'are not among {", ".join(names)}'
        )
        raise ConfigError(msg)


def gate_figures(figures: Figures) -> dict[str, float | None]:
    """
    Measure what the gate limits.

    Args:
        figures: As ``uhr_seg evaluate`` writes them.

    Returns:
        Name of a limit -> its value; None where the labels do not tell.
    """
    return {limit.name: limit.measure(figures) for limit in LIMITS}


def gate(figures: Figures) -> list[dict[str, Any]]:
    """
    Compare the figures of an evaluation with all limits.

    Returns:
        Per limit ``name``, ``value``, ``least``, ``most`` and ``passed``; value and ``passed`` are
        None where the labels do not tell.
    """
    rows = []
    for limit in LIMITS:
        value = limit.measure(figures)
        passed = None if value is None else limit.passes(value)
        rows.append(
            {
                'name': limit.name,
                'value': value,
                'least': limit.least,
                'most': limit.most,
                'passed': passed,
            }
        )
    return rows


def passes(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell if every limit that was measured is kept, and at least one was."""
    measured = [row['passed'] for row in rows if row['passed'] is not None]
    return bool(measured) and all(measured)


def describe(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in one line each what was measured, the limit, and whether it is kept."""
    texts = []
    for row in rows:
        bound, sign = (row['most'], '<=') if row['least'] is None else (row['least'], '>=')
        if row['value'] is None:
            texts.append(f'gate: {row["name"]}: not measured, the labels do not tell')
            continue
        verdict = 'kept' if row['passed'] else 'FAILED'
        texts.append(f'gate: {row["name"]}: {row["value"]:.3f}, {verdict} ({sign} {bound:g})')
    return texts
