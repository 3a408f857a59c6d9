# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The table of a comparison, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from uhr_seg_ros.comparison.running import Comparison

Figures = dict[str, Any]

#: Column -> what it takes from the figures of one run, 0 to 1.
COLUMNS: dict[str, Callable[[Figures], float | None]] = {
    'mIoU': lambda figures: figures['mean_iou'],
    'boundary F 2 px': lambda figures: figures['boundary_f']['2 px']['mean'],
    'boundary IoU': lambda figures: figures['boundary_iou']['0.005']['mean'],
    'recall below 16² px': lambda figures: figures['object_recall']['below 16^2']['recall'],
    'recall to 32² px': lambda figures: figures['object_recall']['16^2 to 32^2']['recall'],
}


def table(comparison: Comparison, costs: dict[str, tuple[int, int]]) -> str:
    """
    Write one row per variant: accuracy as mean and spread over the seeds, cost, time.

    Args:
        comparison: A comparison that is done.
        costs: Name of a variant -> its parameters and multiply-adds of one frame.
    """
    height, width = comparison.plan.size
    head = ['', *COLUMNS, 'parameters', f'multiply-adds {width}x{height}', 'time']
    lines = [_row(head), _row(['---'] * len(head))]
    for variant in comparison.plan.variants:
        runs = comparison.figures(variant)
        scores = [spread([take(figures) for figures in runs]) for take in COLUMNS.values()]
        weights, operations = costs[variant.name]
        cost = f'{weights / 1e6:.1f} M', f'{operations / 1e9:.1f} G'
        lines.append(
            _row([variant.name, *scores, *cost, f'{comparison.milliseconds(variant):.0f} ms'])
        )
    return '\n'.join(lines) + '\n'


def spread(values: Sequence[float | None]) -> str:
    """Give mean and standard deviation over the seeds, in percent."""
    if any(value is None for value in values):
        return '-'
    percent = 100 * np.array(values, np.float64)
    if len(percent) == 1:
        return f'{percent[0]:.1f}'
    return f'{percent.mean():.1f} ± {percent.std(ddof=1):.1f}'


def _row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
